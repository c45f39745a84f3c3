//! Time that tests can pause.
//!
//! Logic takes `now` as a parameter and actors get it from [`Ctx::now`](crate::Ctx::now); only this module asks the
//! operating system.

use meshwork_proto::UnixMillis;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// A point in time as records and wires have it.
pub type Timestamp = UnixMillis;

/// Milliseconds since the Unix epoch that advance with tokio's clock.
///
/// The system's time is read once, when the clock is made; from then on it advances monotonically. So it never goes
/// backwards when the system's time is set, it does not follow such a correction before the node restarts, and a
/// paused tokio clock pauses it. All clones agree. What people plan by the clock on the wall goes by [`Clock::wall`].
#[derive(Debug, Clone)]
pub struct Clock {
    base: Timestamp,
    origin: Instant,
    wall: Wall,
}

/// What the clock on the wall goes by.
#[derive(Debug, Clone)]
enum Wall {
    /// The operating system.
    System,
    /// The clock itself, and so many milliseconds by which it was set since.
    Set(Arc<AtomicI64>),
}

impl Clock {
    /// The operating system's time.
    #[must_use]
    pub fn system() -> Self {
        Self { wall: Wall::System, ..Self::starting_at(system_time()) }
    }

    /// A clock that reads `base` now: tests and simulations choose their time.
    #[must_use]
    pub fn starting_at(base: Timestamp) -> Self {
        Self { base, origin: Instant::now(), wall: Wall::Set(Arc::default()) }
    }

    /// The present time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.base.after(self.origin.elapsed())
    }

    /// The time that a person reads off the wall. Unlike [`Clock::now`] it follows when the system's time is set, and goes
    /// on while the machine sleeps: it may jump, also backwards. Only for what is planned by it, never for durations.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        match &self.wall {
            Wall::System => system_time(),
            Wall::Set(by) => UnixMillis(self.now().0.saturating_add_signed(by.load(Ordering::Relaxed))),
        }
    }

    /// Sets the clock on the wall forward by so many milliseconds (back, if negative), for all clones; no effect on
    /// [`Clock::system`].
    #[cfg(any(test, feature = "testing"))]
    pub fn set_wall(&self, by_ms: i64) {
        if let Wall::Set(by) = &self.wall {
            by.fetch_add(by_ms, Ordering::Relaxed);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the node reads the system's time")]
fn system_time() -> Timestamp {
    // A system time before 1970 is a clock that was never set: zero is as good as any.
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    UnixMillis::default().after(since_epoch)
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

    #[tokio::test(start_paused = true)]
    async fn the_clock_on_the_wall_can_be_set_and_nothing_else_follows() {
        let clock = Clock::starting_at(UnixMillis(10_000));
        let other = clock.clone();
        assert_eq!(clock.wall(), clock.now());
        clock.set_wall(-4_000);
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!((other.now(), other.wall()), (UnixMillis(11_000), UnixMillis(7_000)));
        clock.set_wall(-60_000);
        assert_eq!(clock.wall(), UnixMillis(0), "there is nothing before the epoch");
        let system = Clock::system();
        let (wall, now) = (system.wall(), system.now());
        assert!(wall.since(now).max(now.since(wall)) < Duration::from_secs(60));
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
