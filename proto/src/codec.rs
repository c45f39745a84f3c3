//! How records and wire messages become bytes: the only place that names bincode.
//!
//! A stored record is one version byte and a body; an old version is migrated when it is read, an unknown one is an
//! error that names both. A wire message is a body alone, because its protocol's version is negotiated. Nothing huge
//! is allocated for a length that hostile or damaged bytes only claim.
//!
//! bincode's format is not self-describing. Types that go through here therefore use no untagged or flattened serde
//! forms and no `serde_json::Value`, skip no fields, are not recursive, and hold no sequences of zero-sized elements
//! (a few bytes could then claim endless depth or length).

use crate::{Coded, ErrorCode};
use bincode::config::{Configuration, Limit};
use bincode::error::DecodeError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest encoded record or wire message, in bytes: larger data is an artifact.
pub const MAX_ENCODED: usize = 16 * 1024 * 1024;

/// Bodies up to this length are decoded with the small limit.
const SMALL_BODY: usize = 64 * 1024;
/// A value takes at most 16 bytes in memory for each byte encoded (`u128` as a varint), so these limits refuse no
/// honest body; they stop what a damaged length claims before it is allocated.
const SMALL_LIMIT: usize = 16 * SMALL_BODY;
/// As [`SMALL_LIMIT`], for bodies up to [`MAX_ENCODED`].
const LARGE_LIMIT: usize = 16 * MAX_ENCODED;
/// Name of wire messages in errors.
const WIRE: &str = "wire message";

/// Something that is stored: encoded as one version byte and its fields.
///
/// A change of the fields raises [`Record::VERSION`] and teaches [`Record::migrate`] to read the version before.
pub trait Record: Serialize + DeserializeOwned {
    /// What it is called in errors, such as `task`.
    const KIND: &'static str;
    /// Version written by this build; starts at 1.
    const VERSION: u8;

    /// Reads a body of an older version, usually with [`decode_body`] into that version's struct.
    ///
    /// # Errors
    /// [`CodecError::UnknownVersion`] for versions it does not know (by default all of them), and whatever
    /// [`decode_body`] finds.
    fn migrate(version: u8, body: &[u8]) -> Result<Self, CodecError> {
        let _ = body;
        Err(unknown_version::<Self>(version))
    }
}

/// Why a value could not be encoded, or bytes not decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not even a version byte.
    #[error("{kind} record of 0 bytes: at least the version byte is missing")]
    Empty {
        /// What was read.
        kind: &'static str,
    },
    /// Written in a version that this build cannot read.
    #[error(
        "{kind} record has version {found}, this build reads version {supported}{}",
        if found > supported { ": it was written by a newer meshwork, use that or a later one" } else { " and knows no way to migrate it" }
    )]
    UnknownVersion {
        /// What was read.
        kind: &'static str,
        /// The version it has.
        found: u8,
        /// The version that this build writes and reads.
        supported: u8,
    },
    /// Larger than the limit.
    #[error("{kind} of {len} bytes is larger than the limit of {max} bytes")]
    TooLarge {
        /// What it is.
        kind: &'static str,
        /// Its encoded length in bytes.
        len: usize,
        /// The limit in bytes.
        max: usize,
    },
    /// The bytes do not hold what they should.
    #[error("{kind} cannot be decoded: {problem}")]
    Malformed {
        /// What was read.
        kind: &'static str,
        /// What is wrong with the bytes.
        problem: String,
    },
    /// Bytes are left over behind the value.
    #[error("{kind} has {count} bytes behind its last field")]
    TrailingBytes {
        /// What was read.
        kind: &'static str,
        /// How many.
        count: usize,
    },
    /// The value cannot be encoded: a fault of its type.
    #[error("{kind} cannot be encoded: {problem}")]
    Unencodable {
        /// What was written.
        kind: &'static str,
        /// What is wrong with the type.
        problem: String,
    },
}

impl Coded for CodecError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge { .. } => ErrorCode::TooLarge,
            Self::Unencodable { .. } => ErrorCode::Internal,
            Self::Empty { .. }
            | Self::UnknownVersion { .. }
            | Self::Malformed { .. }
            | Self::TrailingBytes { .. } => ErrorCode::Corrupt,
        }
    }
}

