//! When a schedule's times are: cron expressions in a time zone, and intervals. The only place that names croner and
//! chrono.
//!
//! A time that a change to summer time leaves out is made up for right after the gap if the expression names one time of
//! the day (`30 2 * * *`), and left out if it names many (`*/30 * * * *`). A time that comes twice when summer time ends
//! is taken once, the first time, in the former case, and twice in the latter: as Vixie cron does it.

use chrono::{DateTime, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use croner::Cron;
use croner::errors::CronError;
use croner::parser::{CronParser, Year};
use meshwork_proto::UnixMillis;
use meshwork_proto::schedule::{ScheduleError, Timing};
use std::collections::VecDeque;

/// Longest cron expression, in bytes.
const MAX_EXPRESSION: usize = 200;
/// Longest name of a time zone that is shown in an error, in characters.
const MAX_SHOWN: usize = 80;
/// Shortest interval, in milliseconds.
const MIN_INTERVAL: u64 = 1000;
/// Longest interval, in milliseconds: ten years.
const MAX_INTERVAL: u64 = 10 * 365 * 24 * 3600 * 1000;
/// Times that passed are counted up to so many: more cost more than their number is worth.
const MAX_COUNTED: u64 = 1000;
/// croner gives up on a gap of more than two hours, such as the day that Samoa left out in 2011: then the search begins
/// anew an hour later, and so on, this often.
const LONGEST_GAP: u64 = 48;

/// The times of a schedule.
#[derive(Debug)]
pub(crate) enum Times {
    /// By the clock on the wall somewhere.
    Cron { cron: Box<Cron>, zone: Tz },
    /// Every so many milliseconds, counted from a moment.
    Every { from: UnixMillis, interval_ms: u64 },
    /// None: what was read from the store makes no sense to this build.
    Never,
}

/// Times that passed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Passed {
    /// The latest of them, oldest first.
    pub latest: VecDeque<UnixMillis>,
    /// All of them, counted up to a thousand.
    pub count: u64,
}

impl Times {
    /// The times of a schedule that is made at `created`.
    ///
    /// # Errors
    /// When the expression, the time zone or the interval is not one, or there is no such time.
    pub(crate) fn read(timing: &Timing, created: UnixMillis) -> Result<Self, ScheduleError> {
        match timing {
            Timing::Every { interval_ms } => {
                if !(MIN_INTERVAL..=MAX_INTERVAL).contains(interval_ms) {
                    let problem = format!("{interval_ms} ms is out of range: expected 1 second to 10 years");
                    return Err(ScheduleError::Invalid { field: "interval", problem });
                }
                Ok(Self::Every { from: created, interval_ms: *interval_ms })
            }
            Timing::Cron { expression, timezone } => {
                let times = Self::Cron { cron: Box::new(read_cron(expression)?), zone: read_zone(timezone)? };
                if times.next_after(created).is_none() {
                    let problem = format!("{expression:?} stands for a time that never comes");
                    return Err(ScheduleError::Invalid { field: "cron", problem });
                }
                Ok(times)
            }
        }
    }

    /// The first time after `at`.
    pub(crate) fn next_after(&self, at: UnixMillis) -> Option<UnixMillis> {
        match self {
            Self::Cron { cron, zone } => next_cron(cron, *zone, at),
            Self::Every { from, interval_ms } => nth(*from, *interval_ms, steps(*from, *interval_ms, at) + 1),
            Self::Never => None,
        }
    }

    /// The times after `after` up to `until`: how many there are, and the latest `keep` of them.
    pub(crate) fn passed(&self, after: UnixMillis, until: UnixMillis, keep: usize) -> Passed {
        match self {
            Self::Cron { cron, zone } => passed_cron(cron, *zone, (after, until), keep),
            Self::Every { from, interval_ms } => {
                let (first, last) = (steps(*from, *interval_ms, after), steps(*from, *interval_ms, until));
                let count = u64::try_from(last - first).unwrap_or(0);
                let kept = i128::from(count.min(keep as u64));
                let latest = (last - kept + 1..=last).filter_map(|n| nth(*from, *interval_ms, n)).collect();
                Passed { latest, count }
            }
            Self::Never => Passed::default(),
        }
    }
}

