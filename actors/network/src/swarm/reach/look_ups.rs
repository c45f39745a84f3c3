//! Look-ups and entries under way: what was asked of which directory, what was found so far, who waits, and until when.
//! Pure but for the replies that it sends.

use super::super::book;
use crate::address;
use libp2p::kad::QueryId;
use libp2p::{Multiaddr, PeerId};
use meshwork_proto::UnixMillis;
use meshwork_proto::discovery::FoundPeer;
use meshwork_proto::transport::LookUpError;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// Look-ups under way at a time.
const MAX_PENDING: usize = 64;
/// Peers that one look-up gives.
pub(crate) const MAX_FOUND: usize = 256;

/// Where the outcome goes: the peers found, or none for an entry.
pub(crate) type LookUpReply = oneshot::Sender<Result<Vec<FoundPeer>, LookUpError>>;

/// Something that was asked and not answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// A query in the mesh's table.
    Dht(QueryId),
    /// A query in the public table.
    PublicDht(QueryId),
    /// A request to a rendezvous point; the same ones have the same answer.
    Rendezvous {
        /// Whom.
        point: PeerId,
        /// About which name.
        name: String,
        /// To be entered there, or else who is.
        enter: bool,
    },
}

/// A look-up or an entry.
#[derive(Debug)]
pub(crate) struct Pending {
    /// The directory's name in metrics.
    pub(crate) directory: &'static str,
    /// `look_up` or `enter`.
    pub(crate) kind: &'static str,
    /// What it waits for.
    pub(crate) open: Vec<Question>,
    /// When it is over.
    pub(crate) deadline: UnixMillis,
    /// How long that was when it was asked.
    pub(crate) deadline_ms: u64,
    /// Who waits.
    pub(crate) reply: LookUpReply,
}

#[derive(Debug)]
struct UnderWay {
    pending: Pending,
    found: BTreeMap<PeerId, Vec<Multiaddr>>,
    answered: bool,
    error: Option<LookUpError>,
}

/// A look-up that has ended, for the metrics; and what is not to be waited for any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) directory: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) outcome: &'static str,
    pub(crate) found: usize,
    pub(crate) unanswered: Vec<Question>,
}

/// The look-ups under way.
#[derive(Debug, Default)]
pub(crate) struct LookUps(Vec<UnderWay>);

impl LookUps {
    /// A look-up has begun. When there are too many it ends at once.
    pub(crate) fn begin(&mut self, pending: Pending) -> Option<Ended> {
        let under_way = UnderWay { pending, found: BTreeMap::new(), answered: false, error: None };
        if self.0.len() >= MAX_PENDING {
            let busy = LookUpError::Unavailable(format!("{MAX_PENDING} look-ups are under way already"));
            return Some(under_way.end(Err(busy)));
        }
        self.0.push(under_way);
        None
    }

    /// A peer was found, at these addresses.
    pub(crate) fn found(&mut self, question: &Question, peer: PeerId, addresses: &[Multiaddr]) {
        for under_way in self.0.iter_mut().filter(|under_way| under_way.waits_for(question)) {
            if under_way.found.len() >= MAX_FOUND && !under_way.found.contains_key(&peer) {
                continue;
            }
            let known = under_way.found.entry(peer).or_default();
            for address in addresses {
                book::add(known, address);
            }
        }
    }

    /// A question was answered to its end, or failed.
    pub(crate) fn answered(&mut self, question: &Question, answer: Result<(), LookUpError>) -> Vec<Ended> {
        for under_way in self.0.iter_mut().filter(|under_way| under_way.waits_for(question)) {
            under_way.pending.open.retain(|open| open != question);
            match &answer {
                Ok(()) => under_way.answered = true,
                Err(error) => under_way.error = Some(error.clone()),
            }
        }
        self.take(|under_way| under_way.pending.open.is_empty())
            .into_iter()
            .map(|done| {
                let outcome = match &done.error {
                    Some(error) if !done.answered && done.found.is_empty() => Err(error.clone()),
                    _ => Ok(()),
                };
                done.end(outcome)
            })
            .collect()
    }

    /// Ends those whose time is over, with what was found, and those for which nobody waits.
    pub(crate) fn sweep(&mut self, now: UnixMillis) -> Vec<Ended> {
        let over =
            self.take(|under_way| under_way.pending.deadline <= now || under_way.pending.reply.is_closed());
        over.into_iter()
            .map(|late| {
                let nothing = late.found.is_empty();
                let after = late.pending.deadline_ms;
                late.end(if nothing { Err(LookUpError::Timeout(after)) } else { Ok(()) })
            })
            .collect()
    }

    /// Whether anybody waits for an answer.
    pub(crate) fn waits_for(&self, question: &Question) -> bool {
        self.0.iter().any(|under_way| under_way.waits_for(question))
    }

    fn take(&mut self, over: impl Fn(&UnderWay) -> bool) -> Vec<UnderWay> {
        let (over, left) = std::mem::take(&mut self.0).into_iter().partition(over);
        self.0 = left;
        over
    }
}

impl UnderWay {
    fn waits_for(&self, question: &Question) -> bool {
        self.pending.open.contains(question)
    }

