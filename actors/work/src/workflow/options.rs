//! What can be set about the coordinator, with defaults.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest time that an option may give, in seconds: a century.
const LONGEST: f64 = 100.0 * 365.0 * 24.0 * 3600.0;

/// Options of the coordinator. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkflowOptions {
    /// Most runs that run at a time; further ones wait as `pending`. Runs that are part of another run count, but do
    /// not wait: the other one waits for them. Default 10 000.
    pub max_running: u32,
    /// Most unfinished runs; further ones are refused. Default 100 000.
    pub max_unfinished: u32,
    /// Most tasks of all runs together that are in the queue at a time: a run takes no more of these places than it
    /// leaves free. A run without any task there may have one all the same. Default 1024.
    pub max_in_flight: u32,
    /// Largest definition in bytes. Default 1 MiB.
    pub max_definition_bytes: u64,
    /// Largest inputs of a run in bytes. Default 1 MiB.
    pub max_inputs_bytes: u64,
    /// Largest result of a run, or of all items of a step together, in bytes. Default 16 MiB.
    pub max_output_bytes: u64,
    /// Most steps of a definition, those of its sub-workflows included. Default 10 000.
    pub max_steps: u32,
    /// Most items of all `for_each` of a run together. Default 100 000.
    pub max_items: u32,
    /// How deep runs may be nested. Default 8.
    pub max_depth: u8,
    /// Longest expression in bytes. Default 4096.
    pub max_expression_bytes: u32,
    /// Most signals of a run that nobody has waited for yet. Default 64.
    pub max_signals: u32,
    /// How long finished runs are kept. Default 2 592 000 (30 days).
    pub retention_s: f64,
    /// Most finished runs that are kept; the oldest go first. Default 10 000.
    pub max_finished: u32,
    /// How long the result of a pure step is used again. Default 604 800 (7 days).
    pub pure_retention_s: f64,
    /// Most results of pure steps that are kept; the oldest go first. Default 10 000.
    pub max_pure: u32,
    /// Longest wait of a reader. Default 60.
    pub max_wait_s: f64,
    /// Most readers at a time; further ones wait for a place. Default 4096.
    pub max_waiters: u32,
    /// How long a run that fails, is cancelled or moves to another peer waits for running steps that were told to stop.
    /// Default 60.
    pub stop_within_s: f64,
    /// How long an attempt to take a step back may wait for its worker; the step's own time limit comes on top. Default
    /// 3600.
    pub undo_within_s: f64,
    /// How long a run that moves to another peer waits for its running steps to end, before it tells them to stop.
    /// Default 60.
    pub move_within_s: f64,
    /// How often tasks that take long are asked after, in case their end was not heard. Default 30.
    pub reconcile_s: f64,
    /// Memory for documents that expressions read, in bytes. Default 32 MiB.
    pub document_cache_bytes: u64,
    /// Finished runs that stay in memory for whoever asks next. Default 256.
    pub finished_in_memory: u32,
}

impl Default for WorkflowOptions {
    fn default() -> Self {
        Self {
            max_running: 10_000,
            max_unfinished: 100_000,
            max_in_flight: 1024,
            max_definition_bytes: 1024 * 1024,
            max_inputs_bytes: 1024 * 1024,
            max_output_bytes: 16 * 1024 * 1024,
            max_steps: 10_000,
            max_items: 100_000,
            max_depth: 8,
            max_expression_bytes: 4096,
            max_signals: 64,
            retention_s: 30.0 * 24.0 * 3600.0,
            max_finished: 10_000,
            pure_retention_s: 7.0 * 24.0 * 3600.0,
            max_pure: 10_000,
            max_wait_s: 60.0,
            max_waiters: 4096,
            stop_within_s: 60.0,
            undo_within_s: 3600.0,
            move_within_s: 60.0,
            reconcile_s: 30.0,
            document_cache_bytes: 32 * 1024 * 1024,
            finished_in_memory: 256,
        }
    }
}

/// An option with a value that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("workflow option {field} is {value}: expected {expected}")]
pub struct OptionError {
    /// Which option.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What would be right.
    pub expected: &'static str,
}

