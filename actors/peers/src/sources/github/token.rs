//! A token that does not get into logs.

use std::fmt;

/// A personal access token, or the token of a workflow. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct GithubToken(String);

impl GithubToken {
    /// Takes a token as it was given; blanks around it are none of it. None if nothing is left, or if it has characters
    /// that no header may have.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())).then(|| Self(text.to_owned()))
    }

    pub(super) fn reveal(&self) -> String {
        self.0.clone()
    }
}

impl fmt::Debug for GithubToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GithubToken(...)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_shown_nowhere() {
        let token = GithubToken::new(" ghp_secret\n").unwrap();
        assert_eq!(format!("{token:?}"), "GithubToken(...)");
        assert_eq!(token.reveal(), "ghp_secret");
        assert_eq!(GithubToken::new("  "), None);
        assert_eq!(GithubToken::new("two\nlines"), None);
    }
}
