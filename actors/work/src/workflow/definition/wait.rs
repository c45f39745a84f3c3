//! Steps that wait: for a signal, for some time, until a time.

use super::document::WaitDoc;
use super::problems::At;
use super::step::{check_text, one_of};
use crate::workflow::expression::{Names, Needs, Template, clip};
use chrono::DateTime;
use meshwork_proto::UnixMillis;
use serde_json::Value;

/// What a step waits for.
#[derive(Debug)]
pub(crate) enum Wait {
    /// A signal; what comes with it is the output.
    Signal {
        /// Its name.
        name: String,
        /// Most milliseconds; none = as long as the run may take.
        timeout_ms: Option<u64>,
    },
    /// So long.
    For {
        /// In milliseconds.
        ms: u64,
    },
    /// Until a time; the value is read with [`read_time`].
    Until(Template),
}

impl Wait {
    /// Reads it; none if it is wrong.
    pub(super) fn read(wait: WaitDoc, names: &Names<'_>, at: &mut At<'_>) -> Option<Self> {
        let members = [
            ("signal", wait.signal.is_some()),
            ("seconds", wait.seconds.is_some()),
            ("until", wait.until.is_some()),
        ];
        if let Err(problem) = one_of(&members) {
            at.add("wait", problem);
            return None;
        }
        if wait.timeout_s.is_some() && wait.signal.is_none() {
            at.add("wait.timeout_s", "belongs to a signal: a time passes by itself");
        }
        if let Some(name) = wait.signal {
            if let Err(problem) = check_text(&name) {
                at.add("wait.signal", problem);
            }
            return Some(Self::Signal { name, timeout_ms: wait.timeout_s.map(|time| time.ms) });
        }
        if let Some(time) = wait.seconds {
            return Some(Self::For { ms: time.ms });
        }
        let until = wait.until?;
        let template = Template::parse(until, names, &mut |field, problem| {
            at.add(format_args!("wait.until{field}"), problem);
        });
        if let Some(Err(problem)) = template.constant().map(read_time) {
            at.add("wait.until", problem);
        }
        Some(Self::Until(template))
    }

    /// What it reads.
    pub(super) fn needs(&self) -> Option<&Needs> {
        match self {
            Self::Signal { .. } | Self::For { .. } => None,
            Self::Until(template) => Some(template.needs()),
        }
    }

    /// What is waited for, in words.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Signal { name, .. } => format!("signal {name}"),
            Self::For { ms } if ms % 1000 == 0 => format!("{} s", ms / 1000),
            Self::For { ms } => format!("{ms} ms"),
            Self::Until(template) => match template.constant() {
                Some(Value::String(time)) => format!("until {}", clip(time)),
                Some(time) => format!("until {time} s"),
                None => "until a time that is computed".to_owned(),
            },
        }
    }
}

/// The time that a value stands for: text such as `2026-01-01T00:00:00Z`, or seconds since 1970.
///
/// # Errors
/// When it is neither, or a time before 1970.
pub(crate) fn read_time(value: &Value) -> Result<UnixMillis, String> {
    let expected = "expected a time such as 2026-01-01T00:00:00Z, or seconds since 1970";
    let wrong = || format!("{} is no time: {expected}", clip(&value.to_string()));
    let ms = match value {
        Value::String(text) => DateTime::parse_from_rfc3339(text).map_err(|_| wrong())?.timestamp_millis(),
        Value::Number(seconds) => {
            let seconds = seconds.as_f64().ok_or_else(wrong)?;
            let time = std::time::Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
            i64::try_from(time.as_millis()).map_err(|_| wrong())?
        }
        _ => return Err(wrong()),
    };
    u64::try_from(ms).map(UnixMillis).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_time_is_text_or_seconds() {
        assert_eq!(read_time(&json!("1970-01-01T00:00:01.5Z")), Ok(UnixMillis(1500)));
        assert_eq!(read_time(&json!("1970-01-01T02:00:00+02:00")), Ok(UnixMillis(0)));
        assert_eq!(read_time(&json!(1.5)), Ok(UnixMillis(1500)));
        for wrong in [
            json!("tomorrow"),
            json!(-1),
            json!(1e300),
            json!(null),
            json!("1969-12-31T23:59:59Z"),
            json!([]),
        ] {
            assert!(read_time(&wrong).unwrap_err().contains("expected a time such as"), "{wrong}");
        }
    }
}
