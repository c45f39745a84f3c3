//! The mesh secrets: what one is, the list that a node knows, and the file in which they are kept.
//!
//! A file holds one secret on each line. The first is shown to peers, all of them are accepted: that is how a secret is
//! changed without downtime. Empty lines and lines that begin with `#` do not count.

use crate::private_file::{self, PrivateFileError};
use meshwork_proto::wire::admission::MAX_PROOFS;
use meshwork_proto::{Coded, ErrorCode};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Shortest secret, in bytes.
pub const MIN_SECRET: usize = 16;
/// Longest secret, in bytes.
pub const MAX_SECRET: usize = 1024;
/// Secrets that a node knows at a time: a change needs two, and each is tried in every handshake that begins with
/// another one.
pub const MAX_SECRETS: usize = MAX_PROOFS;
/// Random bytes in a secret that is made here.
const MADE_SECRET: usize = 32;
/// Largest file of secrets, in bytes: the secrets, and comments beside them.
const MAX_SECRET_FILE: u64 = 4 * (MAX_SECRETS * MAX_SECRET) as u64;

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
    /// There is nothing in it but comments.
    #[error("mesh secret: there is none in {path}: expected one on a line of its own", path = path.display())]
    NoneInside {
        /// Which file.
        path: PathBuf,
    },
    /// A line of the file.
    #[error("line {line} of {path}: {problem}", path = path.display())]
    Line {
        /// Which file.
        path: PathBuf,
        /// Which line; the first is 1.
        line: usize,
        /// What is wrong with it.
        problem: Box<SecretError>,
    },
    /// More than may be.
    #[error(
        "{count} mesh secrets: at most {MAX_SECRETS} can be in use at a time, and a change of it needs two"
    )]
    TooMany {
        /// How many.
        count: usize,
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
    /// It would be a comment in a file.
    #[error("mesh secret begins with #, as comments in its file do: choose another one")]
    Comment,
}

impl Coded for SecretError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::File(error) => error.code(),
            Self::Line { problem, .. } => problem.code(),
            Self::Missing { .. }
            | Self::NoneInside { .. }
            | Self::TooMany { .. }
            | Self::Length { .. }
            | Self::NotText
            | Self::Comment => ErrorCode::Config,
        }
    }
}

/// What every node of a mesh knows and nobody else does.
///
/// A secret is a line of text, and the bytes of that line are the key: it is the same secret whether it comes from a
/// file, the environment, an invitation or a pairing. One that is made here is the base58 form of 32 random bytes. Clones
/// share the bytes, which are overwritten when the last one goes.
#[derive(Clone)]
pub struct MeshSecret(Arc<Zeroizing<Vec<u8>>>);

impl MeshSecret {
    /// A new secret.
    #[must_use]
    pub fn generate() -> Self {
        let bytes = Zeroizing::new(rand::random::<[u8; MADE_SECRET]>());
        Self::of(bs58::encode(&bytes[..]).into_vec())
    }

    /// A secret that somebody gives; white space around it does not count.
    ///
    /// # Errors
    /// When it is shorter than [`MIN_SECRET`] or longer than [`MAX_SECRET`] bytes, or not one line, or begins with `#`.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        if !(MIN_SECRET..=MAX_SECRET).contains(&text.len()) {
            return Err(SecretError::Length { len: text.len() });
        }
        if text.chars().any(char::is_control) {
            return Err(SecretError::NotText);
        }
        if text.starts_with('#') {
            return Err(SecretError::Comment);
        }
        Ok(Self::of(text.as_bytes().to_vec()))
    }

    /// The secret in an invitation.
    ///
    /// # Errors
    /// As [`MeshSecret::parse`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SecretError> {
        Self::parse(std::str::from_utf8(bytes).map_err(|_| SecretError::NotText)?)
    }

    /// Writes the secret to a new file with mode 0600; false, with nothing changed, when there is one already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, path: &Path) -> Result<bool, SecretError> {
        Ok(private_file::create(path, &self.line())?)
    }

    /// Keeps a secret that came with an invitation or a pairing, so that the node comes back without it; answers with what
    /// is in the file now. A file that had other secrets now belongs to the mesh that the node was invited to; one that
    /// has this secret among others stays as it is, because a change of the secret may have begun since.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep(&self, path: &Path) -> Result<MeshSecrets, SecretError> {
        if !self.save(path)? {
            match MeshSecrets::load(path) {
                Ok(had) if had.contains(self) => return Ok(had),
                _ => private_file::replace(path, &self.line())?,
            }
        }
        Ok(self.clone().into())
    }

    /// The bytes, to put into an invitation. Whoever gets them can join the mesh.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether both are the same secret; takes the same time wherever they differ.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }

    fn of(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    fn line(&self) -> Zeroizing<Vec<u8>> {
        let mut line = Zeroizing::new(Vec::with_capacity(self.0.len() + 1));
        line.extend_from_slice(&self.0);
        line.push(b'\n');
        line
    }
}

impl fmt::Debug for MeshSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshSecret(not shown)")
    }
}

/// The secrets that a node knows, at most [`MAX_SECRETS`]: the first is shown to peers, all of them are accepted. None:
/// peers are admitted by name only.
#[derive(Debug, Clone, Default)]
pub struct MeshSecrets(Vec<MeshSecret>);

impl MeshSecrets {
    /// A list in this order; a secret that comes twice counts once.
    ///
    /// # Errors
    /// When there are more than [`MAX_SECRETS`].
    pub fn new(secrets: impl IntoIterator<Item = MeshSecret>) -> Result<Self, SecretError> {
        let mut list = Self::default();
        for secret in secrets {
            if !list.contains(&secret) {
                list.0.push(secret);
            }
        }
        if list.0.len() > MAX_SECRETS { Err(SecretError::TooMany { count: list.0.len() }) } else { Ok(list) }
    }

