//! `task cancel`, `task retry` and `task update`.

use crate::cli::input;
use crate::cli::many::{Many, Says};
use crate::client::{Answer, NodeClient, UpdateArgs};
use crate::output::{Failure, Output};
use serde_json::Value;

/// Arguments of `task update`.
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub(crate) struct UpdateOptions {
    /// Id of the task
    pub(crate) id: String,
    /// 1 to 10; 10 runs first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=10))]
    pub(crate) priority: Option<u8>,
    /// How often it may be tried
    #[arg(long, value_name = "N")]
    pub(crate) max_attempts: Option<u32>,
    /// How long an attempt may run
    #[arg(long, value_name = "SECONDS", value_parser = input::seconds)]
    pub(crate) timeout: Option<f64>,
    /// How long it may wait in the queue, from its submission
    #[arg(long, value_name = "SECONDS", value_parser = input::seconds)]
    pub(crate) expires: Option<f64>,
    /// A label that the worker must have, may be given several times; replaces the old ones
    #[arg(long, value_name = "LABEL")]
    pub(crate) label: Vec<String>,
    /// A JSON object to keep with the task (or @FILE)
    #[arg(long, value_name = "JSON")]
    pub(crate) metadata: Option<String>,
    /// The peer (id or address) that owns it
    #[arg(long, value_name = "PEER")]
    pub(crate) peer: Option<String>,
}

pub(super) async fn update(
    client: &NodeClient,
    options: &UpdateOptions,
    output: Output,
) -> Result<(), Failure> {
    let metadata = options.metadata.as_deref().map(|text| input::object("--metadata", text)).transpose()?;
    let labels = (!options.label.is_empty()).then(|| options.label.iter().cloned().collect());
    let arguments = UpdateArgs {
        task_id: options.id.clone(),
        metadata: metadata.map(Value::Object),
        labels,
        max_attempts: options.max_attempts,
        timeout_s: options.timeout,
        expires_s: options.expires,
        peer: options.peer.clone(),
    };
    let bare =
        UpdateArgs { task_id: options.id.clone(), peer: options.peer.clone(), ..UpdateArgs::default() };
    if arguments == bare && options.priority.is_none() {
        return Err(Failure::usage(
            "nothing to change: give --priority, --max-attempts, --timeout, --expires, --label or --metadata",
        ));
    }
    let mut answer = Answer::default();
    if arguments != bare {
        answer = client.update_task(&arguments).await?;
    }
    if let Some(priority) = options.priority {
        answer = client.priority(&options.id, priority, options.peer.as_deref()).await?;
    }
    if output.is_json() { output.json(&answer.0) } else { output.line(format!("{} changed", options.id)) }
}

pub(super) async fn cancel(
    client: &NodeClient,
    ids: &[String],
    reason: Option<&str>,
    peer: Option<&str>,
    output: Output,
) -> Result<(), Failure> {
    let mut all = Many::new(output, "task_id", Says::Member("status"), ids.len());
    for id in ids {
        all.done(id, client.cancel(id, reason, peer).await)?;
    }
    all.end()
}

pub(super) async fn retry(
    client: &NodeClient,
    ids: &[String],
    delay: Option<f64>,
    peer: Option<&str>,
    output: Output,
) -> Result<(), Failure> {
    let mut all = Many::new(output, "task_id", Says::Member("status"), ids.len());
    for id in ids {
        all.done(id, client.resubmit(id, delay, peer).await)?;
    }
    all.end()
}
