//! What can be set about a queue, with defaults.

use meshwork_kit::Backoff;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Longest time that an option may give, in seconds: a century.
const LONGEST: f64 = 100.0 * 365.0 * 24.0 * 3600.0;

/// Options of a queue. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueueOptions {
    /// Most unfinished tasks; further ones are refused. Default 1 000 000.
    pub max_tasks: u64,
    /// Largest payload or result in bytes. Default 64 MiB.
    pub max_payload_bytes: u64,
    /// Most different combinations of tool, labels and target peers among unfinished tasks: a claim looks at each
    /// combination that it matches. Default 10 000.
    pub max_classes: u32,
    /// Length of a lease. Default 30.
    pub lease_s: f64,
    /// How long a lease survives the loss of its worker's connection. Default 5.
    pub lost_peer_grace_s: f64,
    /// A task that lost its worker so often fails with the code `lease_lost`. Default 5.
    pub max_lease_losses: u32,
    /// Back-off before the first retry; doubles with each failure. Default 1.
    pub backoff_min_s: f64,
    /// Longest back-off. Default 300.
    pub backoff_max_s: f64,
    /// Most tasks that one tenant runs at a time; none = no limit. Default none.
    pub tenant_limit: Option<u32>,
    /// How long finished tasks are kept. Default 86 400 (a day).
    pub retention_s: f64,
    /// Longest wait of a claim, or of a reader that waits for the end of a task. Default 60.
    pub max_wait_s: f64,
    /// Most claims, and most readers, that wait at a time; further ones wait for a place. Default 4096.
    pub max_waiters: u32,
    /// Memory for specifications of queued tasks, in bytes; others are read from the store when they are claimed.
    /// Default 64 MiB.
    pub spec_cache_bytes: u64,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            max_tasks: 1_000_000,
            max_payload_bytes: 64 * 1024 * 1024,
            max_classes: 10_000,
            lease_s: 30.0,
            lost_peer_grace_s: 5.0,
            max_lease_losses: 5,
            backoff_min_s: 1.0,
            backoff_max_s: 300.0,
            tenant_limit: None,
            retention_s: 24.0 * 3600.0,
            max_wait_s: 60.0,
            max_waiters: 4096,
            spec_cache_bytes: 64 * 1024 * 1024,
        }
    }
}

/// An option with a value that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("queue option {field} is {value}: expected {expected}")]
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

impl QueueOptions {
    /// Checks every option.
    ///
    /// # Errors
    /// The first one that makes no sense.
    pub fn check(&self) -> Result<(), OptionError> {
        let wrong = |field, value: String, expected| Err(OptionError { field, value, expected });
        for (field, value) in [
            ("lost_peer_grace_s", self.lost_peer_grace_s),
            ("backoff_min_s", self.backoff_min_s),
            ("backoff_max_s", self.backoff_max_s),
            ("retention_s", self.retention_s),
            ("max_wait_s", self.max_wait_s),
        ] {
            if !(0.0..=LONGEST).contains(&value) {
                return wrong(field, value.to_string(), "seconds, 0 or more");
            }
        }
        if !(0.1..=3600.0).contains(&self.lease_s) {
            return wrong("lease_s", self.lease_s.to_string(), "0.1 to 3600 seconds");
        }
        for (field, value) in [
            ("max_tasks", self.max_tasks),
            ("max_classes", u64::from(self.max_classes)),
            ("max_lease_losses", u64::from(self.max_lease_losses)),
            ("max_waiters", u64::from(self.max_waiters)),
            ("tenant_limit", self.tenant_limit.map_or(1, u64::from)),
        ] {
            if value == 0 || value > u64::from(u32::MAX / 2) {
                return wrong(field, value.to_string(), "1 to 2147483647");
            }
        }
        Ok(())
    }

    /// Length of a lease.
    #[must_use]
    pub fn lease(&self) -> Duration {
        seconds(self.lease_s)
    }

    pub(crate) fn grace(&self) -> Duration {
        seconds(self.lost_peer_grace_s)
    }

    pub(crate) fn retention(&self) -> Duration {
        seconds(self.retention_s)
    }

    pub(crate) fn max_wait(&self) -> Duration {
        seconds(self.max_wait_s)
    }

    /// Full jitter: many tasks that failed together must not come back together.
    pub(crate) fn backoff(&self) -> Backoff {
        let (min, max) = (seconds(self.backoff_min_s), seconds(self.backoff_max_s));
        Backoff { min, max, factor: 2.0, jitter: 1.0 }
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
        assert_eq!(QueueOptions::default().check(), Ok(()));
        let wrong = QueueOptions { lease_s: f64::NAN, ..QueueOptions::default() };
        assert_eq!(wrong.check().unwrap_err().field, "lease_s");
        let wrong = QueueOptions { max_tasks: 0, ..QueueOptions::default() };
        assert!(wrong.check().unwrap_err().to_string().contains("max_tasks is 0"));
    }

    #[test]
    fn options_are_read_by_name_and_an_unknown_one_is_an_error() {
        let read: QueueOptions = serde_json::from_str(r#"{"lease_s": 2.5, "tenant_limit": 3}"#).unwrap();
        assert_eq!(read.lease(), Duration::from_millis(2500));
        assert_eq!(read.tenant_limit, Some(3));
        assert!(serde_json::from_str::<QueueOptions>(r#"{"lease": 1}"#).is_err());
    }
}