/// Encodes a record: its version byte and its fields.
///
/// # Errors
/// [`CodecError::TooLarge`] above [`MAX_ENCODED`], [`CodecError::Unencodable`] for a type that bincode cannot hold.
pub fn encode<R: Record>(record: &R) -> Result<Vec<u8>, CodecError> {
    const { assert!(R::VERSION > 0, "versions of records start at 1") };
    append(vec![R::VERSION], R::KIND, record, MAX_ENCODED)
}

/// Decodes a record of this or, through [`Record::migrate`], of an older version.
///
/// # Errors
/// Any [`CodecError`] but [`CodecError::Unencodable`]; a version newer than [`Record::VERSION`] is never guessed at.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, CodecError> {
    check_len(R::KIND, bytes.len(), MAX_ENCODED)?;
    let Some((&version, body)) = bytes.split_first() else {
        return Err(CodecError::Empty { kind: R::KIND });
    };
    if version == R::VERSION {
        decode_body(R::KIND, body)
    } else if version < R::VERSION {
        R::migrate(version, body)
    } else {
        Err(unknown_version::<R>(version))
    }
}

/// Decodes a record's body, without version byte: for [`Record::migrate`].
///
/// # Errors
/// [`CodecError::TooLarge`], [`CodecError::Malformed`] or [`CodecError::TrailingBytes`].
pub fn decode_body<T: DeserializeOwned>(kind: &'static str, body: &[u8]) -> Result<T, CodecError> {
    check_len(kind, body.len(), MAX_ENCODED)?;
    let decoded = if body.len() <= SMALL_BODY {
        bincode::serde::borrow_decode_from_slice(body, config::<SMALL_LIMIT>())
    } else {
        bincode::serde::borrow_decode_from_slice(body, config::<LARGE_LIMIT>())
    };
    let (value, used) =
        decoded.map_err(|error| CodecError::Malformed { kind, problem: in_words(&error, body.len()) })?;
    if used == body.len() {
        Ok(value)
    } else {
        Err(CodecError::TrailingBytes { kind, count: body.len() - used })
    }
}

/// Encodes a wire message of at most `max` bytes (never more than [`MAX_ENCODED`]).
///
/// # Errors
/// [`CodecError::TooLarge`], or [`CodecError::Unencodable`] for a type that bincode cannot hold.
pub fn encode_wire<T: Serialize>(message: &T, max: usize) -> Result<Vec<u8>, CodecError> {
    append(Vec::new(), WIRE, message, max.min(MAX_ENCODED))
}

/// Decodes a wire message of at most `max` bytes (never more than [`MAX_ENCODED`]).
///
/// # Errors
/// [`CodecError::TooLarge`], [`CodecError::Malformed`] or [`CodecError::TrailingBytes`].
pub fn decode_wire<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, CodecError> {
    check_len(WIRE, bytes.len(), max.min(MAX_ENCODED))?;
    decode_body(WIRE, bytes)
}

/// Little-endian variable-length integers, and a limit on what decoding may claim.
const fn config<const LIMIT: usize>()
-> Configuration<bincode::config::LittleEndian, bincode::config::Varint, Limit<LIMIT>> {
    bincode::config::standard().with_limit::<LIMIT>()
}

/// Appends an encoded value to a buffer that already holds its version byte, if it has one.
fn append<T: Serialize>(
    mut out: Vec<u8>,
    kind: &'static str,
    value: &T,
    max: usize,
) -> Result<Vec<u8>, CodecError> {
    bincode::serde::encode_into_std_write(value, &mut out, bincode::config::standard())
        .map_err(|error| CodecError::Unencodable { kind, problem: error.to_string() })?;
    check_len(kind, out.len(), max)?;
    Ok(out)
}

fn check_len(kind: &'static str, len: usize, max: usize) -> Result<(), CodecError> {
    if len <= max { Ok(()) } else { Err(CodecError::TooLarge { kind, len, max }) }
}

fn unknown_version<R: Record>(found: u8) -> CodecError {
    CodecError::UnknownVersion { kind: R::KIND, found, supported: R::VERSION }
}

