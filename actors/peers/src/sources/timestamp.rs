//! Points in time as registries write them: ISO 8601 as Python's `isoformat` has it, and the `Date` of HTTP.
//!
//! Three forms are all there is to read, so a calendar of forty lines is enough; the two conversions between days and
//! dates are the well-known ones for the proleptic Gregorian calendar.

use meshwork_proto::UnixMillis;

const MILLIS_PER_DAY: u64 = 86_400_000;
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Writes a time as the Python nodes do, in UTC with its offset: `2023-11-14T22:13:20.000000+00:00`.
pub(crate) fn to_iso(time: UnixMillis) -> String {
    let (year, month, day) = date_of(time.0 / MILLIS_PER_DAY);
    let of_day = time.0 % MILLIS_PER_DAY;
    let (hour, minute, second) = (of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1_000 % 60);
    // Six digits: Python before 3.11 reads three or six, and writes six.
    let micros = of_day % 1_000 * 1_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}+00:00")
}

/// Reads ISO 8601: date and time, a fraction if there is one, `Z` or an offset. Without an offset it is UTC, which is
/// what nodes that wrote none meant. Times before 1970 are none.
pub(crate) fn from_iso(text: &str) -> Option<UnixMillis> {
    let (date, time) = text.trim().split_once(['T', 't', ' '])?;
    let [year, month, day] = numbers(date, '-')?;
    let (clock, offset_s) = split_offset(time)?;
    let (clock, fraction) = clock.split_once(['.', ',']).unwrap_or((clock, ""));
    let [hour, minute, second] = match clock.matches(':').count() {
        1 => numbers(&format!("{clock}:0"), ':')?,
        _ => numbers(clock, ':')?,
    };
    let seconds = seconds_of([year, month, day], [hour, minute, second])?.checked_add_signed(-offset_s)?;
    Some(UnixMillis(seconds.checked_mul(1_000)?.checked_add(millis_of(fraction)?)?))
}

/// Reads the `Date` header of HTTP (RFC 9110 section 5.6.7, the fixed-length form): `Tue, 14 Nov 2023 22:13:20 GMT`.
pub(crate) fn from_http(text: &str) -> Option<UnixMillis> {
    let mut words = text.trim().split_once(", ")?.1.split(' ');
    let day = number(words.next()?)?;
    let named = words.next()?;
    let month = MONTHS.iter().position(|month| *month == named)?;
    let year = number(words.next()?)?;
    let clock = numbers(words.next()?, ':')?;
    if words.next() != Some("GMT") || words.next().is_some() {
        return None;
    }
    let date = [year, u64::try_from(month).ok()? + 1, day];
    Some(UnixMillis(seconds_of(date, clock)?.checked_mul(1_000)?))
}

/// Seconds since the epoch from fractional ones, as Python's `time.time()` gives them.
pub(crate) fn from_seconds(seconds: f64) -> Option<UnixMillis> {
    let since = std::time::Duration::try_from_secs_f64(seconds).ok()?;
    Some(UnixMillis(u64::try_from(since.as_millis()).ok()?))
}

/// A time as Python's `time.time()` gives it.
pub(crate) fn to_seconds(time: UnixMillis) -> f64 {
    std::time::Duration::from_millis(time.0).as_secs_f64()
}

fn number(text: &str) -> Option<u64> {
    // Nothing that is written here has more digits, and a sign is no digit.
    (text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let mut parts = text.split(between).map(number);
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}

/// The time of day without its offset, and the offset in seconds east of Greenwich.
fn split_offset(time: &str) -> Option<(&str, i64)> {
    if let Some(clock) = time.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = time.find(['+', '-']) else {
        return Some((time, 0));
    };
    let (clock, offset) = time.split_at_checked(at)?;
    let (sign, digits) = offset.split_at_checked(1)?;
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    let (hours, minutes) = digits.split_at_checked(2)?;
    let minutes = if minutes.is_empty() { 0 } else { number(minutes.get(..2)?)? };
    let seconds = i64::try_from(number(hours)? * 3_600 + minutes * 60).ok()?;
    (seconds <= 24 * 3_600).then_some((clock, if sign == "-" { -seconds } else { seconds }))
}

fn millis_of(fraction: &str) -> Option<u64> {
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number(&format!("{fraction:0<3}")[..3])
}

/// Seconds since the epoch of a date and a time in UTC; a leap second counts as the one before it.
fn seconds_of([year, month, day]: [u64; 3], [hour, minute, second]: [u64; 3]) -> Option<u64> {
    let sensible = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second <= 60;
    sensible.then(|| days_to(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second.min(59))
}

/// Days from 1970-01-01 to a date not before it. Years begin in March here, so that a leap day is a year's last.
fn days_to(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    era * 146_097 + days - 719_468
}

/// Year, month and day, so many days after 1970-01-01.
fn date_of(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KNOWN: UnixMillis = UnixMillis(1_700_000_000_000);

    #[test]
    fn times_are_written_as_python_writes_them() {
        assert_eq!(to_iso(KNOWN), "2023-11-14T22:13:20.000000+00:00");
        assert_eq!(to_iso(UnixMillis(0)), "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(to_iso(UnixMillis(1_709_164_800_123)), "2024-02-29T00:00:00.123000+00:00");
    }

    #[test]
    fn every_form_that_registries_hold_is_read() {
        for same in [
            "2023-11-14T22:13:20.000000+00:00",
            "2023-11-14T22:13:20Z",
            "2023-11-14 22:13:20",
            "2023-11-14T22:13:20.000",
            "2023-11-15T00:13:20+02:00",
            "2023-11-14T16:43:20-05:30",
            "2023-11-14T22:13:20+0000",
        ] {
            assert_eq!(from_iso(same), Some(KNOWN), "{same}");
        }
        assert_eq!(from_iso("2023-11-14T22:13"), Some(UnixMillis(1_699_999_980_000)));
        assert_eq!(from_http("Tue, 14 Nov 2023 22:13:20 GMT"), Some(KNOWN));
        assert_eq!(from_seconds(to_seconds(KNOWN)), Some(KNOWN));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for junk in [
            "",
            "yesterday",
            "2023-11-14",
            "2023-13-14T22:13:20Z",
            "2023-11-14T25:13:20Z",
            "1969-12-31T23:59:59Z",
            "2023-11-14T22:13:20+99:00",
            "2023-11-14T22:13:20.x",
            "9999999-11-14T22:13:20Z",
            "+2023-11-14T22:13:20",
        ] {
            assert_eq!(from_iso(junk), None, "{junk}");
        }
        assert_eq!(from_http("Tuesday, 14-Nov-23 22:13:20 GMT"), None);
        for junk in [f64::NAN, f64::INFINITY, -1.0] {
            assert_eq!(from_seconds(junk), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0u64..253_402_300_800_000) {
            prop_assert_eq!(from_iso(&to_iso(UnixMillis(millis))), Some(UnixMillis(millis)));
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,40}") {
            let _ = (from_iso(&text), from_http(&text));
        }

        #[test]
        fn no_text_that_looks_like_a_time_makes_it_panic(text in "[0-9T:+.Zé -]{0,40}") {
            let _ = (from_iso(&text), from_http(&format!("Tue, {text}")));
        }
    }
}
