//! Content ids: a name for bytes that is computed from the bytes.
//!
//! New ids are always CIDv1, codec `raw`, sha2-256, written in lower-case base32 (`bafkrei…`). Ids of others are read
//! in every version and codec as long as the hash is sha2-256, so that each id that exists here can be verified.

use crate::{Coded, ErrorCode};
use ::cid::{CidGeneric, Version};
use multihash::Multihash;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;

/// Multicodec of ids made here: the bytes as they are.
const RAW: u64 = 0x55;
/// Multihash code of sha2-256.
const SHA2_256: u64 = 0x12;
/// Length of a sha2-256 digest in bytes.
const DIGEST_LEN: usize = 32;
/// Longest digest read, in bytes, so that an id over a longer hash is refused for its hash.
const MAX_DIGEST: usize = 64;
/// Longest text accepted as an id, in bytes.
const MAX_TEXT: usize = 128;
/// Longest binary form accepted, in bytes: version, codec and hash code are varints of at most
/// 9 bytes each, the length of the digest is one byte.
const MAX_BINARY: usize = 3 * 9 + 1 + MAX_DIGEST;

/// Why something is not a usable content id, or bytes are not those that it names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CidError {
    /// Not the text or binary form of a content id.
    #[error(
        "{given:?} is not a content id ({problem}); right is CIDv1 in lower-case base32 (bafkrei…) or CIDv0 (Qm…)"
    )]
    Malformed {
        /// What was given, shortened; binary forms in hexadecimal.
        given: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A content id over a hash that cannot be verified here.
    #[error(
        "content id {given:?} uses hash 0x{hash:x} of {len} bytes; only sha2-256 (0x12) of 32 bytes is supported"
    )]
    UnsupportedHash {
        /// What was given.
        given: String,
        /// Multihash code of its hash.
        hash: u64,
        /// Length of its digest in bytes.
        len: u8,
    },
    /// The bytes are not those that the id names.
    #[error("bytes named {expected} have the content id {found}: they were damaged or replaced")]
    Mismatch {
        /// The id that names them.
        expected: Cid,
        /// The id computed from them.
        found: Cid,
    },
}

impl Coded for CidError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Malformed { .. } | Self::UnsupportedHash { .. } => ErrorCode::InvalidArgument,
            Self::Mismatch { .. } => ErrorCode::Corrupt,
        }
    }
}

/// The name of some bytes, computed from them.
///
/// Orders by version, codec and digest. As text `bafkrei…`; in JSON that text; in bincode its bytes (36 of them for
/// ids made here).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid {
    // Not the cid crate's type: that has room for every hash, and errors that hold two of it grow too large.
    version: Version,
    codec: u64,
    digest: [u8; DIGEST_LEN],
}

impl Cid {
    /// The id of these bytes: CIDv1, raw, sha2-256.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_digest(Sha256::digest(bytes).into())
    }

    /// The id (CIDv1, raw) of the bytes that have this sha2-256 digest.
    #[must_use]
    pub const fn from_digest(digest: [u8; DIGEST_LEN]) -> Self {
        Self { version: Version::V1, codec: RAW, digest }
    }

    /// Reads the text form: lower-case base32 CIDv1 (`b…`) or CIDv0 (`Qm…`), nothing else.
    ///
    /// # Errors
    /// [`CidError::Malformed`] for any other text, [`CidError::UnsupportedHash`] for a hash other than sha2-256.
    pub fn parse(text: &str) -> Result<Self, CidError> {
        let malformed =
            |problem: &str| CidError::Malformed { given: shortened(text), problem: problem.into() };
        if text.len() > MAX_TEXT {
            return Err(malformed("it is longer than 128 characters"));
        }
        if !text.starts_with('b') && !text.starts_with("Qm") {
            return Err(malformed("it starts with neither 'b' nor 'Qm'"));
        }
        let parsed = CidGeneric::from_str(text).map_err(|error| malformed(&error.to_string()))?;
        let cid = Self::checked(&parsed, || shortened(text))?;
        // The cid crate also takes `/ipfs/` prefixes and bytes behind the digest: one id has one text here.
        if cid.to_string() == text { Ok(cid) } else { Err(malformed("it is not in its shortest form")) }
    }

    /// Reads the binary form.
    ///
    /// # Errors
    /// [`CidError::Malformed`] for other bytes or bytes left over, [`CidError::UnsupportedHash`] for a hash other than
    /// sha2-256.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CidError> {
        let malformed =
            |problem: &str| CidError::Malformed { given: hex_start(bytes), problem: problem.into() };
        if bytes.len() > MAX_BINARY {
            return Err(malformed("it is too long"));
        }
        let parsed = CidGeneric::try_from(bytes).map_err(|error| malformed(&error.to_string()))?;
        let cid = Self::checked(&parsed, || hex_start(bytes))?;
        if cid.to_bytes() == bytes { Ok(cid) } else { Err(malformed("it is not in its shortest form")) }
    }

    /// The binary form: 36 bytes for ids made here.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.general().to_bytes()
    }

    /// The sha2-256 digest that the id carries.
    #[must_use]
    pub const fn digest(&self) -> &[u8; DIGEST_LEN] {
        &self.digest
    }

    /// Whether the id has the form of those made here: CIDv1, raw.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        self.version == Version::V1 && self.codec == RAW
    }

    /// Checks that these are the bytes that the id names.
    ///
    /// # Errors
    /// [`CidError::Mismatch`] when they are not.
    pub fn verify(&self, bytes: &[u8]) -> Result<(), CidError> {
        self.verify_digest(Sha256::digest(bytes).into())
    }

    /// Compares the digest of some bytes with the id's.
    fn verify_digest(&self, digest: [u8; DIGEST_LEN]) -> Result<(), CidError> {
        if self.digest == digest {
            return Ok(());
        }
        Err(CidError::Mismatch { expected: *self, found: Self { digest, ..*self } })
    }

    /// The id, if its hash is sha2-256.
    fn checked(parsed: &CidGeneric<MAX_DIGEST>, given: impl FnOnce() -> String) -> Result<Self, CidError> {
        let hash = parsed.hash();
        match hash.digest().try_into() {
            Ok(digest) if hash.code() == SHA2_256 => {
                Ok(Self { version: parsed.version(), codec: parsed.codec(), digest })
            }
            _ => Err(CidError::UnsupportedHash { given: given(), hash: hash.code(), len: hash.size() }),
        }
    }

    /// The cid crate's form of the id, which knows texts and bytes.
    #[expect(clippy::expect_used, reason = "version, codec and a digest of 32 bytes come from a valid id")]
    fn general(&self) -> CidGeneric<DIGEST_LEN> {
        Multihash::wrap(SHA2_256, &self.digest)
            .map_err(::cid::Error::from)
            .and_then(|hash| CidGeneric::new(self.version, self.codec, hash))
            .expect("the parts of a valid id")
    }
}

