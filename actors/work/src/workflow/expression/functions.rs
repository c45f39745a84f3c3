//! The functions that programs may call: the standard ones, some of the strings extension, and ours.
//!
//! Ours have names that start with `@`, which no author can write: the compiler puts them around or in the place of
//! operations whose work has to be counted, or which the crate only knows for its own lists and maps.

use super::budget::Meter;
use super::values::{Absent, length};
use cel::common::types::{
    CelBool, CelInt, CelList, CelMap, CelMapKey, CelNull, CelOptional, CelString, DYN_TYPE, Kind,
};
use cel::common::value::{CowVal, Val};
use cel::{Env, ExecutionError};
use std::sync::{Arc, LazyLock};

/// A function as the crate calls it.
type Function = for<'b, 'v> fn(Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError>;
type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// Ours: name, number of arguments (the first is the meter), and what it does.
const OURS: &[(&str, usize, Function)] = &[
    ("@give", 2, give),
    ("@look", 2, look),
    ("@copy", 2, copy),
    ("@tick", 3, tick),
    ("@each", 2, each),
    ("@equal", 3, equal),
    ("@unequal", 3, unequal),
    ("@within", 3, within),
    ("@has", 3, has),
    ("@matches", 3, matches),
    ("@replace", 4, replace),
    ("@split", 3, split),
    ("@join", 2, join),
    ("@join", 3, join),
    ("@numbers", 2, numbers),
];

/// Everything that programs can call.
#[expect(
    clippy::expect_used,
    reason = "the names are fixed and each is declared once: the first test that runs shows it"
)]
pub(super) static FUNCTIONS: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = Env::stdlib();
    env.add_extension(cel::extensions::strings).expect("the strings extension fits the standard library");
    for (name, arguments, function) in OURS {
        let types = std::iter::repeat_with(|| DYN_TYPE).take(*arguments).collect();
        env.add_overload(name, &format!("{name}_{arguments}"), types, *function)
            .expect("each is declared once");
    }
    Arc::new(env)
});

/// How a function is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// `f(x)`
    Global,
    /// `x.f(y)`
    Member,
}

use Style::{Global, Member};

/// What authors can call: name, style, and the least and the largest number of arguments.
///
/// Not there, though the crate has them: `format` (its width makes texts of any length), `indexOf` and `lastIndexOf`
/// (quadratic).
pub(super) const KNOWN: &[(&str, Style, usize, usize)] = &[
    ("size", Global, 1, 1),
    ("int", Global, 1, 1),
    ("uint", Global, 1, 1),
    ("double", Global, 1, 1),
    ("string", Global, 1, 1),
    ("bool", Global, 1, 1),
    ("bytes", Global, 1, 1),
    ("type", Global, 1, 1),
    ("dyn", Global, 1, 1),
    ("timestamp", Global, 1, 1),
    ("duration", Global, 1, 1),
    ("matches", Global, 2, 2),
    ("optional.of", Global, 1, 1),
    ("optional.ofNonZeroValue", Global, 1, 1),
    ("optional.none", Global, 0, 0),
    ("lists.range", Global, 1, 1),
    ("size", Member, 0, 0),
    ("contains", Member, 1, 1),
    ("startsWith", Member, 1, 1),
    ("endsWith", Member, 1, 1),
    ("matches", Member, 1, 1),
    ("charAt", Member, 1, 1),
    ("lowerAscii", Member, 0, 0),
    ("upperAscii", Member, 0, 0),
    ("trim", Member, 0, 0),
    ("substring", Member, 1, 2),
    ("split", Member, 1, 1),
    ("join", Member, 0, 1),
    ("replace", Member, 2, 2),
    ("hasValue", Member, 0, 0),
    ("value", Member, 0, 0),
    ("or", Member, 1, 1),
    ("orValue", Member, 1, 1),
    ("getFullYear", Member, 0, 1),
    ("getMonth", Member, 0, 1),
    ("getDate", Member, 0, 1),
    ("getDayOfMonth", Member, 0, 1),
    ("getDayOfWeek", Member, 0, 1),
    ("getDayOfYear", Member, 0, 1),
    ("getHours", Member, 0, 1),
    ("getMinutes", Member, 0, 1),
    ("getSeconds", Member, 0, 1),
    ("getMilliseconds", Member, 0, 1),
];

/// What the parser expands: they are calls only when their arguments are wrong.
pub(super) const MACROS: &[&str] = &["all", "exists", "exists_one", "existsOne", "map", "filter"];

/// The arguments of a call of ours; the compiler makes them, so there are always as many.
fn arguments<'b, 'v, const N: usize>(
    given: Vec<CowVal<'b, 'v>>,
) -> Result<[CowVal<'b, 'v>; N], ExecutionError> {
    given.try_into().map_err(|given: Vec<_>| ExecutionError::invalid_argument_count(N, given.len()))
}