impl meshwork_proto::Coded for OptionError {
    fn code(&self) -> meshwork_proto::ErrorCode {
        meshwork_proto::ErrorCode::Config
    }
}

impl WorkflowOptions {
    /// Checks every option.
    ///
    /// # Errors
    /// The first one that makes no sense.
    pub fn check(&self) -> Result<(), OptionError> {
        let wrong = |field, value: String, expected| Err(OptionError { field, value, expected });
        for (field, value) in [
            ("retention_s", self.retention_s),
            ("pure_retention_s", self.pure_retention_s),
            ("max_wait_s", self.max_wait_s),
            ("stop_within_s", self.stop_within_s),
            ("undo_within_s", self.undo_within_s),
            ("move_within_s", self.move_within_s),
        ] {
            if !(0.0..=LONGEST).contains(&value) {
                return wrong(field, value.to_string(), "seconds, 0 or more");
            }
        }
        if !(1.0..=3600.0).contains(&self.reconcile_s) {
            return wrong("reconcile_s", self.reconcile_s.to_string(), "1 to 3600 seconds");
        }
        for (field, value) in [
            ("max_running", u64::from(self.max_running)),
            ("max_unfinished", u64::from(self.max_unfinished)),
            ("max_definition_bytes", self.max_definition_bytes),
            ("max_inputs_bytes", self.max_inputs_bytes),
            ("max_output_bytes", self.max_output_bytes),
            ("max_steps", u64::from(self.max_steps)),
            ("max_items", u64::from(self.max_items)),
            ("max_expression_bytes", u64::from(self.max_expression_bytes)),
            ("max_signals", u64::from(self.max_signals)),
            ("max_finished", u64::from(self.max_finished)),
            ("max_waiters", u64::from(self.max_waiters)),
        ] {
            if value == 0 || value > u64::from(u32::MAX / 2) {
                return wrong(field, value.to_string(), "1 to 2147483647");
            }
        }
        if !(1..=1_000_000).contains(&self.max_in_flight) {
            return wrong("max_in_flight", self.max_in_flight.to_string(), "1 to 1000000");
        }
        if !(1..=32).contains(&self.max_depth) {
            return wrong("max_depth", self.max_depth.to_string(), "1 to 32");
        }
        Ok(())
    }

    pub(crate) fn retention(&self) -> Duration {
        seconds(self.retention_s)
    }

    pub(crate) fn pure_retention(&self) -> Duration {
        seconds(self.pure_retention_s)
    }

    pub(crate) fn max_wait(&self) -> Duration {
        seconds(self.max_wait_s)
    }

    pub(crate) fn stop_within(&self) -> Duration {
        seconds(self.stop_within_s)
    }

    pub(crate) fn undo_within(&self) -> Duration {
        seconds(self.undo_within_s)
    }

    pub(crate) fn move_within(&self) -> Duration {
        seconds(self.move_within_s)
    }

    pub(crate) fn reconcile(&self) -> Duration {
        seconds(self.reconcile_s)
    }
}

/// Checked options are in range; anything else becomes the nearest that is.
fn seconds(value: f64) -> Duration {
    let value = if value.is_nan() { 0.0 } else { value.clamp(0.0, LONGEST) };
    Duration::try_from_secs_f64(value).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_wrong_values_are_named() {
        assert_eq!(WorkflowOptions::default().check(), Ok(()));
        let wrong = WorkflowOptions { reconcile_s: f64::NAN, ..WorkflowOptions::default() };
        assert_eq!(wrong.check().unwrap_err().field, "reconcile_s");
        let wrong = WorkflowOptions { max_steps: 0, ..WorkflowOptions::default() };
        assert!(wrong.check().unwrap_err().to_string().contains("max_steps is 0"));
    }

    #[test]
    fn options_are_read_by_name_and_an_unknown_one_is_an_error() {
        let read: WorkflowOptions =
            serde_json::from_str(r#"{"max_running": 7, "stop_within_s": 2.5}"#).unwrap();
        assert_eq!((read.max_running, read.stop_within()), (7, Duration::from_millis(2500)));
        assert!(serde_json::from_str::<WorkflowOptions>(r#"{"max_run": 1}"#).is_err());
    }
}
