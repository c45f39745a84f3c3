//! How many fsyncs per second the disk gives: the bound on what is durable one by one.

use serde::Serialize;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Appends of 256 bytes, each followed by fdatasync.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct DiskRate {
    /// Per second.
    pub(super) fsyncs_per_second: f64,
    /// Median of one, in microseconds.
    pub(super) p50_us: u64,
    /// 99th percentile, in microseconds.
    pub(super) p99_us: u64,
}

impl fmt::Display for DiskRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0} fsyncs/s (p50 {} us, p99 {} us)", self.fsyncs_per_second, self.p50_us, self.p99_us)
    }
}

/// Measures for about a second.
#[expect(clippy::disallowed_methods, reason = "measures real time")]
pub(super) fn probe(dir: &Path) -> io::Result<DiskRate> {
    let path = dir.join("fsync-probe");
    let mut file = File::create(&path)?;
    let mut took: Vec<Duration> = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(1) {
        let one = Instant::now();
        file.write_all(&[7; 256])?;
        file.sync_data()?;
        took.push(one.elapsed());
    }
    let elapsed = begun.elapsed().as_secs_f64();
    std::fs::remove_file(&path)?;
    took.sort_unstable();
    let at = |part: usize| {
        took.get(took.len() * part / 100).map_or(0, |one| u64::try_from(one.as_micros()).unwrap_or(0))
    };
    #[expect(clippy::cast_precision_loss, reason = "a count of a second's fsyncs")]
    let count = took.len() as f64;
    Ok(DiskRate { fsyncs_per_second: count / elapsed, p50_us: at(50), p99_us: at(99) })
}
