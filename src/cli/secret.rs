//! `secret list`, `add` and `retire`: changing the mesh secret without downtime.
//!
//! They work on the file in which a node keeps its secrets, without asking the node; a running node watches the file.
//! The first secret of the file is shown to peers, all of them are accepted.

mod file;

use super::identity::Place;
use crate::config::{Effective, Environment};
use crate::output::{Cell, Exit, Failure, Output, Table, Tone, counted};
use file::SecretFile;
use meshwork_network::trust::MeshSecret;
use meshwork_proto::ErrorCode;
use serde_json::json;
use std::io::Read;
use std::path::PathBuf;

/// Longest secret that is read from standard input, in bytes.
const MAX_INPUT: u64 = 8 * 1024;

const STEPS: &str = "\
The mesh secret is changed in two steps, while all nodes go on working:
  1. `meshwork secret add` at one node makes a new secret and prints it; `meshwork secret add -` enters it at each other
     node. The new one is shown to peers from then on, the older ones stay accepted.
  2. When every node has it: `meshwork secret retire` at each node. Who knows only the old one is out at once.";

const LIST_EXAMPLES: &str = "\
Examples:
  meshwork secret list
  meshwork secret list --data-dir /srv/mesh --json

A fingerprint is the beginning of the SHA-256 of a secret: nodes with the same ones have the same secrets.";

const ADD_EXAMPLES: &str = "\
Examples:
  meshwork secret add                        makes a new one and prints it, to be entered at the other nodes
  ssh other meshwork secret add - < secret   enters it there; a secret in the arguments can be seen by other users
  meshwork secret add - --data-dir /srv/mesh < secret

This is step 1 of 2: the older secrets stay accepted until `meshwork secret retire`.";

const RETIRE_EXAMPLES: &str = "\
Examples:
  meshwork secret retire
  meshwork secret retire --data-dir /srv/mesh

This is step 2 of 2, for when every node has the new secret (`meshwork secret list` shows the same fingerprint first). An
older invitation has the old secret: take it out of the node's flags and configuration first.";

/// What can be done with the mesh secret.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
#[command(after_help = STEPS)]
pub(crate) enum SecretCommand {
    /// Show the fingerprints of the secrets, and which of them is shown to peers
    #[command(after_help = LIST_EXAMPLES)]
    List {
        /// Which file.
        #[command(flatten)]
        place: SecretPlace,
    },
    /// Step 1 of a change: a new secret comes first, the older ones stay accepted
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// The secret, or - for standard input [default: a new one is made and printed]
        secret: Option<GivenSecret>,
        /// Which file.
        #[command(flatten)]
        place: SecretPlace,
    },
    /// Step 2 of a change: only the first secret stays
    #[command(after_help = RETIRE_EXAMPLES)]
    Retire {
        /// Which file.
        #[command(flatten)]
        place: SecretPlace,
    },
}

/// A secret of the command line, which is in no debug form.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct GivenSecret(String);

impl From<String> for GivenSecret {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for GivenSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GivenSecret(not shown)")
    }
}

/// Where the secrets are kept.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(crate) struct SecretPlace {
    /// Which node.
    #[command(flatten)]
    pub(crate) node: Place,
    /// File with the mesh secret, if the node was given one
    #[arg(long, value_name = "FILE")]
    pub(crate) mesh_secret_file: Option<String>,
}

pub(super) fn execute(
    command: &SecretCommand,
    output: Output,
    environment: &Environment,
) -> Result<(), Failure> {
    match command {
        SecretCommand::List { place } => list(&existing(place, environment)?.1, output),
        SecretCommand::Add { secret, place } => add(secret.as_ref(), place, output, environment),
        SecretCommand::Retire { place } => retire(place, output, environment),
    }
}

/// The file in which the node that is meant keeps its secrets.
fn path(effective: &Effective) -> Result<PathBuf, Failure> {
    let p2p = &effective.node.p2p;
    if p2p.mesh_secret.is_some() {
        let source = effective.entries.iter().find(|entry| entry.key == "p2p.mesh_secret");
        let place = source.map_or_else(|| "the configuration".to_owned(), |entry| entry.source.to_string());
        return Err(Failure::new(
            ErrorCode::Config,
            format!(
                "the mesh secret is given as p2p.mesh_secret ({place}), which cannot change while the node runs: put it into \
                 a file and name that as p2p.mesh_secret_file, or leave both out"
            ),
        ));
    }
    Ok(p2p.mesh_secret_file.clone().unwrap_or_else(|| effective.node.data().mesh_secret()))
}

/// The file, which must be there.
fn existing(place: &SecretPlace, environment: &Environment) -> Result<(Effective, SecretFile), Failure> {
    let effective = place.node.effective(place.mesh_secret_file.clone(), environment)?;
    let path = path(&effective)?;
    let Some(file) = SecretFile::read(&path)? else {
        let message = format!(
            "there is no mesh secret in {}: name the node's directory with --data-dir, or make one with `meshwork secret \
             add`",
            path.display()
        );
        return Err(Failure::new(ErrorCode::Config, message).exiting(Exit::NotFound));
    };
    Ok((effective, file))
}

