//! Hearing: what is looked at, what is believed, and what is answered.

use super::store::{Look, Taken};
use super::{Answer, Checked, Genuine, Heard, Occasion, Talk, talk};
use super::{Ask, Believed, Ended, FRESH, Gossip, MAX_ROUNDS, Purpose, spread_by_a_fifth, wide};
use meshwork_proto::discovery::gossip::{Digest, KnownRecord, MAX_LISTED, MAX_RECORDS};
use meshwork_proto::{PeerId, UnixMillis};
use rand::rngs::SmallRng;
use std::collections::VecDeque;

impl Gossip {
    /// Leaves of what `from` tells only what would be news, so that no other signature need be checked. Gives of whom
    /// something newer is known here than what was told.
    pub(crate) fn sift(&mut self, now: UnixMillis, from: &PeerId, heard: &mut Heard) -> Vec<PeerId> {
        self.totals.received += wide(heard.records.len());
        let mut behind = Vec::new();
        heard.records.retain(|told| {
            if told.sealed.peer == *self.own.peer() {
                return told.sealed.sequence > self.own.sequence();
            }
            let look = self.store.look_at(now, from, told);
            if look == Look::Behind {
                behind.push(told.sealed.peer.clone());
            }
            look == Look::News
        });
        behind
    }

    /// Believes what was checked. Gives what the book must know.
    pub(crate) fn believe(&mut self, now: UnixMillis, from: &PeerId, checked: Checked) -> Vec<Believed> {
        self.totals.forged += u64::from(checked.forged);
        self.totals.malformed += u64::from(checked.malformed);
        self.totals.newer += u64::from(checked.newer);
        let mut believed = Vec::new();
        for (record, age_ms) in checked.genuine {
            if record.peer == *self.own.peer() {
                self.hear_of_itself(now, &record);
                continue;
            }
            if !self.rules.others && record.peer != *from {
                continue;
            }
            let Taken { accepted, new_at, instead_of } = self.store.accept(now, from, &record, age_ms);
            if !accepted.is_news() {
                continue;
            }
            self.totals.news += 1;
            if accepted.is_material() && now.since(new_at) <= FRESH && !self.store.keeps_back(&record.peer) {
                let from = (record.peer != *from).then(|| from.clone());
                self.spread(now, record.peer.clone(), from);
            }
            believed.push(Believed { record, accepted, new_at, instead_of });
        }
        believed
    }

    /// An earlier life of this node has used a higher number, with a clock that was ahead, or has said goodbye.
    fn hear_of_itself(&mut self, now: UnixMillis, record: &Genuine) {
        if record.sequence <= self.own.sequence() || self.own.has_left() {
            return;
        }
        self.own.jump_above(record.sequence);
        if let Some(offers) = self.own.offers().cloned() {
            self.say(now, offers, Occasion::Changed);
        }
    }

    /// Answers a question of `from` whose records were believed already.
    pub(crate) fn answer(
        &mut self,
        now: UnixMillis,
        from: &PeerId,
        digest: Option<&Digest>,
        want: &[PeerId],
        behind: &[PeerId],
        news: u32,
    ) -> Answer {
        self.store.expire_now_and_then(now, self.own.peer());
        if let Some(digest) = digest {
            self.store.vouch_for_same(from, digest);
        }
        let (others, own) = (self.rules.others, self.own.peer());
        let wanted = want.iter().take(MAX_LISTED).chain(behind).filter(|peer| others || *peer == own);
        let records = talk::fill(wanted.filter_map(|peer| self.store.told(now, peer)));
        let known = digest
            .filter(|_| others)
            .map_or_else(Vec::new, |digest| self.store.differing(digest, MAX_LISTED));
        let answer = Answer { records, known, news };
        self.totals.served += 1;
        self.totals.sent += wide(answer.records.len());
        self.totals.bytes_out += wide(answer.size());
        answer
    }

    /// Goes on with a comparison whose answer's records were believed already; gives its end, when it has come to one.
    pub(crate) fn answered(
        &mut self,
        now: UnixMillis,
        from: &PeerId,
        known: &[KnownRecord],
        believed: &[Believed],
        rng: &mut SmallRng,
        out: &mut Vec<Ask>,
    ) -> Option<Ended> {
        let mut flight = self.flights.remove(from)?;
        flight.news += u32::try_from(believed.len()).unwrap_or(u32::MAX);
        flight.material |= believed.iter().any(|believed| believed.accepted.is_material());
        if flight.rounds == 0 && !known.is_empty() {
            let known = known.get(..known.len().min(MAX_LISTED)).unwrap_or_default();
            let difference = self.store.compare(from, known);
            let itself = known.iter().find(|known| known.peer == *self.own.peer());
            flight.wanted = talk::cut(difference.wanted).into();
            flight.lacking = talk::cut(difference.lacking).into();
            // Of itself a node wants to know only what it does not remember to have said.
            if itself.is_none_or(|known| known.sequence <= self.own.sequence()) {
                flight.wanted.retain(|peer| peer != self.own.peer());
            }
        }
        flight.rounds += 1;
        let more = !flight.wanted.is_empty() || !flight.lacking.is_empty();
        if !more || flight.rounds >= MAX_ROUNDS || self.own.has_left() {
            self.totals.compared += 1;
            if flight.material {
                let soon = now.after(spread_by_a_fifth(self.rules.soon, rng));
                self.next_round = self.next_round.min(soon);
            }
            return Some(Ended { news: flight.news });
        }
        let want = drain(&mut flight.wanted);
        let lacking = drain(&mut flight.lacking);
        let records = talk::fill(lacking.iter().filter_map(|peer| self.store.told(now, peer)));
        self.flights.insert(from.clone(), flight);
        self.ask(from, Talk { records, digest: None, want }, Purpose::Compare, out);
        None
    }

    /// Takes up a record that was kept on disk, on this node's own word: who told of it before is not known any more. Gives
    /// what the book must know.
    pub(crate) fn restore(
        &mut self,
        now: UnixMillis,
        record: Genuine,
        new_at: UnixMillis,
    ) -> Option<Believed> {
        if record.peer == *self.own.peer() {
            return None;
        }
        let Taken { accepted, new_at, instead_of } =
            self.store.accept_at(now, self.own.peer(), &record, new_at);
        accepted.is_news().then_some(Believed { record, accepted, new_at, instead_of })
    }
}

/// The next few of a list: one message's worth.
fn drain(list: &mut VecDeque<PeerId>) -> Vec<PeerId> {
    let count = list.len().min(MAX_RECORDS);
    list.drain(..count).collect()
}
