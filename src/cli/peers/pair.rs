//! `peers pair`: two people, two machines, nine digits.

use crate::cli::input;
use crate::client::{Answer, NodeClient, PairArgs};
use crate::output::{Failure, Output, duration};

const EXAMPLES: &str = "\
Examples:
  meshwork peers pair                        at a node of the mesh: prints the code to read to the other person
  meshwork peers pair 123 456 789            at the new node, in the same local network
  meshwork peers pair 123-456-789 --at /ip4/192.0.2.7/tcp/4001
      At the new node, anywhere else: with an address of the node that printed the code.

The code works once. The new node takes over the mesh secret, and gives up the one that it had.";

/// Arguments of `peers pair`.
#[derive(Clone, PartialEq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct PairOptions {
    /// The code that the other node printed; without it, this node makes one
    #[arg(value_name = "CODE", num_args = 0..=3)]
    pub(crate) code: Vec<String>,
    /// Where the other node is, may be given several times [default: whom this node has found]
    #[arg(long, value_name = "MULTIADDR", requires = "code")]
    pub(crate) at: Vec<String>,
    /// How long the code that this node makes is of use [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = input::seconds, conflicts_with = "code")]
    pub(crate) valid: Option<f64>,
}

impl std::fmt::Debug for PairOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The code opens a door.
        f.debug_struct("PairOptions")
            .field("at", &self.at)
            .field("valid", &self.valid)
            .finish_non_exhaustive()
    }
}

impl PairOptions {
    fn arguments(&self) -> PairArgs {
        PairArgs {
            code: (!self.code.is_empty()).then(|| self.code.join("-")),
            addresses: self.at.clone(),
            valid_s: self.valid,
        }
    }
}

pub(super) async fn execute(
    options: &PairOptions,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let progress = output.progress();
    if !options.code.is_empty() {
        progress.say("looking for the node with this code");
    }
    let answer = client.pair(&options.arguments()).await;
    progress.finish();
    let answer = answer?;
    if output.is_json() {
        return output.json(&answer.0);
    }
    if let Some(peer) = answer.text("joined") {
        let place = answer.text("address").map(|address| format!(" at {address}")).unwrap_or_default();
        return output.line(format!("joined the mesh of {peer}{place}"));
    }
    let code = answer.shown("code");
    if output.is_terminal() {
        output.line(format!("\n    {}\n", enlarged(&code)))?;
    } else {
        output.line(&code)?;
    }
    explain(&code, &answer, output);
    Ok(())
}

/// What to do with the code.
fn explain(code: &str, answer: &Answer, output: Output) {
    let time = answer.number("valid_s").map(duration).unwrap_or_default();
    output.note(format!(
        "Read it to the person at the new node. It works once, within {time}. There, on the same network:"
    ));
    output.note(format!("  meshwork peers pair {code}"));
    let addresses = answer.texts("addresses");
    if !addresses.is_empty() {
        output.note("Anywhere else, with one of the addresses of this node:");
    }
    for address in addresses {
        output.note(format!("  meshwork peers pair {code} --at {address}"));
    }
}

/// The digits with room between them, as they are read aloud: `1 2 3   4 5 6   7 8 9`.
fn enlarged(code: &str) -> String {
    let groups = code.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|group| !group.is_empty());
    let spaced = groups.map(|group| group.chars().map(String::from).collect::<Vec<_>>().join(" "));
    spaced.collect::<Vec<_>>().join("   ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_shown_with_room_between_its_digits() {
        assert_eq!(enlarged("123-456-789"), "1 2 3   4 5 6   7 8 9");
        assert_eq!(enlarged("123 456 789"), "1 2 3   4 5 6   7 8 9");
    }

    #[test]
    fn a_code_may_be_typed_in_groups_and_is_in_no_debug_form() {
        let code = ["123", "456", "789"].map(String::from).to_vec();
        let options = PairOptions { code, at: vec!["/ip4/192.0.2.7/tcp/1".into()], valid: None };
        assert_eq!(options.arguments().code.as_deref(), Some("123-456-789"));
        assert!(!format!("{options:?}").contains("456"));
        let open = PairOptions { code: Vec::new(), at: Vec::new(), valid: Some(60.0) }.arguments();
        assert_eq!((open.code, open.valid_s), (None, Some(60.0)));
    }
}
