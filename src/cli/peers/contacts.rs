//! `peers bootstrap` and `peers contacts`: the first contacts.

use crate::cli::input;
use crate::client::{Answer, BootstrapFrom, NodeClient};
use crate::output::{Cell, Exit, Failure, Output, Table, Tone, duration};

const BOOTSTRAP_EXAMPLES: &str = "\
Examples:
  meshwork peers bootstrap                          everything that is configured, again
  meshwork peers bootstrap --file /etc/meshwork/peers.txt
  meshwork peers bootstrap --dns meshwork.default.svc.cluster.local
  meshwork peers bootstrap --env --timeout 20s

Files and names are those of the node's machine. Exit code 3: none of the contacts is connected yet; the node goes on
trying.";

/// Arguments of `peers bootstrap`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = BOOTSTRAP_EXAMPLES)]
#[command(group = clap::ArgGroup::new("place").args(["file", "env", "dns", "public"]))]
pub(crate) struct BootstrapOptions {
    /// Read this file, or the configured one
    #[arg(long, value_name = "FILE", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "absent, given, given with a value: that is how clap says it")]
    pub(crate) file: Option<Option<String>>,
    /// Read the variables of the node's environment
    #[arg(long)]
    pub(crate) env: bool,
    /// Resolve this name, or the configured ones
    #[arg(long, value_name = "NAME", num_args = 0..=1)]
    #[expect(clippy::option_option, reason = "absent, given, given with a value: that is how clap says it")]
    pub(crate) dns: Option<Option<String>>,
    /// Take the public list
    #[arg(long)]
    pub(crate) public: bool,
    /// How long reading and the first tries may take
    #[arg(long, value_name = "TIME", value_parser = input::seconds, default_value = "10s")]
    pub(crate) timeout: f64,
    /// Have this peer (id or address) do so; it must have made this node its admin
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

impl BootstrapOptions {
    fn from(&self) -> BootstrapFrom {
        if let Some(path) = &self.file {
            BootstrapFrom::File(path.clone())
        } else if let Some(name) = &self.dns {
            BootstrapFrom::Dns(name.clone())
        } else if self.env {
            BootstrapFrom::Environment
        } else if self.public {
            BootstrapFrom::Public
        } else {
            BootstrapFrom::Configured
        }
    }
}

pub(super) async fn bootstrap(
    options: &BootstrapOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let progress = output.progress();
    progress.say("reading first contacts and dialling them");
    let answer = client.bootstrap(&options.from(), Some(options.timeout), options.peer.as_deref()).await;
    progress.finish();
    let answer = answer?;
    let contacts = answer.items("contacts");
    if output.is_json() {
        output.json(&answer.0)?;
    } else {
        if contacts.is_empty() {
            output.note("there are no first contacts");
        } else {
            output.table(&table(&contacts))?;
        }
        for skipped in answer.items("skipped") {
            output.note(format!("skipped {}: {}", skipped.shown("entry"), skipped.shown("problem")));
        }
    }
    let nobody = !contacts.is_empty() && answer.whole("connected") == Some(0);
    if nobody { Err(Failure::Shown(Exit::Unreachable)) } else { Ok(()) }
}

const CONTACTS_EXAMPLES: &str = "\
Examples:
  meshwork peers contacts
  meshwork peers contacts --json | jq '.contacts[] | select(.state == \"waiting\")'

States: connected (now), lost (it was connected; tried again every few minutes), dialling, waiting (for the next try).
A contact without a peer was never reached.";

/// Arguments of `peers contacts`.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = CONTACTS_EXAMPLES)]
pub(crate) struct ContactsOptions {
    /// List those of this peer (id or address)
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn list(
    options: &ContactsOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let answer = client.contacts(options.peer.as_deref()).await?;
    if output.is_json() {
        return output.json(&answer.0);
    }
    let contacts = answer.items("contacts");
    if contacts.is_empty() {
        output.note(
            "no first contacts: give some with --peer or --join, or under p2p.bootstrap in the configuration",
        );
        return Ok(());
    }
    output.table(&table(&contacts))
}

fn table(contacts: &[Answer]) -> Table {
    let mut table = Table::new(["address", "source", "state", "peer", "tries", "next", "problem"]);
    for contact in contacts {
        table.row(row(contact));
    }
    table
}

fn row(contact: &Answer) -> Vec<Cell> {
    let state = contact.shown("state");
    let tone = match state.as_str() {
        "connected" => Tone::Good,
        "dialling" => Tone::Active,
        _ => Tone::Warn,
    };
    vec![
        Cell::text(contact.shown("addr")),
        Cell::text(contact.shown("source")),
        Cell::toned(state, tone),
        Cell::text(contact.shown("peer_id")),
        Cell::number(contact.whole("attempts").unwrap_or(0)),
        Cell::number(contact.number("next_try_s").map(duration).unwrap_or_default()),
        Cell::toned(contact.shown("problem"), Tone::Bad),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_contact_that_was_connected_and_is_not_any_more_is_no_good_news() {
        for (state, tone) in [("connected", Tone::Good), ("lost", Tone::Warn), ("dialling", Tone::Active)] {
            let addr = "/ip4/192.0.2.7/tcp/4001";
            let contact =
                json!({"addr": addr, "source": "file", "state": state, "peer_id": null, "attempts": 0});
            assert_eq!(row(&Answer(contact))[2], Cell::toned(state, tone));
        }
    }

    #[test]
    fn a_contact_that_waits_says_why_and_for_how_long() {
        let contact = json!({
            "addr": "/dns/gone.example/tcp/4001", "source": "dns", "state": "waiting", "peer_id": null, "attempts": 3,
            "problem": "nobody answered", "next_try_s": 8.0,
        });
        let text = table(&[Answer(contact)]).render(false, false);
        for word in ["/dns/gone.example/tcp/4001", "waiting", "8.0 s", "nobody answered"] {
            assert!(text.contains(word), "{word} is missing in {text}");
        }
    }
}