/// The start of a text, for error messages.
fn shortened(text: &str) -> String {
    if text.chars().count() <= 64 { text.to_owned() } else { text.chars().take(64).chain(['…']).collect() }
}

/// The start of some bytes in hexadecimal, for error messages.
fn hex_start(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().take(40).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > 40 { hex + "…" } else { hex }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.general(), f)
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cid({self})")
    }
}

impl FromStr for Cid {
    type Err = CidError;

    fn from_str(text: &str) -> Result<Self, CidError> {
        Self::parse(text)
    }
}

impl Serialize for Cid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.to_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for Cid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(CidVisitor)
        } else {
            deserializer.deserialize_bytes(CidVisitor)
        }
    }
}

/// Reads either form of an id.
struct CidVisitor;

impl de::Visitor<'_> for CidVisitor {
    type Value = Cid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a content id")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Cid, E> {
        Cid::parse(text).map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Cid, E> {
        Cid::from_bytes(bytes).map_err(E::custom)
    }
}

/// Computes the id of bytes that arrive in pieces.
#[derive(Clone, Default)]
pub struct CidHasher {
    state: Sha256,
    len: u64,
}

impl CidHasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.state.update(piece);
        self.len = self.len.saturating_add(piece.len() as u64);
    }

    /// How many bytes it has seen.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has seen no byte yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The id (CIDv1, raw) of all pieces together.
    #[must_use]
    pub fn finish(self) -> Cid {
        Cid::from_digest(self.state.finalize().into())
    }

    /// Checks that all pieces together are the bytes that `expected` names, whatever its version and codec.
    ///
    /// # Errors
    /// [`CidError::Mismatch`] when they are not.
    pub fn verify(self, expected: &Cid) -> Result<(), CidError> {
        expected.verify_digest(self.state.finalize().into())
    }
}