fn meter<'a>(value: &'a CowVal<'_, '_>) -> Result<&'a Meter, ExecutionError> {
    value.downcast_ref::<Meter>().ok_or_else(ExecutionError::missing_argument_or_target)
}

fn text<'a>(function: &str, value: &'a CowVal<'_, '_>) -> Result<&'a str, ExecutionError> {
    value.downcast_ref::<CelString<'_>>().map(CelString::inner).ok_or_else(|| unfit(function, &[value]))
}

/// No such operation for values of these types.
fn unfit(function: &str, values: &[&CowVal<'_, '_>]) -> ExecutionError {
    let types = values.iter().map(|value| value.get_type().name().to_owned()).collect();
    ExecutionError::no_such_overload(function, types)
}

fn truth<'b, 'v>(value: bool) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelBool::from(value)))
}

/// The end of a program: its value is kept as JSON.
fn give<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, value] = arguments(given)?;
    meter(&count)?.give(value.as_ref());
    Ok(CowVal::owned(CelNull))
}

/// The value, which is looked at.
fn look<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, value] = arguments(given)?;
    meter(&count)?.charge_look(value.as_ref())?;
    Ok(value)
}

/// The value, which will be copied.
fn copy<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, value] = arguments(given)?;
    meter(&count)?.charge_copy(value.as_ref())?;
    Ok(value)
}

/// The value, once around a loop of which the price is given.
fn tick<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, price, value] = arguments(given)?;
    let price = price.downcast_ref::<CelInt>().and_then(|price| u64::try_from(*price.inner()).ok());
    meter(&count)?.charge(price.unwrap_or(1))?;
    Ok(value)
}

/// What a loop goes through: a list, or the keys of a map, in order (the crate's own maps have none).
fn each<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, value] = arguments(given)?;
    let count = meter(&count)?;
    count.charge_copy(value.as_ref())?;
    if let Some(map) = value.downcast_ref::<CelMap<'_>>() {
        let mut keys: Vec<&CelMapKey<'v>> = map.keys().collect();
        keys.sort();
        let keys: Vec<Box<dyn Val + 'v>> = keys.into_iter().map(|key| key.inner().clone_as_boxed()).collect();
        return Ok(CowVal::owned(CelList::from(keys)));
    }
    if value.get_type().kind() == Kind::Map {
        count.charge(length(value.as_ref()))?;
    }
    Ok(value)
}

fn equal<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, one, other] = arguments(given)?;
    truth(same(meter(&count)?, one.as_ref(), other.as_ref())?)
}

fn unequal<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, one, other] = arguments(given)?;
    truth(!same(meter(&count)?, one.as_ref(), other.as_ref())?)
}

/// Equality over all lists and maps, the crate's own and those of JSON.
fn same(count: &Meter, one: &dyn Val, other: &dyn Val) -> Result<bool, ExecutionError> {
    count.charge_look(one)?;
    match (one.get_type().kind(), other.get_type().kind()) {
        (Kind::NullType, Kind::NullType) => Ok(true),
        (Kind::List, Kind::List) => {
            let (Some(ones), Some(others)) = (one.as_iterable(), other.as_iterable()) else {
                return Ok(false);
            };
            if length(one) != length(other) {
                return Ok(false);
            }
            let (mut ones, mut others) = (ones.iter(), others.iter());
            while let (Some(one), Some(other)) = (ones.next(), others.next()) {
                if !same(count, one, other)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Kind::Map, Kind::Map) => {
            let (Some(keys), Some(ones), Some(others)) =
                (one.as_iterable(), one.as_indexer(), other.as_indexer())
            else {
                return Ok(false);
            };
            if length(one) != length(other) {
                return Ok(false);
            }
            let mut keys = keys.iter();
            while let Some(key) = keys.next() {
                count.charge_look(key)?;
                let Ok(theirs) = others.get(key) else { return Ok(false) };
                if !same(count, ones.get(key)?.as_ref(), theirs.as_ref())? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        _ => match (one.downcast_ref::<CelOptional<'_>>(), other.downcast_ref::<CelOptional<'_>>()) {
            (Some(one), Some(other)) => match (one.option(), other.option()) {
                (Some(one), Some(other)) => same(count, one, other),
                (one, other) => Ok(one.is_none() && other.is_none()),
            },
            _ => Ok(one.equals(other)),
        },
    }
}

/// `value in list` and `key in map`.
fn within<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, value, container] = arguments(given)?;
    let count = meter(&count)?;
    let is_map = container.get_type().kind() == Kind::Map;
    let (Some(indexer), Some(items)) = (container.as_indexer(), container.as_iterable()) else {
        return Err(unfit("in", &[&value, &container]));
    };
    if is_map {
        count.charge_look(value.as_ref())?;
        return match indexer.get(value.as_ref()) {
            Ok(_) => truth(true),
            Err(ExecutionError::NoSuchKey(_)) => truth(false),
            Err(_) => Err(unfit("in", &[&value, &container])),
        };
    }
    let mut items = items.iter();
    while let Some(item) = items.next() {
        if same(count, item, value.as_ref())? {
            return truth(true);
        }
    }
    truth(false)
}

/// `has(value.field)`: also false where the value is null, and where a step gave nothing.
fn has<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, value, field] = arguments(given)?;
    meter(&count)?.charge(1)?;
    let optional = value.downcast_ref::<CelOptional<'_>>();
    let inner: &dyn Val = match optional {
        Some(optional) => optional.option().unwrap_or(&CelNull),
        None => value.as_ref(),
    };
    if inner.get_type().kind() == Kind::NullType {
        return truth(false);
    }
    let Some(indexer) = inner.as_indexer().filter(|_| inner.get_type().kind() == Kind::Map) else {
        return Err(unfit("has", &[&value]));
    };
    match indexer.get(field.as_ref()) {
        Ok(found) => truth(found.downcast_ref::<Absent>().is_none()),
        Err(ExecutionError::NoSuchKey(_)) => truth(false),
        Err(error) => Err(error),
    }
}