    /// Loads the secrets from a file that must be there.
    ///
    /// # Errors
    /// When it is not there, is exposed to other users, or does not hold secrets.
    pub fn load(path: &Path) -> Result<Self, SecretError> {
        Self::find(path)?.ok_or_else(|| SecretError::Missing { path: path.to_owned() })
    }

    /// Loads the secrets from a file, or makes one and writes it there with mode 0600.
    ///
    /// # Errors
    /// When the file is exposed to other users, holds no secret, or cannot be read or written.
    pub fn load_or_create(path: &Path) -> Result<Self, SecretError> {
        if let Some(secrets) = Self::find(path)? {
            return Ok(secrets);
        }
        let made = MeshSecret::generate();
        if made.save(path)? { Ok(made.into()) } else { Self::load(path) }
    }

    /// The one that is shown to peers, and given to those who are invited.
    #[must_use]
    pub fn shown(&self) -> Option<&MeshSecret> {
        self.0.first()
    }

    /// The secret at this place, in the order in which they are shown.
    pub(crate) fn nth(&self, index: usize) -> Option<&MeshSecret> {
        self.0.get(index)
    }

    /// All of them, the shown one first.
    pub fn iter(&self) -> impl Iterator<Item = &MeshSecret> {
        self.0.iter()
    }

    /// Whether this secret is among them.
    #[must_use]
    pub fn contains(&self, secret: &MeshSecret) -> bool {
        self.0.iter().any(|known| known.is(secret))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether both hold the same secrets in the same order.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().zip(&other.0).all(|(a, b)| a.is(b))
    }

    fn find(path: &Path) -> Result<Option<Self>, SecretError> {
        let Some(bytes) = private_file::read(path, MAX_SECRET_FILE)? else { return Ok(None) };
        let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText)?;
        let mut secrets = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let secret = MeshSecret::parse(line).map_err(|problem| SecretError::Line {
                path: path.to_owned(),
                line: index + 1,
                problem: Box::new(problem),
            })?;
            secrets.push(secret);
        }
        if secrets.is_empty() {
            return Err(SecretError::NoneInside { path: path.to_owned() });
        }
        Self::new(secrets).map(Some)
    }
}

impl From<MeshSecret> for MeshSecrets {
    fn from(secret: MeshSecret) -> Self {
        Self(vec![secret])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> MeshSecret {
        MeshSecret::parse(text).unwrap()
    }

    #[test]
    fn a_secret_from_a_file_an_invitation_and_the_environment_is_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mesh.secret");
        let made = MeshSecrets::load_or_create(&path).unwrap().shown().unwrap().clone();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(secret(&text).is(&made));
        assert!(MeshSecret::from_bytes(made.expose()).unwrap().is(&made));
        assert!(MeshSecrets::load(&path).unwrap().same(&made.clone().into()));
        assert!(bs58::decode(made.expose()).into_vec().unwrap().len() == MADE_SECRET);
        assert!(!MeshSecret::generate().save(&path).unwrap());
    }

    #[test]
    fn a_file_may_hold_several_secrets_with_comments_and_the_first_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mesh.secret");
        let text = "# since March\n\n  the new secret of ours \n# until April\nthe old secret of ours\nthe new secret of ours\n";
        private_file::create(&path, text.as_bytes()).unwrap();
        let secrets = MeshSecrets::load(&path).unwrap();
        assert_eq!(secrets.iter().count(), 2);
        assert_eq!(secrets.shown().unwrap().expose(), b"the new secret of ours");
        assert!(secrets.contains(&secret("the old secret of ours")));
        let with_old = secret("the old secret of ours").keep(&path).unwrap();
        assert!(with_old.same(&secrets), "a late invitation undid the change of the secret");
    }

    #[test]
    fn a_wrong_line_is_named_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        for (text, problem) in [
            ("the new secret of ours\n\nshort\n", "line 3"),
            ("# nothing\n\n", "there is none"),
            (
                "aaaaaaaaaaaaaaaa\nbbbbbbbbbbbbbbbb\ncccccccccccccccc\ndddddddddddddddd\neeeeeeeeeeeeeeee",
                "at most 4",
            ),
        ] {
            let path = folder.path().join(problem);
            private_file::create(&path, text.as_bytes()).unwrap();
            let error = MeshSecrets::load(&path).unwrap_err();
            assert_eq!(error.code(), ErrorCode::Config);
            assert!(error.to_string().contains(problem) && !error.to_string().contains("short"), "{error}");
            assert!(
                MeshSecrets::load_or_create(&path).is_err(),
                "a secret was made in place of a wrong file"
            );
        }
    }

    #[test]
    fn an_invitation_to_another_mesh_replaces_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mesh.secret");
        let invited = secret("the secret of another mesh");
        assert!(invited.keep(&path).unwrap().same(&invited.clone().into()));
        let own = MeshSecret::generate();
        own.keep(&path).unwrap();
        assert!(MeshSecrets::load(&path).unwrap().same(&own.into()));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn weak_or_unusable_secrets_are_refused_without_being_shown() {
        for wrong in
            ["", "   ", "fifteen letters", "two lines of\ntext that are long", "# a comment and no secret"]
        {
            let error = MeshSecret::parse(wrong).unwrap_err().to_string();
            assert!(wrong.trim().is_empty() || !error.contains(wrong), "{error}");
        }
        assert!(MeshSecret::parse(&"x".repeat(MAX_SECRET + 1)).is_err());
        assert!(matches!(MeshSecret::from_bytes(&[0xff; 32]), Err(SecretError::NotText)));
        assert!(matches!(MeshSecrets::load(Path::new("/nonexistent/x")), Err(SecretError::Missing { .. })));
    }
}