/// How a secret is used, by its place.
const fn use_of(index: usize) -> &'static str {
    if index == 0 { "shown" } else { "accepted" }
}

fn list(file: &SecretFile, output: Output) -> Result<(), Failure> {
    let secrets = file.secrets();
    if output.is_json() {
        let secrets: Vec<_> = secrets
            .iter()
            .enumerate()
            .map(|(index, secret)| json!({"fingerprint": file::fingerprint(secret), "use": use_of(index)}))
            .collect();
        return output.json(&json!({"file": file.path().display().to_string(), "secrets": secrets}));
    }
    let mut table = Table::new(["fingerprint", "use"]);
    for (index, secret) in secrets.iter().enumerate() {
        let tone = if index == 0 { Tone::Good } else { Tone::Plain };
        table.row([Cell::text(file::fingerprint(secret)), Cell::toned(use_of(index), tone)]);
    }
    output.table(&table)?;
    if secrets.len() > 1 {
        output.note("when every node has the first one: `meshwork secret retire`");
    }
    Ok(())
}

fn add(
    given: Option<&GivenSecret>,
    place: &SecretPlace,
    output: Output,
    environment: &Environment,
) -> Result<(), Failure> {
    let effective = place.node.effective(place.mesh_secret_file.clone(), environment)?;
    let path = path(&effective)?;
    let secret = match given {
        None => MeshSecret::generate(),
        Some(GivenSecret(text)) if text == "-" => parse(&read(std::io::stdin().lock())?)?,
        Some(GivenSecret(text)) => parse(text)?,
    };
    let mut file = SecretFile::read(&path)?.unwrap_or_else(|| SecretFile::empty(&path));
    let fingerprint = file::fingerprint(&secret);
    let changed = file.put_first(&secret)?;
    if changed {
        file.write()?;
    }
    let accepted: Vec<String> = file.secrets().into_iter().skip(1).map(file::fingerprint).collect();
    // One that was given is known to who gave it; one that was made is to be entered at the other nodes.
    let made = given.is_none().then(|| String::from_utf8_lossy(secret.expose()).into_owned());
    if output.is_json() {
        return output.json(&json!({
            "file": path.display().to_string(), "fingerprint": fingerprint, "changed": changed, "secret": made,
            "accepted": accepted,
        }));
    }
    match made {
        Some(text) => output.line(text)?,
        None => output.line(&fingerprint)?,
    }
    output.note(match (changed, accepted.len()) {
        (false, _) => format!("{fingerprint} is shown to peers already"),
        (true, 0) => format!("{fingerprint} is the mesh secret in {}", path.display()),
        (true, older) => format!(
            "{fingerprint} is shown to peers from now on, {} accepted; enter it at every other node (`meshwork secret add -`), \
             then `meshwork secret retire` at each",
            counted(older as u64, "older one")
        ),
    });
    Ok(())
}

fn retire(place: &SecretPlace, output: Output, environment: &Environment) -> Result<(), Failure> {
    let (effective, mut file) = existing(place, environment)?;
    let retired = file.keep_first();
    let fingerprints: Vec<String> = retired.iter().map(file::fingerprint).collect();
    // At its next start the node would take the old secret from there, and be alone with it.
    if let Some(invitation) = effective.node.p2p.invitation()
        && retired.iter().any(|secret| secret.expose() == invitation.secret)
    {
        let message = "the invitation in p2p.join has a secret that would be retired: take it out of the configuration \
                       first, for the node would take that secret again at its next start";
        return Err(Failure::new(ErrorCode::Config, message));
    }
    if !retired.is_empty() {
        file.write()?;
    }
    let kept = file.secrets().into_iter().next().map(file::fingerprint).unwrap_or_default();
    if output.is_json() {
        let path = file.path().display().to_string();
        return output.json(&json!({"file": path, "kept": kept, "retired": fingerprints}));
    }
    for fingerprint in &fingerprints {
        output.line(fingerprint)?;
    }
    output.note(if fingerprints.is_empty() {
        format!("there is only {kept}: nothing to retire")
    } else {
        format!("only {kept} is accepted now; who does not know it is out")
    });
    Ok(())
}

fn parse(text: &str) -> Result<MeshSecret, Failure> {
    MeshSecret::parse(text).map_err(|error| Failure::usage(error.to_string()))
}

/// One secret from a stream.
fn read(reader: impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    let cannot = |error| Failure::usage(format!("standard input cannot be read: {error}"));
    reader.take(MAX_INPUT + 1).read_to_string(&mut text).map_err(cannot)?;
    if text.len() as u64 > MAX_INPUT {
        return Err(Failure::usage(format!(
            "standard input has more than {MAX_INPUT} bytes: expected one secret"
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
