//! Text that many tasks share, as small numbers counted by use: a queued task holds numbers instead of text.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

/// A text in a [`Names`]. Four bytes, also inside an `Option`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name(NonZeroU32);

impl Name {
    fn at(index: usize) -> Option<Self> {
        u32::try_from(index).ok().and_then(|index| index.checked_add(1)).and_then(NonZeroU32::new).map(Self)
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// Texts in use and by how many.
#[derive(Debug, Default)]
pub(crate) struct Names {
    by_text: HashMap<Arc<str>, Name>,
    entries: Vec<Option<(Arc<str>, u32)>>,
    free: Vec<Name>,
}

impl Names {
    /// The number of a text, with one more user.
    pub(crate) fn take(&mut self, text: &str) -> Name {
        if let Some(&name) = self.by_text.get(text) {
            if let Some(Some((_, users))) = self.entries.get_mut(name.index()) {
                *users += 1;
            }
            return name;
        }
        let text: Arc<str> = text.into();
        let name = self.place(Arc::clone(&text));
        self.by_text.insert(text, name);
        name
    }

    /// Takes one user away; the last one's text is forgotten.
    pub(crate) fn give_back(&mut self, name: Name) {
        let Some(entry) = self.entries.get_mut(name.index()) else { return };
        if let Some((text, users)) = entry {
            *users -= 1;
            if *users == 0 {
                self.by_text.remove(text);
                *entry = None;
                self.free.push(name);
            }
        }
    }

    /// The text of a number in use.
    pub(crate) fn text(&self, name: Name) -> &str {
        self.entries.get(name.index()).and_then(Option::as_ref).map_or("", |(text, _)| text)
    }

    /// How many texts are in use.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.by_text.len()
    }

    #[expect(clippy::expect_used, reason = "four billion different texts in use do not fit into memory")]
    fn place(&mut self, text: Arc<str>) -> Name {
        let entry = Some((text, 1));
        if let Some(name) = self.free.pop() {
            if let Some(place) = self.entries.get_mut(name.index()) {
                *place = entry;
            }
            return name;
        }
        self.entries.push(entry);
        Name::at(self.entries.len() - 1).expect("fewer than four billion texts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_texts_share_a_number_and_the_last_user_takes_the_text_away() {
        let mut names = Names::default();
        let first = names.take("echo");
        assert_eq!(names.take("echo"), first);
        let other = names.take("sleep");
        assert_ne!(other, first);
        names.give_back(first);
        assert_eq!(names.text(first), "echo");
        names.give_back(first);
        assert_eq!(names.len(), 1);
        assert_eq!(names.take("cid"), first, "a free number is used again");
        assert_eq!((names.text(first), names.text(other)), ("cid", "sleep"));
    }
}
