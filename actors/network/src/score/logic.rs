//! The table of scores as a state machine: offences and time in, actions out. No clock, no I/O.
//!
//! A score is 0 for a peer of which nothing bad is known, falls with each offence, and halves its distance from 0 every ten
//! minutes. Nothing raises it but time: good behaviour that could be saved up would be spent on bad behaviour.

use meshwork_proto::transport::Offence;
use meshwork_proto::{PeerId, UnixMillis};
use std::collections::BTreeMap;
use std::time::Duration;

/// In so long an offence counts half: an operator who has repaired a node has it back in good standing within the hour.
const HALF_LIFE: Duration = Duration::from_secs(600);
/// From here on a peer's requests are served a few at a time: it can still do its work, and cannot crowd others out.
const THROTTLE: f64 = -10.0;
/// From here on each further offence closes its connections: it may come back, and whatever state made it misbehave is
/// made anew.
const DISCONNECT: f64 = -20.0;
/// From here on it is banned for a time: it has come back and gone on more than once.
const BAN: f64 = -50.0;
/// No score is lower, so that it is not a matter of hours until one offence more is nothing unusual.
const LOWEST: f64 = -100.0;
/// A score this near to 0 is forgotten.
const NEGLIGIBLE: f64 = -0.1;
/// The first ban. Afterwards the score is half as low, and one lapse does not ban again.
const FIRST_BAN: Duration = Duration::from_secs(600);
/// Each ban is twice as long as the one before, up to this: an id is made in no time, so longer ones would only hit those
/// who mean no harm.
const LONGEST_BAN: Duration = Duration::from_secs(24 * 3600);
/// So long after a ban it counts no more for the length of the next one.
const BAN_FORGIVEN: Duration = Duration::from_secs(24 * 3600);
/// Requests of a throttled peer that are served at a time.
pub(crate) const THROTTLED_REQUESTS: usize = 4;
/// Peers with a score. The one that has done nothing for the longest time makes room; banned ones do so last.
const MAX_TRACKED: usize = 4096;

/// What an offence costs.
const fn cost(offence: Offence) -> f64 {
    match offence {
        // No build of meshwork sends one; a few may come of a broken machine. The fifth in a row disconnects, the
        // twelfth bans.
        Offence::BadFrame => 4.5,
        // Hundreds of requests beyond the limit each, so a real flood has many of them in a second.
        Offence::Flood => 2.0,
        // Signatures are checked before records are passed on: it is the peer itself who lies. Ten ban.
        Offence::FalseAnnouncement => 5.5,
        // A node that was left with an old secret dials twice a minute for as long as it runs: that levels off at -30,
        // and must not lead to a ban that outlasts its repair. Whoever guesses makes fifty in a few minutes.
        Offence::BadProof => 1.0,
    }
}

/// What follows from an offence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Action {
    /// Nothing new.
    None,
    /// Serve it only a few requests at a time.
    Throttle,
    /// Close its connections.
    Disconnect,
    /// Close its connections and accept none for so long.
    Ban(Duration),
}

/// An offence as it counts.
#[derive(Debug, PartialEq)]
pub(crate) struct Judgement {
    /// The score now.
    pub(crate) score: f64,
    /// What follows.
    pub(crate) action: Action,
    /// A banned peer for which there was no room in the table any more: it is let in early.
    pub(crate) let_in: Option<PeerId>,
}

/// What time has changed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Passed {
    /// Bans that are over.
    pub(crate) let_in: Vec<PeerId>,
    /// Peers that are throttled no more.
    pub(crate) calmed: Vec<PeerId>,
}

#[derive(Debug)]
struct Entry {
    score: f64,
    /// When it was so.
    at: UnixMillis,
    throttled: bool,
    banned_until: Option<UnixMillis>,
    /// Bans so far, and when the last one ended or ends.
    bans: u32,
    last_ban: UnixMillis,
}

impl Entry {
    fn new(now: UnixMillis) -> Self {
        Self { score: 0.0, at: now, throttled: false, banned_until: None, bans: 0, last_ban: now }
    }

    fn score(&self, now: UnixMillis) -> f64 {
        let halvings = now.since(self.at).as_secs_f64() / HALF_LIFE.as_secs_f64();
        self.score * 0.5_f64.powf(halvings)
    }

