//! `p2p_schedule_create`: starts a task or a workflow at times.

use super::record::{ScheduleRecord, missed_name};
use crate::node::{At, Node, millis};
use crate::tools::input::{MAX_TIME_S, invalid, seconds};
use crate::tools::submit::{SubmitIn, specify};
use crate::tools::workflow::{CHECKED, Definition, explain, peers};
use crate::tools::{Failure, Hints, MeshTool, closest};
use meshwork_proto::MeshError;
use meshwork_proto::schedule::{AddSchedule, Missed, ScheduleView, Scheduled, Timing};
use rmcp::model::JsonObject;
use schemars::JsonSchema;
use serde::Deserialize;

/// The time zone of a cron expression when none is given.
const UTC: &str = "UTC";
/// Shortest interval in seconds.
const MIN_EVERY_S: f64 = 1.0;

/// Makes a schedule.
pub(crate) struct CreateTool;

/// Arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CreateIn {
    /// Its name, unique on its node.
    name: String,
    /// A cron expression of five fields (minute, hour, day, month, weekday), or six with seconds first. Give this or every_s.
    cron: Option<String>,
    /// Name of the time zone of cron, such as Europe/Berlin; UTC if absent.
    timezone: Option<String>,
    /// Seconds between two starts, at least 1, counted from now. Give this or cron.
    #[schemars(range(min = 1, max = 31_536_000))]
    every_s: Option<f64>,
    /// What becomes of times that pass while the node is down or the schedule is paused: skip, once (one start for all of
    /// them together, if absent) or all (the latest 100 at most).
    #[schemars(extend("enum" = ["skip", "once", "all", null]))]
    missed: Option<String>,
    /// Whether nothing is started while the last start is not finished (false if absent).
    no_overlap: Option<bool>,
    /// The task to start, with the arguments of p2p_taskqueue_submit, but peer and idempotency_key. Give this or workflow.
    task: Option<SubmitIn>,
    /// The workflow to start, as p2p_workflow_submit takes it. Give this or task.
    workflow: Option<JsonObject>,
    /// With workflow: its inputs by name.
    inputs: Option<JsonObject>,
    /// With workflow: ids of the only peers that may work on its steps; any peer if absent.
    #[schemars(length(max = 64))]
    target_peers: Option<Vec<String>>,
    /// With workflow: whether tools that nobody serves now are fine (false if absent).
    allow_unknown_tools: Option<bool>,
    /// Peer that is to keep the schedule, as peer id or multiaddress; this node if absent.
    peer: Option<String>,
}

impl MeshTool for CreateTool {
    const NAME: &'static str = "p2p_schedule_create";
    const TITLE: &'static str = "Make a schedule";
    const DESCRIPTION: &'static str = "Has a task or a workflow started at times, by a cron expression in a time zone or at \
        an interval. It is durable, and no time is started twice, also after a crash. A workflow is checked now. The same \
        name with the same content gives the first schedule again.";
    const EXAMPLE: &'static str = r#"{"name": "nightly", "cron": "30 2 * * *", "timezone": "Europe/Berlin", "task": {"task_type": "echo", "payload": {"text": "hi"}}}"#;
    // The tools that it has run may do anything.
    const HINTS: Hints = Hints { read_only: false, destructive: true, idempotent: true, open_world: true };
    type Input = CreateIn;
    type Output = ScheduleRecord;

    async fn run(node: &Node, input: CreateIn) -> Result<ScheduleRecord, Failure> {
        let at = node.at(input.peer.as_deref())?;
        let timing = timing(input.cron, input.timezone, input.every_s)?;
        let missed = missed(input.missed.as_deref())?;
        let add = |what| AddSchedule {
            name: input.name,
            timing,
            missed,
            no_overlap: input.no_overlap.unwrap_or(false),
            what,
        };
        let workflow_only =
            input.inputs.is_some() || input.target_peers.is_some() || input.allow_unknown_tools.is_some();
        match (input.task, input.workflow) {
            (Some(_), None) if workflow_only => Err(Failure::invalid(
                "inputs, target_peers and allow_unknown_tools are for a workflow: leave them out for a task",
            )),
            (Some(task), None) => {
                let spec = specify(&node.artifacts, without_own(task)?).await?;
                Ok(make(node, &at, add(Scheduled::Task(spec))).await?)
            }
            (None, Some(workflow)) => {
                let targets = peers("target_peers", input.target_peers.unwrap_or_default())?;
                let definition = Definition::read(node, workflow, input.inputs, input.allow_unknown_tools)?;
                let run = definition.run(node, targets, None).await?;
                match make(node, &at, add(Scheduled::Workflow(run))).await {
                    Ok(record) => Ok(record),
                    Err(error) => Err(explain(node, &at, error, &definition).await),
                }
            }
            (Some(_), Some(_)) => Err(Failure::invalid("task and workflow are both given: give one of them")),
            (None, None) => Err(Failure::invalid("nothing to start: give task or workflow")),
        }
    }
}

