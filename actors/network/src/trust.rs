//! Who is trusted with what: the mesh secret, the peers allowed by name, and the admins.
//!
//! Owns pure decisions and nothing else; how a peer proves that it knows the secret is in `admission`.

use crate::private_file::{self, PrivateFileError};
use meshwork_proto::wire::admission::Verdict;
use meshwork_proto::{Coded, ErrorCode, PeerId, Role};
use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Shortest secret, in bytes.
pub const MIN_SECRET: usize = 16;
/// Longest secret, in bytes.
pub const MAX_SECRET: usize = 1024;
/// Random bytes in a secret that is made here.
const MADE_SECRET: usize = 32;

/// Why a mesh secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file could not be read or made.
    #[error("mesh secret: {0}")]
    File(#[from] PrivateFileError),
    /// There is no such file.
    #[error("mesh secret: {path} does not exist", path = path.display())]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// It could be guessed, or is no secret at all.
    #[error(
        "mesh secret of {len} bytes: expected {MIN_SECRET} to {MAX_SECRET}; \
         leave it out to have one made, or make one with `head -c 32 /dev/urandom | base64`"
    )]
    Length {
        /// Its length in bytes.
        len: usize,
    },
    /// Not text.
    #[error("mesh secret is not text on one line: expected visible characters in UTF-8")]
    NotText,
}

impl Coded for SecretError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::File(error) => error.code(),
            Self::Missing { .. } | Self::Length { .. } | Self::NotText => ErrorCode::Config,
        }
    }
}

/// What every node of a mesh knows and nobody else does.
///
/// A secret is a line of text, and the bytes of that line are the key: it is the same secret whether it comes from a
/// file, the environment or an invitation. One that is made here is the base58 form of 32 random bytes.
#[derive(Clone)]
pub struct MeshSecret(Zeroizing<Vec<u8>>);

impl MeshSecret {
    /// A new secret.
    #[must_use]
    pub fn generate() -> Self {
        let bytes = Zeroizing::new(rand::random::<[u8; MADE_SECRET]>());
        Self(Zeroizing::new(bs58::encode(&bytes[..]).into_vec()))
    }

    /// A secret that somebody gives; white space around it does not count.
    ///
    /// # Errors
    /// When it is shorter than [`MIN_SECRET`] or longer than [`MAX_SECRET`] bytes, or not one line.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        if !(MIN_SECRET..=MAX_SECRET).contains(&text.len()) {
            return Err(SecretError::Length { len: text.len() });
        }
        if text.chars().any(char::is_control) {
            return Err(SecretError::NotText);
        }
        Ok(Self(Zeroizing::new(text.as_bytes().to_vec())))
    }

    /// The secret in an invitation.
    ///
    /// # Errors
    /// As [`MeshSecret::parse`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        Self::parse(std::str::from_utf8(bytes).map_err(|_| SecretError::NotText)?)
    }

    /// Loads the secret from a file that must be there.
    ///
    /// # Errors
    /// When it is not there, is exposed to other users, or does not hold a secret.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        Self::find(path)?.ok_or_else(|| SecretError::Missing { path: path.to_owned() })
    }

    /// Loads the secret from a file, or makes one and writes it there with mode 0600.
    ///
    /// # Errors
    /// When the file is exposed to other users, holds no secret, or cannot be read or written.
    pub fn load_or_create(path: &Path) -> Result<Self, SecretError> {
        if let Some(secret) = Self::find(path)? {
            return Ok(secret);
        }
        let made = Self::generate();
        if made.save(path)? { Ok(made) } else { Self::load(path) }
    }

    /// Writes the secret to a new file with mode 0600; false, with nothing changed, when there is one already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<bool, SecretError> {
        let mut line = Zeroizing::new(Vec::with_capacity(self.0.len() + 1));
        line.extend_from_slice(&self.0);
        line.push(b'\n');
        Ok(private_file::create(path, &line)?)
    }

    /// The bytes, to put into an invitation. Whoever gets them can join the mesh.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    fn find(path: &Path) -> Result<Option<Self>, SecretError> {
        // A little more than a secret may have: white space around it.
        match private_file::read(path, 2 * MAX_SECRET as u64)? {
            Some(bytes) => Self::from_bytes(&bytes).map(Some),
            None => Ok(None),
        }
    }
}

impl fmt::Debug for MeshSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshSecret(not shown)")
    }
}

/// What a peer showed of the mesh secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// No proof at all.
    Nothing,
    /// A proof that is wrong.
    Wrong,
    /// A proof that is right.
    Right,
}

