//! The file with the mesh secrets: one on each line, the first is shown; `#` begins a comment, which is kept.

use crate::output::Failure;
use meshwork_network::trust::MeshSecret;
use meshwork_proto::{Cid, ErrorCode};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Secrets that a node accepts at a time.
const MAX_SECRETS: usize = 4;
/// Largest file that is read, in bytes: the secrets, and comments beside them.
const MAX_BYTES: u64 = 16 * 1024;
/// Bits of a mode that let the group or others in.
const NOT_OWNER: u32 = 0o077;
/// Characters of a fingerprint.
const FINGERPRINT: usize = 8;

/// A line of the file.
enum Line {
    /// A comment or an empty line, as it stands.
    Other(String),
    /// A secret.
    Secret(MeshSecret),
}

impl Line {
    fn secret(&self) -> Option<&MeshSecret> {
        match self {
            Self::Secret(secret) => Some(secret),
            Self::Other(_) => None,
        }
    }
}

/// The file with the mesh secrets.
pub(super) struct SecretFile {
    path: PathBuf,
    lines: Vec<Line>,
}

/// The beginning of the SHA-256 of a secret: enough to compare, and of no use to whoever wants in.
pub(super) fn fingerprint(secret: &MeshSecret) -> String {
    let digest = Cid::of(secret.expose());
    let hex: String = digest.digest().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.chars().take(FINGERPRINT).collect()
}

impl SecretFile {
    /// A file that is not there yet.
    pub(super) fn empty(path: &Path) -> Self {
        Self { path: path.to_owned(), lines: Vec::new() }
    }

    /// Reads the file; none when it is not there.
    ///
    /// # Errors
    /// When other users can read it, it cannot be read, or a line is no secret; the line is named, never quoted.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let text = match read_private(path) {
            Ok(Some(text)) => text,
            Ok(None) => return Ok(None),
            Err(problem) => return Err(wrong(path, &problem)),
        };
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                lines.push(Line::Other(line.to_owned()));
                continue;
            }
            let secret = MeshSecret::parse(line)
                .map_err(|error| wrong(path, &format!("cannot be used: line {}: {error}", index + 1)))?;
            lines.push(Line::Secret(secret));
        }
        let file = Self { path: path.to_owned(), lines };
        if file.secrets().is_empty() {
            return Err(wrong(path, "has no secret: expected one on a line of its own"));
        }
        Ok(Some(file))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The secrets, the shown one first.
    pub(super) fn secrets(&self) -> Vec<&MeshSecret> {
        self.lines.iter().filter_map(Line::secret).collect()
    }

    /// Makes a secret the first one; false when it is so already.
    ///
    /// # Errors
    /// When there would be more than a node accepts.
    pub(super) fn put_first(&mut self, secret: &MeshSecret) -> Result<bool, Failure> {
        if self.secrets().first().is_some_and(|first| same(first, secret)) {
            return Ok(false);
        }
        self.lines.retain(|line| !line.secret().is_some_and(|known| same(known, secret)));
        let count = self.secrets().len() + 1;
        if count > MAX_SECRETS {
            let problem = format!(
                "would have {count} secrets, and a node accepts {MAX_SECRETS} at a time: end a change with `meshwork \
                 secret retire` before the next one"
            );
            return Err(wrong(&self.path, &problem));
        }
        let first = self.lines.iter().position(|line| line.secret().is_some());
        self.lines.insert(first.unwrap_or(self.lines.len()), Line::Secret(secret.clone()));
        Ok(true)
    }

    /// Drops all secrets but the first, and gives those that it dropped.
    pub(super) fn keep_first(&mut self) -> Vec<MeshSecret> {
        let mut dropped = Vec::new();
        let mut kept = Vec::new();
        let mut first = true;
        for line in self.lines.drain(..) {
            match line {
                Line::Secret(secret) if !first => dropped.push(secret),
                line => {
                    first = first && matches!(line, Line::Other(_));
                    kept.push(line);
                }
            }
        }
        self.lines = kept;
        dropped
    }

    /// Replaces the file as a whole, so that who reads it sees the old one or the new one; mode 0600, and the owner stays.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self) -> Result<(), Failure> {
        self.replace().map_err(|error| wrong(&self.path, &format!("cannot be written: {error}")))
    }

    fn replace(&self) -> io::Result<()> {
        // What a link points at is replaced, not the link.
        let (target, owner) = match std::fs::canonicalize(&self.path) {
            Ok(target) => {
                let had = std::fs::metadata(&target)?;
                (target, Some((had.uid(), had.gid())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (self.path.clone(), None),
            Err(error) => return Err(error),
        };
        let folder =
            target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        // Made with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        for line in &self.lines {
            match line {
                Line::Other(text) => file.write_all(text.as_bytes())?,
                Line::Secret(secret) => file.write_all(secret.expose())?,
            }
            file.write_all(b"\n")?;
        }
        let made = file.as_file().metadata()?;
        if let Some((user, group)) = owner.filter(|had| *had != (made.uid(), made.gid())) {
            // Changed by root: the node, which is somebody else, must still be able to read it.
            std::os::unix::fs::fchown(file.as_file(), Some(user), Some(group))?;
        }
        file.as_file().sync_all()?;
        file.persist(&target).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    }
}

fn same(a: &MeshSecret, b: &MeshSecret) -> bool {
    a.expose() == b.expose()
}

fn wrong(path: &Path, problem: &str) -> Failure {
    Failure::new(ErrorCode::Config, format!("mesh secret file {} {problem}", path.display()))
}

/// The text of a file that only its owner can read; none when there is no such file.
fn read_private(path: &Path) -> Result<Option<String>, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let mode = file.metadata().map_err(cannot)?.permissions().mode() & 0o7777;
    if mode & NOT_OWNER != 0 {
        return Err(format!(
            "can be read or written by other users (mode {mode:04o}): make it private with `chmod 600 {}`, and change the \
             secret if somebody may have read it",
            path.display()
        ));
    }
    let mut text = String::new();
    file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(format!("has more than {MAX_BYTES} bytes: it is not the file that belongs there"));
    }
    Ok(Some(text))
}