    fn end(self, outcome: Result<(), LookUpError>) -> Ended {
        let Pending { directory, kind, open, reply, .. } = self.pending;
        let mut ended = Ended { directory, kind, outcome: "ok", found: self.found.len(), unanswered: open };
        let answer = outcome.map(|()| {
            let found = self.found.into_iter().map(|(peer, addresses)| FoundPeer {
                peer: Some(address::peer_of(&peer)),
                addresses: addresses.iter().map(Multiaddr::to_string).collect(),
            });
            found.collect()
        });
        if let Err(error) = &answer {
            ended.outcome = outcome_name(error);
        }
        if reply.send(answer).is_err() {
            ended.outcome = "abandoned";
        }
        ended
    }
}

/// An outcome as a label.
pub(crate) const fn outcome_name(error: &LookUpError) -> &'static str {
    match error {
        LookUpError::Off(_) => "off",
        LookUpError::Unavailable(_) => "unavailable",
        LookUpError::Refused(_) => "refused",
        LookUpError::NoAddress => "no_address",
        LookUpError::Timeout(_) => "timeout",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = oneshot::Receiver<Result<Vec<FoundPeer>, LookUpError>>;

    fn question(name: &str) -> Question {
        Question::Rendezvous {
            point: PeerId::from_bytes(&[0, 1, 7]).unwrap(),
            name: name.into(),
            enter: false,
        }
    }

    fn pending(open: Vec<Question>, deadline: u64) -> (Pending, Answer) {
        let (reply, answer) = oneshot::channel();
        let deadline = UnixMillis(deadline);
        let pending = Pending { directory: "dht", kind: "look_up", open, deadline, deadline_ms: 7, reply };
        (pending, answer)
    }

    fn address(port: usize) -> Multiaddr {
        format!("/ip4/192.0.2.7/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn a_look_up_ends_when_all_that_was_asked_is_answered() {
        let mut look_ups = LookUps::default();
        let (pending, mut answer) = pending(vec![question("a"), question("b")], 100);
        assert_eq!(look_ups.begin(pending), None);
        let peer = PeerId::random();
        look_ups.found(&question("a"), peer, &[address(1)]);
        look_ups.found(&question("b"), peer, &[address(1), address(2)]);
        look_ups.found(&question("c"), PeerId::random(), &[address(3)]);
        assert!(look_ups.answered(&question("a"), Err(LookUpError::Refused("no".into()))).is_empty());
        let ended = look_ups.answered(&question("b"), Ok(()));
        assert_eq!((ended[0].outcome, ended[0].found), ("ok", 1));
        let found = answer.try_recv().unwrap().unwrap();
        assert_eq!(found[0].peer, Some(address::peer_of(&peer)));
        assert_eq!(found[0].addresses, ["/ip4/192.0.2.7/tcp/1", "/ip4/192.0.2.7/tcp/2"]);
        assert!(!look_ups.waits_for(&question("b")));
    }

    #[test]
    fn at_the_deadline_what_was_found_is_the_answer_and_nothing_is_a_timeout() {
        let mut look_ups = LookUps::default();
        let (some, mut some_answer) = pending(vec![question("a")], 100);
        let (none, mut none_answer) = pending(vec![question("b")], 100);
        look_ups.begin(some);
        look_ups.begin(none);
        look_ups.found(&question("a"), PeerId::random(), &[address(1)]);
        assert!(look_ups.sweep(UnixMillis(99)).is_empty());
        let ended = look_ups.sweep(UnixMillis(100));
        assert_eq!(ended.iter().map(|ended| ended.outcome).collect::<Vec<_>>(), ["ok", "timeout"]);
        assert_eq!(ended[0].unanswered, [question("a")], "to be given up");
        assert_eq!(some_answer.try_recv().unwrap().unwrap().len(), 1);
        assert_eq!(none_answer.try_recv().unwrap(), Err(LookUpError::Timeout(7)));
    }

    #[test]
    fn the_same_question_of_two_askers_is_answered_to_both() {
        let mut look_ups = LookUps::default();
        let ((first, mut one), (second, mut two)) =
            (pending(vec![question("a")], 100), pending(vec![question("a")], 100));
        look_ups.begin(first);
        look_ups.begin(second);
        let no = LookUpError::Refused("no".into());
        assert_eq!(look_ups.answered(&question("a"), Err(no.clone())).len(), 2);
        assert_eq!((one.try_recv().unwrap(), two.try_recv().unwrap()), (Err(no.clone()), Err(no)));
    }

    #[test]
    fn look_ups_and_what_they_find_are_bounded_and_the_abandoned_are_swept() {
        let mut look_ups = LookUps::default();
        let mut answers = Vec::new();
        for _ in 0..MAX_PENDING {
            let (pending, answer) = pending(vec![question("a")], 100);
            assert_eq!(look_ups.begin(pending), None);
            answers.push(answer);
        }
        let (one_more, mut answer) = pending(vec![question("a")], 100);
        assert_eq!(look_ups.begin(one_more).unwrap().outcome, "unavailable");
        assert!(matches!(answer.try_recv().unwrap(), Err(LookUpError::Unavailable(_))));
        answers.truncate(1);
        let ended = look_ups.sweep(UnixMillis(0));
        assert!(ended.len() == MAX_PENDING - 1 && ended.iter().all(|ended| ended.outcome == "abandoned"));
        for _ in 0..2 * MAX_FOUND {
            look_ups.found(&question("a"), PeerId::random(), &[address(1)]);
        }
        look_ups.answered(&question("a"), Ok(()));
        assert_eq!(answers[0].try_recv().unwrap().unwrap().len(), MAX_FOUND);
    }
}
