//! Names of tasks, runs, schedules, peers and workers, and the fence that orders a task's holders.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

/// An id that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Not 32 hexadecimal digits (a hyphenated UUID is accepted too).
    #[error("task id {0:?} is not valid: expected 32 hexadecimal digits")]
    Task(String),
    /// As [`IdError::Task`].
    #[error("workflow id {0:?} is not valid: expected 32 hexadecimal digits")]
    Run(String),
    /// As [`IdError::Task`].
    #[error("schedule id {0:?} is not valid: expected 32 hexadecimal digits")]
    Schedule(String),
    /// Not a base58 multihash.
    #[error("peer id {0:?} is not valid: expected base58 text such as 12D3KooW...")]
    Peer(String),
    /// Empty, too long, or with control characters.
    #[error("worker id {0:?} is not valid: expected 1 to 128 visible characters")]
    Worker(String),
}

impl crate::Coded for IdError {
    fn code(&self) -> crate::ErrorCode {
        crate::ErrorCode::InvalidArgument
    }
}

macro_rules! uuid_ids {
    ($($(#[$doc:meta])* $name:ident, $error:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// A new id from the time and ten random bytes (`UUIDv7`, RFC 9562 section 5.7).
            #[must_use]
            pub fn from_parts(now: crate::UnixMillis, random: [u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid().into_bytes())
            }

            /// The id with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes, in the order in which ids sort.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", Uuid::from_bytes(self.0).simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let usual = text.len() == 32 || text.len() == 36;
                match Uuid::try_parse(text) {
                    Ok(uuid) if usual => Ok(Self(uuid.into_bytes())),
                    _ => Err(IdError::$error(clip(text))),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
                } else {
                    Ok(Self(<[u8; 16]>::deserialize(deserializer)?))
                }
            }
        }
    )*};
}

uuid_ids! {
    /// A task: `UUIDv7`, 32 lower-case hexadecimal digits as text.
    TaskId, Task;
    /// A run of a workflow, named as a task is.
    RunId, Run;
    /// A schedule of tasks or workflows, named as a task is.
    ScheduleId, Schedule;
}

/// A node, by the hash of its public key: base58 text as libp2p writes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PeerId(std::sync::Arc<str>);

impl PeerId {
    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last eight characters, enough to tell peers apart in a table.
    #[must_use]
    pub fn short(&self) -> &str {
        let start = self.0.len().saturating_sub(8);
        self.0.get(start..).unwrap_or(&self.0)
    }
}

impl FromStr for PeerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let invalid = || IdError::Peer(clip(text));
        if text.len() > 128 {
            return Err(invalid());
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| invalid())?;
        multihash::Multihash::<64>::from_bytes(&bytes).map_err(|_| invalid())?;
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for PeerId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<PeerId> for String {
    fn from(id: PeerId) -> Self {
        id.0.to_string()
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0)
    }
}

/// One incarnation of a worker: `<peer id>/<8 hex>`, new at each start, so that a restarted worker is never taken
/// for the one that held its leases.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerId(std::sync::Arc<str>);

impl WorkerId {
    /// The worker of a node's own executor.
    #[must_use]
    pub fn of_peer(peer: &PeerId, incarnation: u32) -> Self {
        Self(format!("{peer}/{incarnation:08x}").into())
    }

    /// The text form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The peer this worker belongs to, when it is named by [`WorkerId::of_peer`].
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        self.0.split_once('/').and_then(|(peer, _)| peer.parse().ok())
    }
}

impl FromStr for WorkerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.is_empty() || text.len() > 128 || text.chars().any(char::is_control) {
            return Err(IdError::Worker(clip(text)));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for WorkerId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<WorkerId> for String {
    fn from(id: WorkerId) -> Self {
        id.0.to_string()
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WorkerId({})", self.0)
    }
}

/// Fencing token of a lease: strictly increasing per task, never reused.
///
/// The upper 21 of 53 bits are the owner's epoch (raised durably at each start), the lower 32 count within it: it
/// survives a restart that lost an unsynced claim, and it stays a safe integer in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fence(pub u64);

impl Fence {
    /// Largest epoch that keeps a fence a safe integer (2^53 - 1).
    pub const MAX_EPOCH: u32 = (1 << 21) - 1;

    /// The `count`th fence of an epoch.
    #[must_use]
    pub fn new(epoch: u32, count: u32) -> Self {
        Self((u64::from(epoch) << 32) | u64::from(count))
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The first characters of a text from outside: errors and logs must not grow with it.
pub(crate) fn clip(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() <= SHOWN {
        text.to_owned()
    } else {
        text.chars().take(SHOWN).chain("...".chars()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn task_ids_are_32_hex_digits_and_sort_by_time() {
        let early = TaskId::from_parts(crate::UnixMillis(1_000), [255; 10]);
        let late = TaskId::from_parts(crate::UnixMillis(2_000), [0; 10]);
        assert_eq!(early.to_string().len(), 32);
        assert!(early < late);
        assert_eq!(early.to_string().parse(), Ok(early));
    }

    #[test]
    fn a_wrong_task_id_is_named_in_the_error_but_never_at_full_length() {
        let error = "x".repeat(10_000).parse::<TaskId>().unwrap_err().to_string();
        assert!(error.contains("32 hexadecimal digits"));
        assert!(error.len() < 200);
    }

    #[test]
    fn peer_ids_are_base58_multihashes() {
        assert!("12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse::<PeerId>().is_ok());
        for wrong in ["", "peer", "0OIl", "12D3KooW"] {
            assert!(wrong.parse::<PeerId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fence_of_a_later_epoch_is_larger_than_any_of_an_earlier_one() {
        assert!(Fence::new(2, 0) > Fence::new(1, u32::MAX));
        assert!(Fence::new(Fence::MAX_EPOCH, u32::MAX).0 < 1 << 53);
    }

    #[test]
    fn a_worker_id_gives_back_its_peer() {
        let peer: PeerId = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap();
        assert_eq!(WorkerId::of_peer(&peer, 7).peer(), Some(peer));
        assert_eq!("laptop".parse::<WorkerId>().unwrap().peer(), None);
    }
}