/// How many whole intervals lie between two moments; negative when the clock was set back to before the first.
fn steps(from: UnixMillis, interval_ms: u64, at: UnixMillis) -> i128 {
    (i128::from(at.0) - i128::from(from.0)).div_euclid(i128::from(interval_ms.max(1)))
}

fn nth(from: UnixMillis, interval_ms: u64, n: i128) -> Option<UnixMillis> {
    u64::try_from(i128::from(from.0) + n * i128::from(interval_ms)).ok().map(UnixMillis)
}

/// The moment in its zone, without its fraction of a second.
fn local(zone: Tz, at: UnixMillis) -> Option<DateTime<Tz>> {
    let seconds = i64::try_from(at.0 / 1000).ok()?;
    Some(DateTime::<Utc>::from_timestamp(seconds, 0)?.with_timezone(&zone))
}

fn unix(at: &DateTime<Tz>) -> Option<UnixMillis> {
    u64::try_from(at.timestamp_millis()).ok().map(UnixMillis)
}

fn next_cron(cron: &Cron, zone: Tz, at: UnixMillis) -> Option<UnixMillis> {
    for hour in 0..=LONGEST_GAP {
        let from = UnixMillis(at.0.saturating_add(hour * 3600 * 1000));
        match cron.find_next_occurrence(&local(zone, from)?, false) {
            Ok(next) => return unix(&next),
            Err(CronError::TimeSearchLimitExceeded) => {}
            Err(_) => return None,
        }
        // Where there are no gaps there is no such time either: it never comes.
        cron.find_next_occurrence(&local(Tz::UTC, from)?, false).ok()?;
    }
    None
}

fn passed_cron(cron: &Cron, zone: Tz, (after, until): (UnixMillis, UnixMillis), keep: usize) -> Passed {
    let mut passed = Passed::default();
    let Some(until) = local(zone, until) else { return passed };
    let mut found = cron.find_previous_occurrence(&until, true);
    while let Ok(time) = found {
        let Some(at) = unix(&time).filter(|at| *at > after) else { break };
        passed.count += 1;
        if passed.latest.len() < keep {
            passed.latest.push_front(at);
        }
        if passed.count >= MAX_COUNTED {
            break;
        }
        found = cron.find_previous_occurrence(&time, false);
    }
    passed
}

fn read_cron(expression: &str) -> Result<Cron, ScheduleError> {
    let invalid = |problem| ScheduleError::Invalid { field: "cron", problem };
    if expression.len() > MAX_EXPRESSION {
        let text = format!("expression of {} bytes is too long: at most {MAX_EXPRESSION}", expression.len());
        return Err(invalid(text));
    }
    CronParser::builder().year(Year::Disallowed).build().parse(expression).map_err(|error| {
        let error = error.to_string();
        invalid(format!(
            "{expression:?} is not a cron expression ({}): expected five fields, \"minute hour day month weekday\" \
             such as \"30 9 * * MON-FRI\", or six with seconds first, or @hourly, @daily, @weekly, @monthly, @yearly",
            error.trim_end_matches('.')
        ))
    })
}

fn read_zone(name: &str) -> Result<Tz, ScheduleError> {
    name.parse().map_err(|_| {
        let shown: String = name.chars().take(MAX_SHOWN).collect();
        let nearest = nearest_zone(&shown).map_or_else(String::new, |zone| format!(" (did you mean {zone}?)"));
        let problem = format!(
            "{shown:?} is not the name of a time zone{nearest}: expected an IANA name such as Europe/Berlin, or UTC"
        );
        ScheduleError::Invalid { field: "timezone", problem }
    })
}

/// The zone whose name, or whose town, looks most like this one.
fn nearest_zone(name: &str) -> Option<&'static str> {
    let wanted = name.to_lowercase().replace(' ', "_");
    let likeness = |zone: &str| {
        let zone = zone.to_lowercase();
        let town = zone.rsplit('/').next().unwrap_or(&zone);
        strsim::jaro_winkler(&wanted, &zone).max(strsim::jaro_winkler(&wanted, town))
    };
    let all = TZ_VARIANTS.iter().map(|zone| (likeness(zone.name()), zone.name()));
    all.filter(|(likeness, _)| *likeness > 0.85).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

#[cfg(test)]
mod tests;
