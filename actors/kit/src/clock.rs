//! Wall-clock time that tests can pause.
//!
//! Logic takes `now` as a parameter and actors get it from [`Ctx::now`](crate::Ctx::now); only this module asks the
//! operating system.

use meshwork_proto::UnixMillis;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// A point in time as records and wires have it.
pub type Timestamp = UnixMillis;

/// Milliseconds since the Unix epoch that advance with tokio's clock.
///
/// The system's time is read once, when the clock is made; from then on it advances monotonically. So it never goes
/// backwards when the system's time is set, it does not follow such a correction before the node restarts, and a
/// paused tokio clock pauses it. All clones agree.
#[derive(Debug, Clone)]
pub struct Clock {
    base: Timestamp,
    origin: Instant,
}

impl Clock {
    /// The operating system's time.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place where the node reads the system's time")]
    pub fn system() -> Self {
        // A system time before 1970 is a clock that was never set: zero is as good as any.
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self::starting_at(UnixMillis::default().after(since_epoch))
    }

    /// A clock that reads `base` now: tests and simulations choose their time.
    #[must_use]
    pub fn starting_at(base: Timestamp) -> Self {
        Self { base, origin: Instant::now() }
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.base.after(self.origin.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_advances_exactly_with_a_paused_clock() {
        let clock = Clock::starting_at(UnixMillis(1_000));
        let other = clock.clone();
        assert_eq!(clock.now(), UnixMillis(1_000));
        tokio::time::sleep(Duration::from_secs(600)).await;
        assert_eq!(clock.now(), UnixMillis(601_000));
        assert_eq!(other.now(), clock.now());
    }

    #[test]
    fn the_system_clock_is_in_this_century_and_never_goes_back() {
        let clock = Clock::system();
        assert!(clock.now() > UnixMillis(1_600_000_000_000));
        let mut last = clock.now();
        for _ in 0..10_000 {
            let now = clock.now();
            assert!(now >= last);
            last = now;
        }
    }
}