    /// Bans that still count.
    fn counted_bans(&self, now: UnixMillis) -> u32 {
        let forgiven = now.since(self.last_ban).as_secs() / BAN_FORGIVEN.as_secs();
        self.bans.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }

    fn ban(&mut self, now: UnixMillis) -> Duration {
        let before = self.counted_bans(now);
        let length = FIRST_BAN.saturating_mul(2_u32.saturating_pow(before)).min(LONGEST_BAN);
        let until = now.after(length);
        self.bans = before.saturating_add(1);
        self.last_ban = until;
        self.banned_until = Some(until);
        self.throttled = true;
        length
    }

    fn is_forgotten(&self, now: UnixMillis) -> bool {
        self.banned_until.is_none() && self.score(now) > NEGLIGIBLE && self.counted_bans(now) == 0
    }
}

/// The scores of all peers that have misbehaved.
#[derive(Debug, Default)]
pub(crate) struct Scores(BTreeMap<PeerId, Entry>);

impl Scores {
    /// A peer misbehaved.
    pub(crate) fn offend(&mut self, peer: &PeerId, offence: Offence, now: UnixMillis) -> Judgement {
        let let_in = self.make_room_for(peer);
        let entry = self.0.entry(peer.clone()).or_insert_with(|| Entry::new(now));
        let score = (entry.score(now) - cost(offence)).max(LOWEST);
        (entry.score, entry.at) = (score, now);
        let action = if entry.banned_until.is_some() {
            // What was under way when it was banned.
            Action::None
        } else if score <= BAN {
            Action::Ban(entry.ban(now))
        } else if score <= DISCONNECT {
            entry.throttled = true;
            Action::Disconnect
        } else if score <= THROTTLE && !entry.throttled {
            entry.throttled = true;
            Action::Throttle
        } else {
            Action::None
        };
        Judgement { score, action, let_in }
    }

    /// Time has passed. At the end of a ban the score is still low.
    pub(crate) fn pass(&mut self, now: UnixMillis) -> Passed {
        let mut passed = Passed::default();
        for (peer, entry) in &mut self.0 {
            if entry.banned_until.is_some_and(|until| until <= now) {
                entry.banned_until = None;
                passed.let_in.push(peer.clone());
            }
            if entry.throttled && entry.banned_until.is_none() && entry.score(now) > THROTTLE {
                entry.throttled = false;
                passed.calmed.push(peer.clone());
            }
        }
        self.0.retain(|_, entry| !entry.is_forgotten(now));
        passed
    }

    /// Forgets everything about a peer; whether it was banned.
    pub(crate) fn pardon(&mut self, peer: &PeerId) -> bool {
        self.0.remove(peer).is_some_and(|entry| entry.banned_until.is_some())
    }

    /// Whether only a few requests of the peer are to be served at a time.
    pub(crate) fn is_throttled(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_some_and(|entry| entry.throttled)
    }

    /// Whether the peer is banned.
    pub(crate) fn is_banned(&self, peer: &PeerId) -> bool {
        self.0.get(peer).is_some_and(|entry| entry.banned_until.is_some())
    }

    /// Banned peers, and for how long still.
    pub(crate) fn banned(&self, now: UnixMillis) -> impl Iterator<Item = (&PeerId, Duration)> {
        self.0.iter().filter_map(move |(peer, entry)| Some((peer, entry.banned_until?.since(now))))
    }

    /// Drops an entry when there is no room for another one; a banned peer among them is let in.
    fn make_room_for(&mut self, peer: &PeerId) -> Option<PeerId> {
        if self.0.len() < MAX_TRACKED || self.0.contains_key(peer) {
            return None;
        }
        // Those that are not banned come first; of the banned ones that whose ban ends first.
        let least = |entry: &Entry| (entry.banned_until, entry.at);
        let victim = self.0.iter().min_by_key(|(_, entry)| least(entry)).map(|(peer, _)| peer.clone())?;
        self.pardon(&victim).then_some(victim)
    }
}

#[cfg(test)]
#[path = "logic_tests.rs"]
mod tests;
