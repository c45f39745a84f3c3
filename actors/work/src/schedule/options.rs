//! What can be set about schedules, with defaults.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most schedules that may be allowed: each takes some kilobytes of memory.
const MOST: u32 = 10_000;
/// Longest lateness that still counts as on time, in seconds: an hour.
const LATEST: f64 = 3600.0;

/// Options of the scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleOptions {
    /// Most schedules; further ones are refused. Default 1000.
    pub max_schedules: u32,
    /// A time counts as missed when it passed so many seconds ago and nothing was started: the node was down, or its clock
    /// was set. Default 60.
    pub late_s: f64,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self { max_schedules: 1000, late_s: 60.0 }
    }
}

/// An option with a value that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("schedule option {field} is {value}: expected {expected}")]
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

impl ScheduleOptions {
    /// Checks every option.
    ///
    /// # Errors
    /// The first one that makes no sense.
    pub fn check(&self) -> Result<(), OptionError> {
        let wrong = |field, value: String, expected| Err(OptionError { field, value, expected });
        if !(1..=MOST).contains(&self.max_schedules) {
            return wrong("max_schedules", self.max_schedules.to_string(), "1 to 10000");
        }
        if !(1.0..=LATEST).contains(&self.late_s) {
            return wrong("late_s", self.late_s.to_string(), "1 to 3600 seconds");
        }
        Ok(())
    }

    /// How late a start may be and still be on time.
    pub(crate) fn late(&self) -> Duration {
        // Checked options are in range; anything else becomes the default.
        Duration::try_from_secs_f64(self.late_s).unwrap_or(Duration::from_secs(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_and_wrong_values_are_named() {
        assert_eq!(ScheduleOptions::default().check(), Ok(()));
        let wrong = ScheduleOptions { late_s: f64::NAN, ..ScheduleOptions::default() };
        assert_eq!(wrong.check().unwrap_err().field, "late_s");
        let wrong = ScheduleOptions { max_schedules: 0, ..ScheduleOptions::default() };
        assert!(wrong.check().unwrap_err().to_string().contains("max_schedules is 0"));
    }
}
