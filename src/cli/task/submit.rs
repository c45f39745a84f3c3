//! `task submit`.

use super::progress;
use crate::cli::input;
use crate::client::{self, NodeClient};
use crate::output::{Failure, Output};
use serde_json::Value;

const EXAMPLES: &str = "\
Examples:
  meshwork task submit --type echo --payload '{\"text\": \"hi\"}' --wait
      Submits and prints the result.
  id=$(meshwork task submit --type resize --payload @job.json --priority 8 --label gpu)
      The id is all that is printed to standard output.
  meshwork task submit --type tool.call --payload '{\"tool\": \"git__git_log\", \"arguments\": {}}' --peer 12D3KooW...
      Into the queue of another node.
  make-job | meshwork task submit --type build --payload - --idempotency-key \"$COMMIT\" --json
      The same key and work twice is one task.

A task whose type nobody serves waits until somebody does; `meshwork task get ID` says so.";

/// Arguments of `task submit`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SubmitArgs {
    /// Name of the tool, or tool.call with the payload {"tool": NAME, "arguments": {...}}
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) task_type: String,
    /// Arguments of the tool: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub(crate) payload: String,
    /// The peer (id or address) whose queue takes it [default: the node itself]
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
    /// Wait for the end, at most so many seconds if given, and print the result
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, value_parser = input::seconds)]
    #[expect(clippy::option_option, reason = "absent, given, given with a value: that is how clap says it")]
    pub(crate) wait: Option<Option<f64>>,
    /// 1 to 10; 10 runs first [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=10))]
    pub(crate) priority: Option<u8>,
    /// The same key and work again gives the first task again
    #[arg(long, value_name = "KEY")]
    pub(crate) idempotency_key: Option<String>,
    /// How often it may be tried [default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) max_attempts: Option<u32>,
    /// Not before so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = input::seconds)]
    pub(crate) delay: Option<f64>,
    /// How long an attempt may run
    #[arg(long, value_name = "SECONDS", value_parser = input::seconds)]
    pub(crate) timeout: Option<f64>,
    /// How long it may wait in the queue
    #[arg(long, value_name = "SECONDS", value_parser = input::seconds)]
    pub(crate) expires: Option<f64>,
    /// A label that the worker must have, may be given several times
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Vec<String>,
    /// Named queue, for counting
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<String>,
    /// Whose work it is, for limits and fairness
    #[arg(long, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
    /// Tasks with the same key run one at a time
    #[arg(long, value_name = "KEY")]
    pub(crate) concurrency_key: Option<String>,
    /// A JSON object to keep with the task (or @FILE)
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    /// A model the task is for
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
}

impl SubmitArgs {
    /// The arguments of the MCP tool.
    pub(super) fn arguments(&self) -> Result<client::SubmitArgs, Failure> {
        let metadata = self.metadata.as_deref().map(|text| input::object("--metadata", text)).transpose()?;
        Ok(client::SubmitArgs {
            task_type: self.task_type.clone(),
            payload: input::json("--payload", &self.payload)?,
            model_name: self.model.clone(),
            priority: self.priority,
            idempotency_key: self.idempotency_key.clone(),
            max_attempts: self.max_attempts,
            delay_s: self.delay,
            timeout_s: self.timeout,
            expires_s: self.expires,
            labels: self.label.iter().cloned().collect(),
            queue: self.queue.clone(),
            tenant: self.tenant.clone(),
            concurrency_key: self.concurrency_key.clone(),
            metadata: metadata.map(Value::Object),
            peer: self.peer.clone(),
        })
    }
}

pub(super) async fn execute(
    args: &SubmitArgs,
    arguments: &client::SubmitArgs,
    client: &NodeClient,
    output: Output,
) -> Result<(), Failure> {
    let (submitted, answer) = client.submit(arguments).await?;
    let Some(within) = args.wait else {
        if output.is_json() {
            return output.json(&answer.0);
        }
        output.note(format!("{} at peer {}", submitted.status, submitted.peer_id));
        return output.line(&submitted.task_id);
    };
    output.note(format!("task {} at peer {}", submitted.task_id, submitted.peer_id));
    let within = within.map(input::duration);
    let end = progress::wait(client, &submitted.task_id, args.peer.as_deref(), within, output).await?;
    progress::report(&end, output)
}