/// Whom this node trusts.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Admits every peer that proves it knows it; none: only peers allowed by name are admitted.
    pub secret: Option<MeshSecret>,
    /// Peers admitted by name.
    pub allow: BTreeSet<PeerId>,
    /// Peers admitted by name, with the role of an admin.
    pub admins: BTreeSet<PeerId>,
}

impl Trust {
    /// The role of a peer whose id is authenticated, and which did or did not prove the mesh secret; none: it is not
    /// admitted.
    #[must_use]
    pub fn role_of(&self, peer: &PeerId, proved: bool) -> Option<Role> {
        if self.admins.contains(peer) {
            Some(Role::Admin)
        } else if proved || self.allow.contains(peer) {
            Some(Role::Member)
        } else {
            None
        }
    }

    /// The decision on a peer, as it is told to it.
    pub(crate) fn decide(&self, peer: &PeerId, shown: Shown) -> Verdict {
        if let Some(role) = self.role_of(peer, shown == Shown::Right) {
            return Verdict::Admitted { role };
        }
        let problem = match shown {
            Shown::Wrong => "has another mesh secret",
            Shown::Nothing if self.secret.is_none() => {
                "is not allowed by name, and the refusing node has no mesh secret that could be shown to it"
            }
            _ => "showed no mesh secret and is not allowed by name",
        };
        // Read on both sides, so it names who is meant.
        let help = "let it join with an invitation, or start the refusing node with --allow";
        Verdict::Refused { reason: format!("peer {peer} {problem}: {help} {peer}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::NodeIdentity;

    fn peer() -> PeerId {
        NodeIdentity::generate().peer_id()
    }

    #[test]
    fn only_proof_or_name_admits_and_only_a_name_makes_an_admin() {
        let (member, admin, stranger) = (peer(), peer(), peer());
        let trust = Trust { secret: None, allow: [member.clone()].into(), admins: [admin.clone()].into() };
        assert_eq!(trust.role_of(&member, false), Some(Role::Member));
        assert_eq!(trust.role_of(&stranger, true), Some(Role::Member));
        assert_eq!(trust.role_of(&stranger, false), None);
        assert_eq!(trust.role_of(&admin, false), Some(Role::Admin));
        assert_eq!(trust.role_of(&admin, true), Some(Role::Admin));
        assert_eq!(Trust::default().role_of(&admin, false), None);
    }

    #[test]
    fn a_refusal_says_what_would_help() {
        let stranger = peer();
        let Verdict::Refused { reason } = Trust::default().decide(&stranger, Shown::Nothing) else {
            panic!()
        };
        assert!(reason.contains(&format!("--allow {stranger}")), "{reason}");
        assert_eq!(
            Trust::default().decide(&stranger, Shown::Right),
            Verdict::Admitted { role: Role::Member }
        );
    }

    #[test]
    fn a_secret_from_a_file_an_invitation_and_the_environment_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mesh.secret");
        let made = MeshSecret::load_or_create(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(MeshSecret::parse(&text).unwrap().expose(), made.expose());
        assert_eq!(MeshSecret::from_bytes(made.expose()).unwrap().expose(), made.expose());
        assert_eq!(MeshSecret::load(&path).unwrap().expose(), made.expose());
        assert!(bs58::decode(made.expose()).into_vec().unwrap().len() == MADE_SECRET);
        assert!(!MeshSecret::generate().save(&path).unwrap());
    }

    #[test]
    fn weak_or_unusable_secrets_are_refused_without_being_shown() {
        for wrong in ["", "   ", "fifteen letters", "two lines of\ntext that are long"] {
            let error = MeshSecret::parse(wrong).unwrap_err().to_string();
            assert!(wrong.trim().is_empty() || !error.contains(wrong), "{error}");
        }
        assert!(MeshSecret::parse(&"x".repeat(MAX_SECRET + 1)).is_err());
        assert!(matches!(MeshSecret::from_bytes(&[0xff; 32]), Err(SecretError::NotText)));
        assert!(matches!(MeshSecret::load(Path::new("/nonexistent/x")), Err(SecretError::Missing { .. })));
    }

    #[test]
    fn its_debug_form_does_not_show_it() {
        let secret = MeshSecret::parse("correct horse battery staple").unwrap();
        let trust = Trust { secret: Some(secret), ..Trust::default() };
        assert!(!format!("{trust:?}").contains("horse"));
    }
}
