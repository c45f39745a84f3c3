//! What a program gave, as JSON.

use super::budget::{MAX_DEPTH, Meter};
use super::error::Stop;
use cel::common::types::{
    CelBool, CelDouble, CelDuration, CelInt, CelMap, CelOptional, CelString, CelTimestamp, CelUInt, Kind,
};
use cel::common::value::Val;
use meshwork_proto::canonical::MAX_SAFE_INTEGER;
use serde_json::{Map, Number, Value};

/// Doubles from here on are whole numbers that JSON readers do not agree about.
const UNSAFE_DOUBLE: f64 = 9_007_199_254_740_992.0;
/// Doubles from here on are written with an exponent, which all read alike.
const EXPONENT_DOUBLE: f64 = 1e21;

/// The JSON of a value: times and durations become text, keys of maps too.
pub(super) fn of(value: &dyn Val, meter: &Meter) -> Result<Value, Stop> {
    Writer { meter }.write(value, 0)
}

struct Writer<'a> {
    meter: &'a Meter,
}

impl Writer<'_> {
    fn write(&self, value: &dyn Val, depth: usize) -> Result<Value, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Failed(format!("gives a value that is nested deeper than {MAX_DEPTH}")));
        }
        let text = |text: &str| {
            self.spend(self.meter.charge_text(text.len()))?;
            Ok(Value::from(text))
        };
        match value.get_type().kind() {
            Kind::NullType => Ok(Value::Null),
            Kind::Boolean => Ok(value.downcast_ref::<CelBool>().map(|truth| *truth.inner()).into()),
            Kind::Int => value.downcast_ref::<CelInt>().map_or(Ok(Value::Null), |whole| int(*whole.inner())),
            Kind::UInt => value.downcast_ref::<CelUInt>().map_or(Ok(Value::Null), |whole| {
                i64::try_from(*whole.inner()).map_or_else(|_| Err(too_large(whole.inner())), int)
            }),
            Kind::Double => {
                value.downcast_ref::<CelDouble>().map_or(Ok(Value::Null), |number| double(*number.inner()))
            }
            Kind::String => text(value.downcast_ref::<CelString<'_>>().map_or("", |text| text.inner())),
            Kind::List => self.list(value, depth),
            Kind::Map => self.map(value, depth),
            Kind::Timestamp => {
                let time = value.downcast_ref::<CelTimestamp>();
                text(&time.map(|time| time.inner().to_rfc3339()).unwrap_or_default())
            }
            Kind::Duration => {
                let time = value.downcast_ref::<CelDuration>().map(|time| time.inner().as_seconds_f64());
                text(&format!("{}s", time.unwrap_or_default()))
            }
            _ => match value.downcast_ref::<CelOptional<'_>>() {
                Some(optional) => {
                    optional.option().map_or(Ok(Value::Null), |inner| self.write(inner, depth + 1))
                }
                None => {
                    let kind = value.get_type().name();
                    Err(Stop::Failed(format!(
                        "gives a value of type {kind}, which JSON cannot hold: use string(...)"
                    )))
                }
            },
        }
    }

    fn list(&self, value: &dyn Val, depth: usize) -> Result<Value, Stop> {
        let mut items = Vec::new();
        if let Some(list) = value.as_iterable() {
            let mut values = list.iter();
            while let Some(item) = values.next() {
                self.spend(self.meter.charge(1))?;
                items.push(self.write(item, depth + 1)?);
            }
        }
        Ok(Value::Array(items))
    }

    fn map(&self, value: &dyn Val, depth: usize) -> Result<Value, Stop> {
        let mut members = Map::new();
        let mut add = |key: &dyn Val, item: &dyn Val| {
            let name = match self.write(key, depth + 1)? {
                Value::String(name) => name,
                other => other.to_string(),
            };
            self.spend(self.meter.charge(2))?;
            let item = self.write(item, depth + 1)?;
            match members.insert(name, item) {
                None => Ok(()),
                Some(_) => {
                    Err(Stop::Failed("gives a map with two keys that are the same as text".to_owned()))
                }
            }
        };
        if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
            map.iter().try_for_each(|(key, item)| add(key.inner(), item.as_ref()))?;
        } else if let (Some(keys), Some(map)) = (value.as_iterable(), value.as_indexer()) {
            let mut keys = keys.iter();
            while let Some(key) = keys.next() {
                let item = map.get(key).map_err(|_| Stop::Failed("gives a map that changed".to_owned()))?;
                add(key, item.as_ref())?;
            }
        }
        Ok(Value::Object(members))
    }

    /// Only an empty budget stops a writer.
    fn spend(&self, charged: Result<(), cel::ExecutionError>) -> Result<(), Stop> {
        charged.map_err(|_| Stop::OutOfBudget)
    }
}

fn int(whole: i64) -> Result<Value, Stop> {
    if (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).contains(&whole) {
        Ok(whole.into())
    } else {
        Err(too_large(&whole))
    }
}

fn double(number: f64) -> Result<Value, Stop> {
    if (UNSAFE_DOUBLE..EXPONENT_DOUBLE).contains(&number.abs()) {
        return Err(too_large(&number));
    }
    let written = Number::from_f64(number).map(Value::Number);
    written.ok_or_else(|| Stop::Failed(format!("gives {number}, which JSON has no number for")))
}

fn too_large(number: &dyn std::fmt::Display) -> Stop {
    Stop::Failed(format!("gives {number}, which is larger than JSON numbers are exact: use string(...)"))
}
