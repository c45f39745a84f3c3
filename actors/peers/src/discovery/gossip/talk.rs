//! What nodes say to one another in an exchange, and how that becomes wire messages.

use super::sealed::{Genuine, Sealed, Told, Unreadable};
use meshwork_proto::PeerId;
use meshwork_proto::discovery::gossip::{Digest, KnownRecord, MAX_LISTED, MAX_RECORDS};
use meshwork_proto::discovery::{Exchange, Exchanged, Notary, SignedRecord};
use std::sync::Arc;

/// Most bytes of records in one message: a good part of what a frame may hold.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// One question of an exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Talk {
    pub(crate) records: Vec<Told>,
    pub(crate) digest: Option<Digest>,
    pub(crate) want: Vec<PeerId>,
}

/// The answer to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) records: Vec<Told>,
    pub(crate) known: Vec<KnownRecord>,
    pub(crate) news: u32,
}

/// Records that came, read but not checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard {
    pub(crate) records: Vec<Told>,
    /// Records of a newer meshwork.
    pub(crate) newer: u32,
    /// Records that nobody can have checked.
    pub(crate) malformed: u32,
}

/// Records whose signatures were checked, and how many failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Checked {
    pub(crate) genuine: Vec<(Genuine, u64)>,
    pub(crate) forged: u32,
    pub(crate) newer: u32,
    pub(crate) malformed: u32,
}

impl Heard {
    /// Reads what came over the wire; more than may be in one message is not looked at.
    pub(crate) fn read(records: &[SignedRecord]) -> Self {
        let mut heard = Self::default();
        for signed in records.iter().take(MAX_RECORDS) {
            match Sealed::read(signed) {
                Ok(sealed) => {
                    heard.records.push(Told { sealed: Arc::new(sealed), age_ms: signed.age_ms });
                }
                Err(Unreadable::Newer) => heard.newer += 1,
                Err(Unreadable::Malformed) => heard.malformed += 1,
            }
        }
        heard
    }

    /// Checks the signatures: tens of microseconds for each, so many of them are checked beside the mailbox.
    pub(crate) fn check(self, notary: &dyn Notary) -> Checked {
        let mut checked = Checked { newer: self.newer, malformed: self.malformed, ..Checked::default() };
        for Told { sealed, age_ms } in self.records {
            match Genuine::check(sealed, notary) {
                Some(genuine) => checked.genuine.push((genuine, age_ms)),
                None => checked.forged += 1,
            }
        }
        checked
    }
}

impl Talk {
    pub(crate) fn to_wire(&self) -> Exchange {
        Exchange { records: signed(&self.records), digest: self.digest.clone(), want: self.want.clone() }
    }

    /// Bytes on a wire, frame included.
    pub(crate) fn size(&self) -> usize {
        let records = self.records.iter().map(|told| told.sealed.size(told.age_ms)).sum();
        question(records, self.digest.as_ref(), &self.want)
    }
}

impl Answer {
    pub(crate) fn to_wire(&self) -> Exchanged {
        Exchanged { records: signed(&self.records), known: self.known.clone(), news: self.news }
    }

    /// Bytes on a wire, frame included.
    pub(crate) fn size(&self) -> usize {
        reply(self.records.iter().map(|told| told.sealed.size(told.age_ms)).sum(), &self.known)
    }
}

/// Bytes of a question that came, frame included.
pub(crate) fn size_of_question(exchange: &Exchange) -> usize {
    question(exchange.records.iter().map(size_of).sum(), exchange.digest.as_ref(), &exchange.want)
}

/// Bytes of an answer that came, frame included.
pub(crate) fn size_of_answer(answer: &Exchanged) -> usize {
    reply(answer.records.iter().map(size_of).sum(), &answer.known)
}

/// Length, variants, request number, deadline, and the lengths of the lists inside.
const FRAME: usize = 16;

/// Bytes of a number, as the codec writes it.
const fn number(value: u64) -> usize {
    match value {
        0..=250 => 1,
        251..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

fn question(records: usize, digest: Option<&Digest>, want: &[PeerId]) -> usize {
    let digest: usize = digest.map_or(0, |digest| digest.0.iter().map(|sum| number(*sum)).sum());
    let want: usize = want.iter().map(|peer| 1 + peer.as_str().len()).sum();
    FRAME + records + digest + want
}

fn reply(records: usize, known: &[KnownRecord]) -> usize {
    let known = known.iter().map(|known| 1 + known.peer.as_str().len() + number(known.sequence));
    FRAME + records + known.sum::<usize>()
}

fn size_of(signed: &SignedRecord) -> usize {
    size_of_record(signed.record.len(), signed.signature.len(), signed.age_ms)
}

/// Bytes of a record on a wire.
pub(crate) fn size_of_record(record: usize, signature: usize, age_ms: u64) -> usize {
    let length = |len: usize| number(u64::try_from(len).unwrap_or(u64::MAX));
    length(record) + record + length(signature) + signature + number(age_ms)
}

fn signed(records: &[Told]) -> Vec<SignedRecord> {
    records.iter().map(|told| told.sealed.signed(told.age_ms)).collect()
}

/// Takes records until one message is full.
pub(crate) fn fill(records: impl Iterator<Item = Told>) -> Vec<Told> {
    let mut bytes = 0;
    records
        .take(MAX_RECORDS)
        .take_while(|told| {
            bytes += told.sealed.size(told.age_ms);
            bytes <= MAX_BYTES
        })
        .collect()
}

/// What may be asked for, or listed, in one message.
pub(crate) fn cut<T>(mut list: Vec<T>) -> Vec<T> {
    list.truncate(MAX_LISTED);
    list
}