fn matches<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, value, pattern] = arguments(given)?;
    let (value, pattern) = (text("matches", &value)?, text("matches", &pattern)?);
    let count = meter(&count)?;
    let compiled = count.pattern(pattern)?;
    // Linear in the text, times the size of the pattern at worst.
    count.charge_text(value.len().saturating_mul(1 + pattern.len() / 8))?;
    truth(compiled.is_match(value))
}

fn replace<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, value, from, to] = arguments(given)?;
    let (value, from, to) = (text("replace", &value)?, text("replace", &from)?, text("replace", &to)?);
    let count = meter(&count)?;
    let (mut replaced, mut rest) = (String::new(), 0);
    for (at, found) in value.match_indices(from) {
        let kept = value.get(rest..at).unwrap_or_default();
        count.charge_text(kept.len() + to.len())?;
        replaced.push_str(kept);
        replaced.push_str(to);
        rest = at + found.len();
    }
    let kept = value.get(rest..).unwrap_or_default();
    count.charge_text(kept.len())?;
    replaced.push_str(kept);
    Ok(CowVal::owned(CelString::from(replaced)))
}

fn split<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, value, separator] = arguments(given)?;
    let (value, separator) = (text("split", &value)?, text("split", &separator)?);
    let count = meter(&count)?;
    let mut parts: Vec<Box<dyn Val + 'v>> = Vec::new();
    let mut add = |part: &str| {
        count.charge_text(part.len())?;
        parts.push(Box::new(CelString::from(part.to_owned())));
        Ok::<_, ExecutionError>(())
    };
    if separator.is_empty() {
        value.chars().try_for_each(|letter| add(letter.encode_utf8(&mut [0; 4])))?;
    } else {
        value.split(separator).try_for_each(add)?;
    }
    Ok(CowVal::owned(CelList::from(parts)))
}

fn join<'b, 'v>(mut given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let separator = if given.len() > 2 { given.pop() } else { None };
    let [count, list] = arguments(given)?;
    let separator = separator.as_ref().map_or(Ok(""), |separator| text("join", separator))?;
    let count = meter(&count)?;
    let Some(items) = list.as_iterable().filter(|_| list.get_type().kind() == Kind::List) else {
        return Err(unfit("join", &[&list]));
    };
    let (mut joined, mut items, mut first) = (String::new(), items.iter(), true);
    while let Some(item) = items.next() {
        let Some(item) = item.downcast_ref::<CelString<'_>>() else {
            let types = vec![format!("list with {}", item.get_type().name())];
            return Err(ExecutionError::no_such_overload("join", types));
        };
        let separator = if std::mem::take(&mut first) { "" } else { separator };
        count.charge_text(separator.len() + item.len())?;
        joined.push_str(separator);
        joined.push_str(item.inner());
    }
    Ok(CowVal::owned(CelString::from(joined)))
}

/// `lists.range(n)`: the numbers from 0 to n - 1.
fn numbers<'b, 'v>(given: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let [count, end] = arguments(given)?;
    let Some(end) = end.downcast_ref::<CelInt>().map(|end| *end.inner()) else {
        return Err(unfit("lists.range", &[&end]));
    };
    meter(&count)?.charge(1 + u64::try_from(end).unwrap_or_default())?;
    let numbers: Vec<Box<dyn Val + 'v>> =
        (0..end).map(|number| Box::new(CelInt::from(number)) as _).collect();
    Ok(CowVal::owned(CelList::from(numbers)))
}
