//! The known name that a mistyped one was probably meant to be.

/// The candidate that differs least from `typed`, if it differs little enough to be a mistake of typing.
///
/// Ties go to the candidate that comes first.
#[must_use]
pub(crate) fn nearest<'a>(typed: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One wrong letter in three is still recognisable; for short names two are.
    let most = (typed.chars().count() / 3).max(2);
    let mut best: Option<(usize, &'a str)> = None;
    for candidate in candidates {
        let distance = strsim::damerau_levenshtein(typed, candidate);
        if distance <= most && best.is_none_or(|(so_far, _)| distance < so_far) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typing_mistake_finds_its_word_and_nonsense_finds_none() {
        let known = ["listen", "peers", "labels"];
        assert_eq!(nearest("lisen", known), Some("listen"));
        assert_eq!(nearest("peer", known), Some("peers"));
        assert_eq!(nearest("zebra_crossing", known), None);
    }
}