async fn make(node: &Node, at: &At, add: AddSchedule) -> Result<ScheduleRecord, MeshError> {
    let answer = node.ask::<AddSchedule>(at, add, CHECKED).await?;
    let schedule: ScheduleView = answer.value;
    Ok(ScheduleRecord::new(&answer.peer, &schedule))
}

/// The task without what a schedule gives its starts itself.
fn without_own(task: SubmitIn) -> Result<SubmitIn, MeshError> {
    if task.peer.is_some() {
        return Err(invalid("task.peer: give peer beside task, it is the node that keeps the schedule"));
    }
    if task.idempotency_key.is_some() {
        return Err(invalid(
            "task.idempotency_key: leave it out, a schedule gives each start a key of its own",
        ));
    }
    Ok(task)
}

fn timing(cron: Option<String>, timezone: Option<String>, every_s: Option<f64>) -> Result<Timing, MeshError> {
    match (cron, every_s) {
        (Some(expression), None) => {
            Ok(Timing::Cron { expression, timezone: timezone.unwrap_or_else(|| UTC.to_owned()) })
        }
        (None, Some(_)) if timezone.is_some() => {
            Err(invalid("timezone is for cron: an interval has no time zone, leave it out"))
        }
        (None, Some(every)) if every < MIN_EVERY_S => {
            Err(invalid(format!("every_s is {every}: expected at least {MIN_EVERY_S} second")))
        }
        (None, Some(every)) => {
            Ok(Timing::Every { interval_ms: millis(seconds("every_s", every, MAX_TIME_S)?) })
        }
        (Some(_), Some(_)) => Err(invalid("cron and every_s are both given: give one of them")),
        (None, None) => {
            Err(invalid("no time is given: give cron, such as \"0 8 * * MON-FRI\", or every_s, such as 3600"))
        }
    }
}

fn missed(text: Option<&str>) -> Result<Missed, MeshError> {
    const ALL: [Missed; 3] = [Missed::Skip, Missed::Once, Missed::All];
    let Some(text) = text else {
        return Ok(Missed::default());
    };
    ALL.into_iter().find(|missed| missed_name(*missed) == text).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        let near = closest(text, ALL.into_iter().map(missed_name));
        let hint = near.map_or(String::new(), |near| format!("did you mean {near:?}? "));
        invalid(format!("missed {shown:?} is unknown: {hint}expected skip, once or all"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_goes_by_one_rule() {
        let cron = timing(Some("0 8 * * *".into()), None, None).unwrap();
        assert_eq!(cron, Timing::Cron { expression: "0 8 * * *".into(), timezone: "UTC".into() });
        assert_eq!(timing(None, None, Some(1.5)).unwrap(), Timing::Every { interval_ms: 1_500 });
        for (cron, timezone, every, part) in [
            (None, None, None, "no time is given"),
            (Some("* * * * *"), None, Some(60.0), "give one of them"),
            (None, Some("UTC"), Some(60.0), "timezone is for cron"),
            (None, None, Some(0.5), "at least 1 second"),
            (None, None, Some(f64::INFINITY), "out of range"),
            (None, None, Some(f64::NAN), "out of range"),
        ] {
            let error = timing(cron.map(str::to_owned), timezone.map(str::to_owned), every).unwrap_err();
            assert!(error.message.contains(part), "{error}");
        }
    }

    #[test]
    fn the_rule_for_missed_times_has_a_default_and_three_names() {
        assert_eq!(missed(None).unwrap(), Missed::Once);
        assert_eq!(missed(Some("all")).unwrap(), Missed::All);
        let error = missed(Some("skipp")).unwrap_err();
        assert!(error.message.contains("did you mean \"skip\"?"), "{error}");
    }
}
