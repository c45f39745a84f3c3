//! JSON as values of CEL, without copying it: lists and objects borrow, and turn into values where they are entered.

use super::program::Variables;
use super::scope::StepOutcome;
use cel::ExecutionError;
use cel::common::traits::{self, Adder, Indexer, Iterable, Sizer, Zeroer};
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelNull, CelString, CelUInt, Kind, LIST_TYPE, MAP_TYPE, NULL_TYPE,
    Type,
};
use cel::common::value::{CowVal, StaticVal, Val};
use serde_json::{Map, Value};
use std::any::Any;
use std::sync::OnceLock;

static LIST: Type = LIST_TYPE;
static MAP: Type = MAP_TYPE;
static NULL: Type = NULL_TYPE;

/// The value that JSON stands for.
pub(super) fn boxed<'v>(value: &'v Value) -> Box<dyn Val + 'v> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(whole), _) => Box::new(CelInt::from(whole)),
            (None, Some(whole)) => Box::new(CelUInt::from(whole)),
            (None, None) => Box::new(CelDouble::from(number.as_f64().unwrap_or_default())),
        },
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => Box::new(JsonList { items, entered: OnceLock::new() }),
        Value::Object(members) => Box::new(JsonMap { members, entered: OnceLock::new() }),
    }
}

/// How many elements a list or map has.
pub(super) fn length(value: &dyn Val) -> u64 {
    value.as_sizer().and_then(|sizer| u64::try_from(*sizer.size().inner()).ok()).unwrap_or_default()
}

fn size(len: usize) -> CelInt {
    i64::try_from(len).unwrap_or(i64::MAX).into()
}

/// Lends the elements of a list of values, one after the other.
struct Lend<'b, 'v>(std::slice::Iter<'b, Box<dyn Val + 'v>>);

impl<'b, 'v: 'w, 'w> traits::Iterator<'b, 'w> for Lend<'b, 'v> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'w)> {
        self.0.next().map(|value| value.as_ref() as &(dyn Val + 'w))
    }
}

/// A list of JSON.
pub(super) struct JsonList<'v> {
    items: &'v [Value],
    /// Its elements as values, made when somebody goes through them: an iterator can only lend what exists.
    entered: OnceLock<Vec<Box<dyn Val + 'v>>>,
}

impl std::fmt::Debug for JsonList<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "list of {}", self.items.len())
    }
}

impl<'v> Val for JsonList<'v> {
    fn get_type(&self) -> &Type {
        &LIST
    }

    fn cel_type() -> &'static Type {
        &LIST
    }

    fn as_adder<'b, 'w>(&'b self) -> Option<&'b (dyn Adder + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn as_iterable<'b, 'w>(&'b self) -> Option<&'b (dyn Iterable + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn as_zeroer(&self) -> Option<&dyn Zeroer> {
        Some(self)
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(JsonList { items: self.items, entered: OnceLock::new() })
    }
}

impl Adder for JsonList<'_> {
    fn add<'b, 'w>(&'b self, rhs: &(dyn Val + 'w)) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        let Some(others) = rhs.as_iterable().filter(|_| rhs.get_type() == &LIST) else {
            let types = vec!["list".to_owned(), rhs.get_type().name().to_owned()];
            return Err(ExecutionError::no_such_overload("_+_", types));
        };
        let mut sum: Vec<Box<dyn Val + 'w>> = self.items.iter().map(|item| boxed(item) as _).collect();
        let mut others = others.iter();
        while let Some(other) = others.next() {
            sum.push(other.clone_as_boxed());
        }
        Ok(CowVal::owned(CelList::from(sum)))
    }
}

impl Indexer for JsonList<'_> {
    fn get<'b, 'w>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        let index = position(index)?;
        let item = usize::try_from(index).ok().and_then(|index| self.items.get(index));
        item.map(|item| CowVal::Owned(boxed(item)))
            .ok_or_else(|| ExecutionError::IndexOutOfBounds(index.into()))
    }

    fn steal<'w>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'w>, ExecutionError>
    where
        Self: 'w,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

/// The index that a whole number of any type is; numbers that no list reaches become one that none has.
fn position(index: &dyn Val) -> Result<i64, ExecutionError> {
    if let Some(index) = index.downcast_ref::<CelInt>() {
        return Ok(*index.inner());
    }
    if let Some(index) = index.downcast_ref::<CelUInt>() {
        return Ok(i64::try_from(*index.inner()).unwrap_or(i64::MAX));
    }
    if let Some(index) = index.downcast_ref::<CelDouble>()
        && index.inner().fract() == 0.0
        && let Ok(index) = format!("{:.0}", index.inner()).parse()
    {
        return Ok(index);
    }
    let types = vec!["list".to_owned(), index.get_type().name().to_owned()];
    Err(ExecutionError::no_such_overload("_[_]", types))
}

impl<'v> Iterable for JsonList<'v> {
    fn iter<'b, 'w>(&'b self) -> Box<dyn traits::Iterator<'b, 'w> + 'b>
    where
        Self: 'w,
    {
        let entered: &'b Vec<Box<dyn Val + 'v>> =
            self.entered.get_or_init(|| self.items.iter().map(boxed).collect());
        Box::new(Lend(entered.iter()))
    }
}

impl Sizer for JsonList<'_> {
    fn size(&self) -> CelInt {
        size(self.items.len())
    }
}

