//! Text from outside as it may be shown in logs and answers: cut, and on one line.

/// At most `max` bytes of a text, without control characters; `…` at its end says that there was more.
pub(crate) fn clip(text: &str, max: usize) -> String {
    let cut = &text[..text.floor_char_boundary(max)];
    let clean: String = cut.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if cut.len() < text.len() { format!("{clean}…") } else { clean }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn it_is_cut_between_characters_and_cannot_begin_a_line_of_its_own() {
        assert_eq!(clip("short", 80), "short");
        assert_eq!(clip("grüße", 3), "gr…");
        assert_eq!(clip("one\nWARN two\r\u{1b}[2J", 80), "one WARN two  [2J");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), max in 0usize..40) {
            prop_assert!(clip(&text, max).len() <= max + "…".len());
        }
    }
}
