//! A closed loop: so many lanes, each with one request under way, for a given time.

use super::BenchError;
use futures::future::join_all;
use hdrhistogram::Histogram;
use std::time::Duration;
use tokio::time::Instant;

/// What one run of a loop gave.
pub(super) struct Measured {
    /// Microseconds of each operation.
    pub(super) latencies: Histogram<u64>,
    /// How long it ran.
    pub(super) elapsed: Duration,
    /// Operations that were done.
    pub(super) operations: u64,
}

impl Measured {
    /// Of operations that somebody else has timed, in microseconds each.
    pub(super) fn of(micros: &[u64], elapsed: Duration) -> Self {
        let mut latencies = histogram();
        for one in micros {
            latencies.saturating_record((*one).max(1));
        }
        Self { operations: latencies.len(), latencies, elapsed }
    }

    /// Operations in a second.
    pub(super) fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a count of operations")]
        let operations = self.operations as f64;
        operations / self.elapsed.as_secs_f64()
    }
}

/// Runs `step` again and again in each of `in_flight` lanes until the time is over. A step that gives `false` had
/// nothing left to do and ends its lane. A failed step ends the measurement.
pub(super) async fn closed_loop<F, Fut, E>(
    in_flight: usize,
    time: Duration,
    step: F,
) -> Result<Measured, BenchError>
where
    F: Fn(usize) -> Fut,
    Fut: Future<Output = Result<bool, E>>,
    BenchError: From<E>,
{
    let begun = Instant::now();
    let lanes = (0..in_flight).map(|lane| {
        let step = &step;
        async move {
            let mut latencies = histogram();
            while begun.elapsed() < time {
                let one = Instant::now();
                if !step(lane).await? {
                    break;
                }
                let micros = u64::try_from(one.elapsed().as_micros()).unwrap_or(u64::MAX);
                latencies.saturating_record(micros.max(1));
            }
            Ok::<_, E>(latencies)
        }
    });
    let results = join_all(lanes).await;
    let elapsed = begun.elapsed();
    let mut latencies = histogram();
    for result in results {
        latencies.add(result?).map_err(|error| std::io::Error::other(error.to_string()))?;
    }
    Ok(Measured { operations: latencies.len(), latencies, elapsed })
}

/// Three digits, one microsecond to a minute.
#[expect(clippy::expect_used, reason = "the bounds are constants within the allowed range")]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("valid bounds")
}