impl Zeroer for JsonList<'_> {
    fn is_zero_value(&self) -> bool {
        self.items.is_empty()
    }
}

/// An object of JSON. It gives its keys in order.
pub(super) struct JsonMap<'v> {
    members: &'v Map<String, Value>,
    /// Its keys as values, made when somebody goes through them.
    entered: OnceLock<Vec<Box<dyn Val + 'v>>>,
}

impl std::fmt::Debug for JsonMap<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "map of {}", self.members.len())
    }
}

impl<'v> Val for JsonMap<'v> {
    fn get_type(&self) -> &Type {
        &MAP
    }

    fn cel_type() -> &'static Type {
        &MAP
    }

    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn as_iterable<'b, 'w>(&'b self) -> Option<&'b (dyn Iterable + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        Some(self)
    }

    fn as_zeroer(&self) -> Option<&dyn Zeroer> {
        Some(self)
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(JsonMap { members: self.members, entered: OnceLock::new() })
    }
}

impl Indexer for JsonMap<'_> {
    fn get<'b, 'w>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        let Some(name) = key.downcast_ref::<CelString<'_>>() else {
            let kind = key.get_type();
            return Err(match kind.kind() {
                // What could be the key of a map; of JSON it is not.
                Kind::Boolean | Kind::Int | Kind::UInt | Kind::Double => {
                    ExecutionError::no_such_key(&format!("of type {}", kind.name()))
                }
                _ => ExecutionError::no_such_overload("_[_]", vec!["map".to_owned(), kind.name().to_owned()]),
            });
        };
        let member = self.members.get(name.inner());
        member
            .map(|member| CowVal::Owned(boxed(member)))
            .ok_or_else(|| ExecutionError::no_such_key(&super::clip(name.inner())))
    }

    fn steal<'w>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'w>, ExecutionError>
    where
        Self: 'w,
    {
        self.get(key).map(CowVal::into_owned)
    }
}

impl<'v> Iterable for JsonMap<'v> {
    fn iter<'b, 'w>(&'b self) -> Box<dyn traits::Iterator<'b, 'w> + 'b>
    where
        Self: 'w,
    {
        let key = |name: &'v String| Box::new(CelString::from(name.as_str())) as Box<dyn Val + 'v>;
        let entered: &'b Vec<Box<dyn Val + 'v>> =
            self.entered.get_or_init(|| self.members.keys().map(key).collect());
        Box::new(Lend(entered.iter()))
    }
}

impl Sizer for JsonMap<'_> {
    fn size(&self) -> CelInt {
        size(self.members.len())
    }
}

impl Zeroer for JsonMap<'_> {
    fn is_zero_value(&self) -> bool {
        self.members.is_empty()
    }
}

/// The output of a step that has none: null, and so is everything in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Absent;

impl Val for Absent {
    fn get_type(&self) -> &Type {
        &NULL
    }

    fn cel_type() -> &'static Type {
        &NULL
    }

    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w> {
        Box::new(*self)
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl StaticVal for Absent {}

impl Indexer for Absent {
    fn get<'b, 'w>(&'b self, _: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        Ok(CowVal::owned(Self))
    }

    fn steal<'w>(self: Box<Self>, _: &dyn Val) -> Result<Box<dyn Val + 'w>, ExecutionError>
    where
        Self: 'w,
    {
        Ok(self)
    }
}

/// The name `steps`, or, with a place, one of them.
#[derive(Clone, Copy)]
pub(super) struct Steps<'v> {
    pub(super) variables: &'v Variables<'v>,
    /// Index into the steps that the program refers to.
    pub(super) step: Option<usize>,
}

impl std::fmt::Debug for Steps<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.step.is_some() { "step" } else { "steps" })
    }
}

impl Val for Steps<'_> {
    fn get_type(&self) -> &Type {
        &MAP
    }

    fn cel_type() -> &'static Type {
        &MAP
    }

    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(*self)
    }
}

impl Indexer for Steps<'_> {
    fn get<'b, 'w>(&'b self, key: &dyn Val) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        let name = key.downcast_ref::<CelString<'_>>().map(CelString::inner).unwrap_or_default();
        let Some(step) = self.step else {
            return match self.variables.step(name) {
                Some(step) => Ok(CowVal::owned(Steps { variables: self.variables, step: Some(step) })),
                None => Err(ExecutionError::no_such_key(&super::clip(name))),
            };
        };
        let outcome = self.variables.outcome(step);
        match name {
            "output" => Ok(match outcome {
                StepOutcome::Output(value) => CowVal::Owned(boxed(value)),
                StepOutcome::Nothing | StepOutcome::Failed(_) => CowVal::owned(Absent),
            }),
            "error" => Ok(match self.variables.error(step) {
                Some(error) => CowVal::Owned(boxed(error)),
                None => CowVal::owned(Absent),
            }),
            "state" => Ok(CowVal::owned(CelString::from(outcome.state()))),
            _ => Err(ExecutionError::no_such_key(&super::clip(name))),
        }
    }

    fn steal<'w>(self: Box<Self>, key: &dyn Val) -> Result<Box<dyn Val + 'w>, ExecutionError>
    where
        Self: 'w,
    {
        self.get(key).map(CowVal::into_owned)
    }
}
