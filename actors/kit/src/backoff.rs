//! Exponential back-off with jitter, as a pure function of the attempt and a seeded source of randomness.

use rand::{Rng, RngExt};
use std::time::Duration;

/// How long to wait before the n-th retry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Before the first retry.
    pub min: Duration,
    /// Never longer than this.
    pub max: Duration,
    /// Growth from one retry to the next; less than 1 counts as 1.
    pub factor: f64,
    /// Which part of each delay is random, 0 to 1: the delay lies in `(full * (1 - jitter), full]`.
    pub jitter: f64,
}

impl Backoff {
    /// Doubles from `min` to `max`, a fifth of it random.
    #[must_use]
    pub const fn doubling(min: Duration, max: Duration) -> Self {
        Self { min, max, factor: 2.0, jitter: 0.2 }
    }

    /// The delay before retry number `attempt` (the first is 1; 0 counts as 1), without jitter.
    #[must_use]
    pub fn full_delay(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.min.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        // Overflow and NaN end up at the ceiling.
        Duration::try_from_secs_f64(seconds).map_or(self.max, |delay| delay.min(self.max))
    }

    /// The delay before retry number `attempt` (the first is 1), with jitter from `rng`.
    #[must_use]
    pub fn delay(&self, attempt: u32, rng: &mut (impl Rng + ?Sized)) -> Duration {
        let full = self.full_delay(attempt);
        let jitter = if self.jitter.is_finite() { self.jitter.clamp(0.0, 1.0) } else { 0.0 };
        let random = full.as_secs_f64() * jitter * rng.random::<f64>();
        full.saturating_sub(Duration::try_from_secs_f64(random).unwrap_or(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn it_doubles_from_the_minimum_and_stays_at_the_maximum() {
        let backoff = Backoff { jitter: 0.0, ..Backoff::doubling(MS(100), MS(1_000)) };
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let delays: Vec<_> = (0..=6).map(|n| backoff.delay(n, &mut rng)).collect();
        assert_eq!(delays, [MS(100), MS(100), MS(200), MS(400), MS(800), MS(1_000), MS(1_000)]);
        assert_eq!(backoff.delay(u32::MAX, &mut rng), MS(1_000));
    }

    #[test]
    fn jitter_only_shortens_and_the_same_seed_gives_the_same_delays() {
        let backoff = Backoff { jitter: 0.5, ..Backoff::doubling(MS(100), MS(10_000)) };
        let run = |seed| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            (1..50).map(|n| backoff.delay(n, &mut rng)).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        for (n, delay) in (1..).zip(run(7)) {
            let full = backoff.full_delay(n);
            assert!(delay <= full && delay >= full / 2, "{n}: {delay:?} of {full:?}");
        }
    }

    #[test]
    fn senseless_settings_do_not_panic() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0] {
            let backoff = Backoff { min: MS(1), max: Duration::MAX, factor: odd, jitter: odd };
            for attempt in [0, 1, 2, 1_000, u32::MAX] {
                let _ = backoff.delay(attempt, &mut rng);
            }
        }
    }
}