/// What is wrong with some bytes, for a person.
fn in_words(error: &DecodeError, len: usize) -> String {
    match error {
        DecodeError::UnexpectedEnd { .. } => format!("its {len} bytes end before its last field"),
        DecodeError::LimitExceeded => format!("a length inside is larger than its {len} bytes can hold"),
        DecodeError::Utf8 { inner } => format!("a text inside is not UTF-8: {inner}"),
        DecodeError::OtherString(problem) => problem.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Job {
        name: String,
        tries: u32,
        labels: BTreeMap<String, Option<i64>>,
        payload: bytes::Bytes,
        state: State,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    enum State {
        Waiting,
        Running { fence: u64 },
        Done(Vec<u8>),
    }

    /// What version 2 wrote.
    #[derive(Serialize, Deserialize)]
    struct JobV2 {
        name: String,
    }

    impl Record for Job {
        const KIND: &'static str = "job";
        const VERSION: u8 = 3;

        fn migrate(version: u8, body: &[u8]) -> Result<Self, CodecError> {
            match version {
                2 => decode_body::<JobV2>(Self::KIND, body).map(|old| job(&old.name)),
                found => Err(unknown_version::<Self>(found)),
            }
        }
    }

    fn job(name: &str) -> Job {
        Job {
            name: name.into(),
            tries: 0,
            labels: BTreeMap::new(),
            payload: bytes::Bytes::new(),
            state: State::Waiting,
        }
    }

    fn any_job() -> impl Strategy<Value = Job> {
        let state = prop_oneof![
            Just(State::Waiting),
            any::<u64>().prop_map(|fence| State::Running { fence }),
            proptest::collection::vec(any::<u8>(), 0..50).prop_map(State::Done),
        ];
        let labels = proptest::collection::btree_map(any::<String>(), any::<Option<i64>>(), 0..5);
        (any::<String>(), any::<u32>(), labels, proptest::collection::vec(any::<u8>(), 0..200), state)
            .prop_map(|(name, tries, labels, payload, state)| Job {
                name,
                tries,
                labels,
                payload: payload.into(),
                state,
            })
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Fixed(u64);

    impl Record for Fixed {
        const KIND: &'static str = "fixed";
        const VERSION: u8 = 2;
    }

    #[test]
    fn the_first_byte_is_the_version_and_the_format_does_not_drift() {
        let mut record = job("a");
        record.state = State::Running { fence: 300 };
        // version, name, tries, no labels, no payload, variant 1, fence as a varint
        assert_eq!(encode(&record).unwrap(), [3, 1, b'a', 0, 0, 0, 1, 251, 44, 1]);
    }

    #[test]
    fn an_old_version_is_migrated_when_it_is_read() {
        let old = append(vec![2], "job", &JobV2 { name: "left over".into() }, MAX_ENCODED).unwrap();
        assert_eq!(decode::<Job>(&old).unwrap(), job("left over"));
    }

    #[test]
    fn a_newer_version_is_never_handed_to_the_migration() {
        #[derive(Debug, Serialize, Deserialize)]
        struct Careless(u8);
        impl Record for Careless {
            const KIND: &'static str = "careless";
            const VERSION: u8 = 1;
            fn migrate(_: u8, _: &[u8]) -> Result<Self, CodecError> {
                Ok(Self(0))
            }
        }
        assert!(matches!(
            decode::<Careless>(&[2, 7]),
            Err(CodecError::UnknownVersion { found: 2, supported: 1, .. })
        ));
    }

    #[test]
    fn a_newer_version_is_an_error_that_names_both() {
        let error = decode::<Job>(&[9, 1, 2, 3]).unwrap_err();
        assert_eq!(error, CodecError::UnknownVersion { kind: "job", found: 9, supported: 3 });
        let text = error.to_string();
        assert!(text.contains("version 9") && text.contains("version 3") && text.contains("newer"), "{text}");
        assert_eq!(error.code(), ErrorCode::Corrupt);
    }

    #[test]
    fn a_version_that_nobody_can_migrate_is_an_error() {
        for version in [0, 1] {
            let error = decode::<Fixed>(&[version, 7]).unwrap_err();
            assert_eq!(error, CodecError::UnknownVersion { kind: "fixed", found: version, supported: 2 });
            assert!(error.to_string().contains("migrate"), "{error}");
        }
        assert!(matches!(decode::<Job>(&[1]), Err(CodecError::UnknownVersion { found: 1, .. })));
    }

    #[test]
    fn no_bytes_cut_bytes_and_trailing_bytes_are_errors() {
        assert_eq!(decode::<Job>(&[]), Err(CodecError::Empty { kind: "job" }));
        let whole = encode(&job("whole")).unwrap();
        for cut in 1..whole.len() {
            assert!(
                matches!(decode::<Job>(&whole[..cut]), Err(CodecError::Malformed { .. })),
                "cut at {cut}"
            );
        }
        let mut longer = whole;
        longer.extend([1, 2]);
        assert_eq!(decode::<Job>(&longer), Err(CodecError::TrailingBytes { kind: "job", count: 2 }));
    }

    #[test]
    fn a_length_that_is_only_claimed_is_refused_before_it_is_allocated() {
        // A varint of 8 bytes behind the marker 253: a text of 2^40 bytes, of which none follows.
        let mut claim = vec![253];
        claim.extend((1_u64 << 40).to_le_bytes());
        let error = decode_wire::<String>(&claim, 1024).unwrap_err();
        assert!(error.to_string().contains("larger than its 9 bytes can hold"), "{error}");
        for result in [
            decode_wire::<bytes::Bytes>(&claim, 1024).map(drop),
            decode_wire::<Vec<u64>>(&claim, 1024).map(drop),
            decode_wire::<Vec<[u64; 32]>>(&claim, 1024).map(drop),
            decode_wire::<BTreeMap<String, String>>(&claim, 1024).map(drop),
        ] {
            assert!(matches!(result, Err(CodecError::Malformed { .. })), "{result:?}");
        }
    }

    #[test]
    fn small_numbers_do_not_run_into_the_limit_although_they_take_more_memory_than_bytes() {
        for count in [SMALL_BODY - 10, SMALL_BODY + 10, 1_000_000] {
            let numbers = vec![1_u128; count];
            let bytes = encode_wire(&numbers, MAX_ENCODED).unwrap();
            assert_eq!(decode_wire::<Vec<u128>>(&bytes, MAX_ENCODED).unwrap(), numbers);
        }
    }

    #[test]
    fn the_callers_limit_holds_in_both_directions_and_cannot_exceed_ours() {
        let text = "x".repeat(99);
        let bytes = encode_wire(&text, 100).unwrap();
        assert_eq!(decode_wire::<String>(&bytes, 100).unwrap(), text);
        let too_large = CodecError::TooLarge { kind: WIRE, len: 100, max: 99 };
        assert_eq!(decode_wire::<String>(&bytes, 99), Err(too_large.clone()));
        assert_eq!(encode_wire(&text, 99), Err(too_large.clone()));
        assert_eq!(too_large.code(), ErrorCode::TooLarge);
        let huge = vec![0; MAX_ENCODED + 1];
        assert!(matches!(
            decode_wire::<String>(&huge, usize::MAX),
            Err(CodecError::TooLarge { max: MAX_ENCODED, .. })
        ));
        assert!(matches!(decode::<Fixed>(&huge), Err(CodecError::TooLarge { .. })));
    }

    #[test]
    fn untyped_values_cannot_be_read_back() {
        let value = serde_json::json!({"a": 1});
        let bytes = encode_wire(&value, 1024).unwrap();
        assert!(matches!(decode_wire::<serde_json::Value>(&bytes, 1024), Err(CodecError::Malformed { .. })));
    }

    proptest! {
        #[test]
        fn records_come_back_as_they_were(record in any_job()) {
            prop_assert_eq!(decode::<Job>(&encode(&record).unwrap()).unwrap(), record.clone());
            let wire = encode_wire(&record, MAX_ENCODED).unwrap();
            prop_assert_eq!(decode_wire::<Job>(&wire, wire.len()).unwrap(), record);
        }

        #[test]
        fn hostile_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode::<Job>(&bytes);
            let mut current = bytes;
            current.insert(0, Job::VERSION);
            if let Ok(record) = decode::<Job>(&current) {
                prop_assert_eq!(decode::<Job>(&encode(&record).unwrap()).unwrap(), record);
            }
        }

        #[test]
        fn a_damaged_record_never_panics(record in any_job(), at in any::<usize>(), byte in any::<u8>()) {
            let mut bytes = encode(&record).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = decode::<Job>(&bytes);
        }
    }
}
