//! Small texts that people read: durations, sizes, shortened lines.

/// A duration in seconds, with two or three digits that matter.
#[must_use]
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() || s < 0.0 => "-".into(),
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 10.0 => format!("{s:.1} s"),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3600.0),
        s => format!("{:.0} d", s / 86_400.0),
    }
}

/// How long ago a point in time was, both in seconds since the Unix epoch.
#[must_use]
pub(crate) fn age(at: f64, now: f64) -> String {
    if now < at { "now".into() } else { format!("{} ago", duration(now - at)) }
}

/// Hours, minutes and seconds of UTC of a point in time in seconds since the Unix epoch.
#[must_use]
pub(crate) fn time_of_day(at: f64) -> String {
    let seconds = if at.is_finite() { at.rem_euclid(86_400.0).floor() } else { 0.0 };
    let (hours, minutes) = ((seconds / 3600.0).floor(), (seconds / 60.0).floor() % 60.0);
    format!("{hours:02.0}:{minutes:02.0}:{:02.0}", seconds % 60.0)
}

/// A size in bytes.
#[must_use]
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

/// A number of things: `1 task`, `2 tasks`.
#[must_use]
pub(crate) fn counted(count: u64, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// The beginning of a text that has to fit into `most` characters.
#[must_use]
pub(crate) fn clip(text: &str, most: usize) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_show_what_matters() {
        let durations = [
            (0.000_2, "200 µs"),
            (0.25, "250 ms"),
            (3.25, "3.2 s"),
            (65.0, "65 s"),
            (600.0, "10 min"),
            (90_000.0, "25 h"),
        ];
        for (seconds, text) in durations {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(duration(f64::NAN), "-");
        assert_eq!([0, 1, 2].map(|count| counted(count, "task")), ["0 tasks", "1 task", "2 tasks"]);
        assert_eq!(age(100.0, 160.0), "60 s ago");
        assert_eq!(age(100.0, 90.0), "now");
        assert_eq!(time_of_day(86_400.0 + 3661.9), "01:01:01");
        let sizes =
            [(12, "12 B"), (2048, "2.0 KiB"), (300 * 1024 * 1024, "300 MiB"), (u64::MAX, "16777216 TiB")];
        for (count, text) in sizes {
            assert_eq!(bytes(count), text);
        }
    }

    #[test]
    fn a_clipped_text_is_one_line_and_says_that_it_goes_on() {
        assert_eq!(clip("one\ntwo  three", 20), "one two three");
        assert_eq!(clip("abcdefgh", 5), "abcd…");
    }
}
