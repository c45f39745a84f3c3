//! The errors of the crate as sentences: short whatever the values are, and with what would be right.

use crate::workflow::expression::clip;
use crate::workflow::expression::error::Fault;
use cel::{ExecutionError, ParseErrors};

/// The first syntax error.
pub(super) fn syntax(source: &str, errors: &ParseErrors) -> Fault {
    let Some(first) = errors.errors.first() else { return Fault::new("cannot be read") };
    let message = first.msg.trim_start_matches("Syntax error: ");
    let message = clip(message).replace("<EOF>", "the end").replace("<input>", "the expression");
    // Lines and columns count from 1, columns in bytes.
    let (line, column) = first.pos;
    let (Ok(line), Ok(column)) = (usize::try_from(line - 1), usize::try_from(column - 1)) else {
        return Fault::new(message);
    };
    let start: usize = source.split_inclusive('\n').take(line).map(str::len).sum();
    let mut at = (start + column).min(source.len());
    while !source.is_char_boundary(at) {
        at -= 1;
    }
    Fault::at(at, message)
}

/// What an operation failed with.
pub(super) fn execution(error: &ExecutionError) -> String {
    // The crate has two names for it.
    let of = |value: &cel::Value| value.type_of().to_string().replace("float", "double");
    match error {
        ExecutionError::NoSuchKey(name) => {
            format!("there is no member {name}: if it may be missing, write has(a.b) or a.?b.orValue(...)")
        }
        ExecutionError::NoSuchOverload(overload) => unfit(overload.function(), overload.argument_types()),
        ExecutionError::UnsupportedBinaryOperator(name, one, other) => unfit(name, &[of(one), of(other)]),
        ExecutionError::ValuesNotComparable(one, other) => unfit("comparison", &[of(one), of(other)]),
        ExecutionError::UnexpectedType { got, want } => {
            format!("found {}, expected {}", clip(got), clip(want))
        }
        ExecutionError::UndeclaredReference(name) => format!("{:?} is unknown", clip(name)),
        ExecutionError::IndexOutOfBounds(index) => match index {
            cel::Value::Int(index) => format!("there is no element {index}: the list is shorter"),
            _ => "there is no such element: the list is shorter".to_owned(),
        },
        ExecutionError::DivisionByZero(_) | ExecutionError::RemainderByZero(_) => {
            "divides by zero".to_owned()
        }
        ExecutionError::Overflow(..) => "the result is larger than the type holds".to_owned(),
        ExecutionError::DuplicateKey(key) => format!("a map has the same key twice, of type {}", of(key)),
        ExecutionError::UnsupportedKeyType(key) => {
            format!("a value of type {} cannot be the key of a map", of(key))
        }
        ExecutionError::FunctionError { function, message } => format!("{function}: {}", clip(message)),
        other => clip(&other.to_string()),
    }
}

/// An operation that does not take these types.
fn unfit(operation: &str, types: &[String]) -> String {
    let name = match operation {
        "_+_" | "add" => "+",
        "_-_" | "sub" => "-",
        "_*_" | "mul" => "*",
        "_/_" | "div" => "/",
        "_%_" | "rem" => "%",
        "_<_" => "<",
        "_<=_" => "<=",
        "_>_" => ">",
        "_>=_" => ">=",
        "-_" => "-",
        "!_" => "!",
        "_&&_" => "&&",
        "_||_" => "||",
        "_[_]" => "[...]",
        "_._" => {
            let holder = types.first().map_or("value", String::as_str);
            return format!("a value of type {holder} has no members");
        }
        other => other,
    };
    let types = types.join(", ");
    let numbers = ["int", "uint", "double"];
    let mixed = types.split(", ").all(|name| numbers.contains(&name));
    let text = types.split(", ").any(|name| name == "string") && name == "+";
    let hint = match (mixed, text) {
        (true, _) => ": make both the same with double(...) or int(...)",
        (_, true) => ": make it text with string(...)",
        _ => "",
    };
    format!("{} does not take ({}){hint}", clip(name), clip(&types))
}
