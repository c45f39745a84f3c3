//! When leases are renewed and when they are over, pure.
//!
//! All times are this node's. A lease counts from the moment the claim or renewal was *sent*, which is before the owner
//! granted it: by our reckoning it ends too early rather than too late.

use meshwork_proto::{Fence, TaskId, UnixMillis};
use std::collections::BTreeMap;
use std::time::Duration;

/// One attempt of a task.
pub(super) type LeaseKey = (TaskId, Fence);

/// Progress is reported at most once in this time for each lease.
pub(super) const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Lease {
    until: UnixMillis,
    length: Duration,
    /// When the last claim or renewal was sent.
    sent: UnixMillis,
    /// There is progress that the owner does not know.
    news: bool,
}

impl Lease {
    /// Two renewals may fail before the lease is in danger.
    fn renew_at(&self) -> UnixMillis {
        self.sent.after(self.length / 3)
    }

    fn due_at(&self) -> UnixMillis {
        let renew = self.renew_at();
        if self.news { renew.min(self.sent.after(PROGRESS_PERIOD)) } else { renew }
    }

    /// Renewed along with others that are due, if its own time is near.
    fn joins_at(&self) -> UnixMillis {
        self.due_at().min(self.sent.after(self.length / 6))
    }
}

/// The leases of one owner.
#[derive(Debug, Default)]
pub(super) struct LeaseBook {
    leases: BTreeMap<LeaseKey, Lease>,
    /// After a failed renewal: not before this.
    not_before: UnixMillis,
    failures: u32,
}

impl LeaseBook {
    /// A lease was granted, of this length from the moment the claim was sent.
    pub(super) fn add(&mut self, key: LeaseKey, sent: UnixMillis, length: Duration) {
        self.leases.insert(key, Lease { until: sent.after(length), length, sent, news: false });
    }

    /// The attempt has ended.
    pub(super) fn remove(&mut self, key: LeaseKey) {
        self.leases.remove(&key);
    }

    /// There is progress to report.
    pub(super) fn has_news(&mut self, key: LeaseKey) {
        if let Some(lease) = self.leases.get_mut(&key) {
            lease.news = true;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leases.is_empty()
    }

    /// Consecutive renewals that failed.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// The leases to renew now: nothing, or those that are due together with those that soon will be.
    pub(super) fn due(&self, now: UnixMillis) -> Vec<LeaseKey> {
        if self.not_before > now || self.leases.values().all(|lease| lease.due_at() > now) {
            return Vec::new();
        }
        self.leases.iter().filter(|(_, lease)| lease.joins_at() <= now).map(|(key, _)| *key).collect()
    }

    /// When to look again: a renewal is due or a lease ends.
    pub(super) fn next_wake(&self) -> Option<UnixMillis> {
        let due = self.leases.values().map(|lease| lease.due_at().max(self.not_before)).min();
        due.into_iter().chain(self.next_end()).min()
    }

    /// When the first lease ends.
    pub(super) fn next_end(&self) -> Option<UnixMillis> {
        self.leases.values().map(|lease| lease.until).min()
    }

    /// A renewal was sent: what was news is on its way.
    pub(super) fn sending(&mut self, keys: &[LeaseKey]) {
        for key in keys {
            if let Some(lease) = self.leases.get_mut(key) {
                lease.news = false;
            }
        }
    }

    /// The owner renewed the lease; `length` is none if it only said that it holds.
    pub(super) fn renewed(&mut self, key: LeaseKey, sent: UnixMillis, length: Option<Duration>) {
        if let Some(lease) = self.leases.get_mut(&key) {
            lease.length = length.unwrap_or(lease.length);
            lease.sent = sent;
            lease.until = lease.until.max(sent.after(lease.length));
        }
    }

    /// The owner answered.
    pub(super) fn answered(&mut self) {
        self.failures = 0;
        self.not_before = UnixMillis(0);
    }

    /// The owner could not be reached: what was to be told is still news, and the next try waits.
    pub(super) fn failed(&mut self, keys: &[LeaseKey], retry_at: UnixMillis) {
        self.failures = self.failures.saturating_add(1);
        self.not_before = retry_at;
        keys.iter().for_each(|key| self.has_news(*key));
    }

    /// Takes out the leases that are over.
    pub(super) fn take_expired(&mut self, now: UnixMillis) -> Vec<LeaseKey> {
        let expired: Vec<_> =
            self.leases.iter().filter(|(_, lease)| lease.until <= now).map(|(key, _)| *key).collect();
        expired.iter().for_each(|key| self.remove(*key));
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(30);

    fn key(n: u8) -> LeaseKey {
        (TaskId::from_bytes([n; 16]), Fence(u64::from(n)))
    }

    fn at(seconds: u64) -> UnixMillis {
        UnixMillis(1_000_000 + seconds * 1_000)
    }

    fn book(leases: &[(u8, u64)]) -> LeaseBook {
        let mut book = LeaseBook::default();
        leases.iter().for_each(|(n, sent)| book.add(key(*n), at(*sent), LEASE));
        book
    }

    #[test]
    fn a_lease_is_renewed_after_a_third_and_over_after_its_length() {
        let mut book = book(&[(1, 0)]);
        assert_eq!(book.next_wake(), Some(at(10)));
        assert!(book.due(at(9)).is_empty());
        assert_eq!(book.due(at(10)), [key(1)]);
        book.renewed(key(1), at(10), Some(LEASE));
        assert!(book.take_expired(at(39)).is_empty());
        assert_eq!(book.take_expired(at(40)), [key(1)]);
        assert!(book.is_empty());
    }

    #[test]
    fn leases_that_are_nearly_due_are_renewed_together() {
        let book = book(&[(1, 0), (2, 4), (3, 9)]);
        assert_eq!(book.due(at(10)), [key(1), key(2)]);
    }

    #[test]
    fn progress_is_reported_within_a_second_and_at_most_once_in_it() {
        let mut book = book(&[(1, 0)]);
        book.has_news(key(1));
        assert_eq!(book.next_wake(), Some(at(1)));
        assert_eq!(book.due(at(5)), [key(1)], "news after a quiet time goes at once");
        book.sending(&[key(1)]);
        book.renewed(key(1), at(5), Some(LEASE));
        book.has_news(key(1));
        assert!(book.due(at(5)).is_empty());
        assert_eq!(book.due(at(6)), [key(1)]);
    }

    #[test]
    fn a_failed_renewal_is_tried_again_later_and_the_lease_still_ends_in_time() {
        let mut book = book(&[(1, 0)]);
        book.sending(&[key(1)]);
        book.failed(&[key(1)], at(12));
        assert!(book.due(at(11)).is_empty());
        assert_eq!(book.due(at(12)), [key(1)]);
        book.failed(&[key(1)], at(60));
        assert_eq!((book.next_wake(), book.failures()), (Some(at(30)), 2));
        assert_eq!(book.take_expired(at(30)), [key(1)]);
    }

    #[test]
    fn a_late_answer_never_shortens_a_lease() {
        let mut book = book(&[(1, 20)]);
        book.renewed(key(1), at(0), Some(LEASE));
        assert!(book.take_expired(at(49)).is_empty());
        book.renewed(key(1), at(40), None);
        assert_eq!(book.next_end(), Some(at(70)));
    }
}