impl fmt::Debug for CidHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CidHasher({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY_OBJECT: &str = "bafkreicecnx2gvntm6fbcrvnc336qze6st5u7qq7457igegamd3bzkx7ri";
    const OLD_V0: &str = "QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR";
    const DAG_CBOR: &str = "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua";

    #[test]
    fn the_id_of_the_empty_object_is_the_one_everybody_knows() {
        let cid = Cid::of(b"{}");
        assert_eq!(cid.to_string(), EMPTY_OBJECT);
        assert_eq!(cid.to_bytes().len(), 36);
        assert_eq!(&cid.to_bytes()[..4], [0x01, 0x55, 0x12, 0x20]);
        assert!(cid.is_raw());
        assert_eq!(EMPTY_OBJECT.parse::<Cid>().unwrap(), cid);
    }

    #[test]
    fn ids_of_other_versions_and_codecs_are_read_and_written_unchanged() {
        for text in [OLD_V0, DAG_CBOR] {
            let cid = Cid::parse(text).unwrap();
            assert_eq!(cid.to_string(), text);
            assert_eq!(Cid::from_bytes(&cid.to_bytes()).unwrap(), cid);
            assert!(!cid.is_raw());
            let Err(CidError::Mismatch { expected, found }) = cid.verify(b"other bytes") else {
                panic!("{text} does not name these bytes");
            };
            assert_eq!((expected, &found.to_string()[..2]), (cid, &text[..2]));
        }
    }

    #[test]
    fn anything_but_the_one_text_of_an_id_is_refused_with_what_would_be_right() {
        let upper = EMPTY_OBJECT.to_uppercase();
        let path = format!("/ipfs/{EMPTY_OBJECT}");
        let hidden_path = format!("b/ipfs/{EMPTY_OBJECT}");
        let padded = format!("{EMPTY_OBJECT}a");
        let huge = format!("b{}", "a".repeat(1_000_000));
        for text in
            ["", "b", "Qm", "bafy", "naïve", upper.as_str(), &path, &hidden_path, &padded, &huge, "Qm0000"]
        {
            let error = Cid::parse(text).unwrap_err();
            assert!(matches!(error, CidError::Malformed { .. }), "{text:.80}: {error}");
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.to_string().contains("bafkrei") && error.to_string().len() < 400, "{error}");
        }
    }

    #[test]
    fn bytes_behind_an_id_and_other_hashes_are_refused() {
        let mut longer = Cid::of(b"x").to_bytes();
        longer.push(0);
        assert!(matches!(Cid::from_bytes(&longer), Err(CidError::Malformed { .. })));
        assert!(matches!(Cid::from_bytes(&[0xff; 4096]), Err(CidError::Malformed { .. })));
        assert!(matches!(Cid::from_bytes(&[]), Err(CidError::Malformed { .. })));

        let sha2_512 = CidGeneric::<64>::new_v1(RAW, Multihash::wrap(0x13, &[7; 64]).unwrap()).to_string();
        let error = Cid::parse(&sha2_512).unwrap_err();
        assert!(matches!(error, CidError::UnsupportedHash { hash: 0x13, len: 64, .. }), "{error}");
        let identity = CidGeneric::<64>::new_v1(RAW, Multihash::wrap(0, b"hi").unwrap());
        assert!(matches!(
            Cid::from_bytes(&identity.to_bytes()),
            Err(CidError::UnsupportedHash { hash: 0, .. })
        ));
        let cut = CidGeneric::<64>::new_v1(RAW, Multihash::wrap(SHA2_256, &[7; 20]).unwrap());
        assert!(matches!(Cid::from_bytes(&cut.to_bytes()), Err(CidError::UnsupportedHash { len: 20, .. })));
    }

    #[test]
    fn every_byte_of_the_digest_counts() {
        let digest = *Cid::of(b"bytes").digest();
        assert!(Cid::from_digest(digest).verify(b"bytes").is_ok());
        for at in 0..DIGEST_LEN {
            let mut other = digest;
            other[at] ^= 1;
            assert!(Cid::from_digest(other).verify(b"bytes").is_err(), "byte {at}");
        }
    }

    #[test]
    fn json_carries_the_text_and_refuses_anything_else() {
        let cid = Cid::of(b"{}");
        assert_eq!(serde_json::to_string(&cid).unwrap(), format!("\"{EMPTY_OBJECT}\""));
        assert_eq!(serde_json::from_str::<Cid>(&format!("\"{EMPTY_OBJECT}\"")).unwrap(), cid);
        assert!(serde_json::from_str::<Cid>("\"nothing\"").unwrap_err().to_string().contains("bafkrei"));
        assert!(serde_json::from_str::<Cid>("7").is_err());
    }

    #[test]
    fn bincode_carries_the_bytes() {
        let cid = Cid::of(b"{}");
        let bytes = crate::codec::encode_wire(&cid, 64).unwrap();
        assert_eq!(bytes.len(), 37);
        assert_eq!(crate::codec::decode_wire::<Cid>(&bytes, 64).unwrap(), cid);
    }

    proptest! {
        #[test]
        fn pieces_give_the_id_of_the_whole_however_they_are_cut(
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..8),
        ) {
            let mut hasher = CidHasher::new();
            for piece in &pieces {
                hasher.update(piece);
            }
            let whole = pieces.concat();
            prop_assert_eq!(hasher.len(), whole.len() as u64);
            let cid = Cid::of(&whole);
            prop_assert!(hasher.clone().verify(&cid).is_ok());
            prop_assert_eq!(hasher.finish(), cid);
            prop_assert!(cid.verify(&whole).is_ok());
            prop_assert_eq!(Cid::parse(&cid.to_string()), Ok(cid));
        }

        #[test]
        fn one_changed_bit_is_noticed(bytes in proptest::collection::vec(any::<u8>(), 1..300), at in any::<usize>(), bit in 0_u8..8) {
            let cid = Cid::of(&bytes);
            let mut damaged = bytes;
            let at = at % damaged.len();
            damaged[at] ^= 1_u8 << bit;
            let mut hasher = CidHasher::new();
            hasher.update(&damaged);
            prop_assert!(hasher.verify(&cid).is_err());
            let error = cid.verify(&damaged).unwrap_err();
            prop_assert_eq!(error.code(), ErrorCode::Corrupt);
        }

        #[test]
        fn no_text_and_no_bytes_make_it_panic(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(cid) = Cid::parse(&text) {
                prop_assert_eq!(cid.to_string(), text);
            }
            if let Ok(cid) = Cid::from_bytes(&bytes) {
                prop_assert_eq!(cid.to_bytes(), bytes);
            }
        }
    }
}
