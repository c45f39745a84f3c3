//! An invitation: one line of text that lets a new node find and join a mesh.
//!
//! `mesh1:` and the base58 form of a versioned record: addresses to dial, the inviting peer's id, and the mesh
//! secret. Whoever holds the line can join, so it is a secret itself.

use crate::codec::{self, CodecError, Record};
use crate::{Coded, ErrorCode, PeerId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How every invitation begins.
pub const INVITE_PREFIX: &str = "mesh1:";
/// Longest invitation, in characters.
const MAX_LEN: usize = 4096;

/// What an invitation says.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// The peer that invites.
    pub peer: PeerId,
    /// Where to dial it, without `/p2p/<id>`.
    pub addresses: Vec<String>,
    /// The mesh secret.
    pub secret: Vec<u8>,
}

impl Record for Invitation {
    const KIND: &'static str = "invitation";
    const VERSION: u8 = 1;
}

/// A text that is no invitation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// It does not begin as one, or is too long.
    #[error(
        "this is not an invitation: expected one line beginning with mesh1: as printed by `meshwork invite`"
    )]
    NotAnInvitation,
    /// Some of it is missing or altered.
    #[error("invitation is damaged ({0}): copy the whole line again")]
    Damaged(String),
}

impl Coded for InviteError {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }
}

impl Invitation {
    /// The line of text.
    ///
    /// # Errors
    /// When the invitation is too large to be written.
    pub fn to_text(&self) -> Result<String, CodecError> {
        // base58check: four bytes of checksum tell a damaged copy from a wrong one.
        Ok(format!("{INVITE_PREFIX}{}", bs58::encode(codec::encode(self)?).with_check().into_string()))
    }

    /// Reads the line of text.
    ///
    /// # Errors
    /// When it is no invitation, or a damaged one.
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        let body = text.trim().strip_prefix(INVITE_PREFIX).ok_or(InviteError::NotAnInvitation)?;
        if body.len() > MAX_LEN {
            return Err(InviteError::NotAnInvitation);
        }
        let bytes = bs58::decode(body)
            .with_check(None)
            .into_vec()
            .map_err(|_| InviteError::Damaged("checksum does not match".into()))?;
        codec::decode(&bytes).map_err(|error| InviteError::Damaged(error.to_string()))
    }
}

impl fmt::Debug for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invitation")
            .field("peer", &self.peer)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invitation() -> Invitation {
        Invitation {
            peer: "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap(),
            addresses: vec!["/ip4/192.0.2.7/tcp/4001".into()],
            secret: vec![7; 32],
        }
    }

    #[test]
    fn an_invitation_survives_being_pasted_with_spaces_around_it() {
        let text = invitation().to_text().unwrap();
        assert_eq!(Invitation::parse(&format!("  {text}\n")), Ok(invitation()));
    }

    #[test]
    fn one_wrong_character_is_noticed() {
        let mut text = invitation().to_text().unwrap();
        let last = text.pop().unwrap();
        text.push(if last == 'z' { 'y' } else { 'z' });
        assert!(matches!(Invitation::parse(&text), Err(InviteError::Damaged(_))));
    }

    #[test]
    fn its_debug_form_does_not_show_the_secret() {
        assert!(!format!("{:?}", invitation()).contains('7'.to_string().repeat(3).as_str()));
        assert!(!format!("{:?}", invitation()).contains("secret:"));
    }
}
