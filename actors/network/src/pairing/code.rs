//! The code of a pairing: nine digits, read aloud in three groups.

use rand::TryRng;
use rand::rngs::SysRng;
use std::fmt;
use zeroize::Zeroizing;

/// Digits of a code.
const DIGITS: usize = 9;
/// Codes there are.
const CODES: u32 = 1_000_000_000;
/// The smallest power of two that holds them all, less one.
const MASK: u32 = (1 << 30) - 1;

/// A code. It is not shown in debug forms or logs: whoever knows it can join the mesh.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Code(Zeroizing<String>);

impl Code {
    /// A new code from the operating system's randomness; every one is equally likely.
    ///
    /// # Errors
    /// When the operating system has no randomness to give.
    pub(crate) fn generate() -> Result<Self, rand::rngs::SysError> {
        loop {
            // Not a remainder, which would prefer some codes: what is too large is drawn again.
            let drawn = SysRng.try_next_u32()? & MASK;
            if drawn < CODES {
                return Ok(Self(Zeroizing::new(format!("{drawn:0DIGITS$}"))));
            }
        }
    }

    /// A code as a person types it: spaces, hyphens and dots between the digits do not count.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut digits = Zeroizing::new(String::with_capacity(DIGITS));
        for character in text.trim().chars() {
            match character {
                '0'..='9' if digits.len() < DIGITS => digits.push(character),
                ' ' | '-' | '.' | '\u{a0}' => {}
                _ => return None,
            }
        }
        (digits.len() == DIGITS).then_some(Self(digits))
    }

    /// In three groups, for a person.
    pub(crate) fn in_groups(&self) -> String {
        let groups = [0..3, 3..6, 6..9].map(|group| self.0.get(group).unwrap_or_default());
        groups.join(" ")
    }

    /// The digits, for the key exchange.
    pub(crate) fn expose(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_survives_being_read_aloud_and_typed() {
        for _ in 0..1000 {
            let code = Code::generate().unwrap();
            let groups = code.in_groups();
            assert_eq!(groups.len(), 11);
            for typed in
                [groups.clone(), groups.replace(' ', ""), groups.replace(' ', " - "), format!("  {groups}\n")]
            {
                assert!(Code::parse(&typed) == Some(code.clone()), "{typed}");
            }
            assert!(!format!("{code:?}").contains(|c: char| c.is_ascii_digit()));
        }
    }

    #[test]
    fn anything_else_is_no_code() {
        for wrong in
            ["", "12345678", "1234567890", "12345678x", "１２３４５６７８９", "123/456/789", "-12345678"]
        {
            assert!(Code::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn every_digit_comes_at_every_place() {
        let mut seen = [[false; 10]; DIGITS];
        for _ in 0..2000 {
            for (place, digit) in Code::generate().unwrap().expose().iter().enumerate() {
                seen[place][usize::from(digit - b'0')] = true;
            }
        }
        assert!(seen.iter().flatten().all(|seen| *seen));
    }
}
