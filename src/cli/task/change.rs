//! `task cancel`, `task retry` and `task update`.

use crate::cli::input;
use crate::client::{Answer, ClientError, NodeClient, UpdateArgs};
use crate::output::{Failure, Output};
use meshwork_proto::Coded;
use serde_json::{Value, json};

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
    let mut all = Many::new(output, ids.len());
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
    let mut all = Many::new(output, ids.len());
    for id in ids {
        all.done(id, client.resubmit(id, delay, peer).await)?;
    }
    all.end()
}

/// The same done to several tasks: one that fails does not keep the others from being done.
struct Many {
    output: Output,
    answers: Vec<Value>,
    failures: Vec<Failure>,
    count: usize,
}

impl Many {
    fn new(output: Output, count: usize) -> Self {
        Self { output, answers: Vec::new(), failures: Vec::new(), count }
    }

    fn done(&mut self, id: &str, answer: Result<Answer, ClientError>) -> Result<(), Failure> {
        match answer {
            Ok(answer) if self.output.is_json() => self.answers.push(answer.0),
            Ok(answer) => self.output.line(format!("{id} {}", answer.shown("status")))?,
            // Without a node the others fail in the same way.
            Err(error) if error.is_absence() => return Err(error.into()),
            Err(error) => {
                self.answers.push(
                    json!({"task_id": id, "error": {"code": error.code(), "message": error.to_string()}}),
                );
                if self.count > 1 {
                    self.output.note(format!("{id}: {error} ({})", error.code()));
                }
                self.failures.push(error.into());
            }
        }
        Ok(())
    }

    /// One task gives its own answer and error, several give a list and the first error's exit code.
    fn end(self) -> Result<(), Failure> {
        let Self { output, mut answers, mut failures, count } = self;
        if count == 1 {
            return match failures.pop() {
                Some(failure) => Err(failure),
                None if output.is_json() => output.json(&answers.pop()),
                None => Ok(()),
            };
        }
        if output.is_json() {
            output.json(&answers)?;
        }
        match failures.first() {
            Some(failure) => Err(Failure::Shown(failure.exit())),
            None => Ok(()),
        }
    }
}
