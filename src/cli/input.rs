//! Values on the command line that need more than a look: JSON from an argument, a file or standard input; times.

use crate::output::Failure;
use meshwork_proto::canonical::{self, Limits};
use serde_json::{Map, Value};
use std::io::Read;
use std::time::Duration;

/// Largest JSON document that is read.
pub(super) const MAX_BYTES: usize = 64 * 1024 * 1024;
/// Longest time that can be given: a year.
const MAX_SECONDS: f64 = 366.0 * 86_400.0;

/// Reads JSON as a flag gives it: the document itself, `@FILE`, or `-` for standard input.
///
/// # Errors
/// When it cannot be read, is too large, or is not the JSON that nodes accept.
pub(super) fn json(flag: &str, text: &str) -> Result<Value, Failure> {
    let (place, bytes) = match text.strip_prefix('@') {
        _ if text == "-" => {
            (format!("{flag}: standard input"), read(flag, "standard input", std::io::stdin().lock())?)
        }
        Some(path) => {
            let cannot = |error| Failure::usage(format!("{flag}: {path} cannot be read: {error}"));
            (format!("{flag}: {path}"), read(flag, path, std::fs::File::open(path).map_err(cannot)?)?)
        }
        None => (flag.to_owned(), text.as_bytes().to_vec()),
    };
    let limits = Limits { max_bytes: MAX_BYTES, ..Limits::default() };
    canonical::parse_strict(&bytes, &limits).map_err(|error| {
        let hint = if text.starts_with('{') || text.starts_with('@') || text == "-" {
            ""
        } else {
            "; texts need quotes of their own: --payload '\"hi\"'"
        };
        Failure::new(
            meshwork_proto::ErrorCode::InvalidJson,
            format!("{place} is not usable JSON: {error}{hint}"),
        )
    })
}

/// Reads all of a file or a stream.
///
/// # Errors
/// When it cannot be read or is too large.
pub(super) fn read(flag: &str, name: &str, reader: impl Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    reader
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::usage(format!("{flag}: {name} cannot be read: {error}")))?;
    if bytes.len() > MAX_BYTES {
        let message = format!("{flag}: {name} has more than {MAX_BYTES} bytes");
        return Err(Failure::new(meshwork_proto::ErrorCode::TooLarge, message));
    }
    Ok(bytes)
}

/// The same where only an object makes sense.
///
/// # Errors
/// As [`json`], and when it is no object.
pub(super) fn object(flag: &str, text: &str) -> Result<Map<String, Value>, Failure> {
    match json(flag, text)? {
        Value::Object(members) => Ok(members),
        _ => Err(Failure::usage(format!("{flag} is no JSON object: expected {{\"name\": value, ...}}"))),
    }
}

/// Units of times and their seconds; of two that end alike the longer one comes first.
const UNITS: [(&str, f64); 5] = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0)];

/// Reads a time in seconds, or with a unit, for clap.
pub(super) fn seconds(text: &str) -> Result<f64, String> {
    let unit = UNITS.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, *seconds)));
    let (number, unit) = unit.unwrap_or((text, 1.0));
    match number.parse::<f64>().map(|number| number * unit) {
        Ok(seconds) if (0.0..=MAX_SECONDS).contains(&seconds) => Ok(seconds),
        _ => Err(format!(
            "expected seconds from 0 to {MAX_SECONDS}, or a time such as 0.5, 30s, 10m, 2h or 1d"
        )),
    }
}

/// Checked seconds as a duration.
pub(super) fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn json_comes_from_the_argument_or_a_file() {
        assert_eq!(json("--payload", "{\"a\": 1}").unwrap(), json!({"a": 1}));
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[1, 2]").unwrap();
        assert_eq!(json("--payload", &format!("@{}", file.path().display())).unwrap(), json!([1, 2]));
    }

    #[test]
    fn what_is_no_json_says_where_and_how_it_would_be_right() {
        let failure = json("--payload", "hi").unwrap_err();
        let text = failure.render(false).unwrap();
        assert!(
            text.contains("--payload") && text.contains("quotes") && text.contains("(invalid_json)"),
            "{text}"
        );
        let twice = json("--payload", "{\"a\": 1, \"a\": 2}").unwrap_err();
        assert!(twice.render(false).unwrap().contains("invalid_json"));
        assert!(
            json("--payload", "@/nowhere/at/all")
                .unwrap_err()
                .render(false)
                .unwrap()
                .contains("/nowhere/at/all")
        );
        assert!(object("--args", "[1]").unwrap_err().render(false).unwrap().contains("object"));
    }

    #[test]
    fn seconds_are_finite_and_not_negative() {
        let times = [
            ("0.5", 0.5),
            ("500ms", 0.5),
            ("10s", 10.0),
            ("10m", 600.0),
            ("1.5h", 5400.0),
            ("2d", 172_800.0),
        ];
        for (text, expected) in times {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for wrong in ["-1", "nan", "inf", "soon", "1e99", "s", "", "10 years", "-5m", "1e99d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
