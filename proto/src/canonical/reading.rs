//! Tests of the strict reader: what it accepts, and what it refuses for which reason at which byte.

use super::parse::parse;
use super::{CanonicalError, Limits, MAX_SAFE_INTEGER, Place};
use serde_json::{Value, json};

fn read(text: &str) -> Result<Value, CanonicalError> {
    parse(text.as_bytes(), &Limits::default())
}

/// Each text is refused for this reason at this byte, under this path.
fn refused(cases: &[(&str, &str, usize, &str)]) {
    for (text, reason, offset, path) in cases {
        let error = read(text).expect_err(text);
        let place = error.place().unwrap();
        assert_eq!(
            (error.reason_code(), place.offset, place.path.as_str()),
            (*reason, Some(*offset), *path),
            "{text}: {error}"
        );
    }
}

#[test]
fn every_kind_of_value_is_read() {
    let text = " { \"a\" : [ 1 , -2.5 , true , false , null , \"x\" ] ,\r\n\t\"\" : { } , \"e\":[] } ";
    assert_eq!(read(text).unwrap(), json!({"a": [1, -2.5, true, false, null, "x"], "": {}, "e": []}));
    for (text, value) in [("0", json!(0)), ("\"\"", json!("")), ("null", Value::Null), ("[]", json!([]))] {
        assert_eq!(read(text).unwrap(), value);
    }
}

#[test]
fn strings_are_unescaped_and_pairs_become_one_character() {
    let text = r#""\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\ude00é€😀""#;
    assert_eq!(read(text).unwrap(), json!("\"\\/\u{8}\u{c}\n\r\tAé€😀é€😀"));
    assert_eq!(read("\"\u{7f}\u{2028}\"").unwrap(), json!("\u{7f}\u{2028}"));
}

#[test]
fn equal_numbers_are_equal_values_however_they_are_written() {
    for text in ["1", "1.0", "1e0", "10e-1", "0.1E+1"] {
        assert_eq!(read(text).unwrap(), json!(1), "{text}");
    }
    for text in ["0", "-0", "0.0", "-0.0", "0e5", "1e-400"] {
        assert_eq!(read(text).unwrap(), json!(0), "{text}");
    }
    assert_eq!(read("9007199254740991").unwrap(), json!(MAX_SAFE_INTEGER));
    assert_eq!(read("-9007199254740991").unwrap(), json!(-MAX_SAFE_INTEGER));
    assert_eq!(read("1e30").unwrap(), json!(1e30));
    assert_eq!(read("9007199254740993.0").unwrap(), json!(9_007_199_254_740_992.0_f64));
    assert_eq!(read("0.1").unwrap(), json!(0.1));
    // A reader that rounds twice gets these wrong.
    assert_eq!(read("2.2250738585072011e-308").unwrap(), json!(f64::from_bits(0x000f_ffff_ffff_ffff)));
    assert_eq!(read("1.7976931348623157e308").unwrap(), json!(f64::MAX));
}

#[test]
fn integers_that_a_double_cannot_hold_are_refused() {
    refused(&[
        ("9007199254740992", "reject_unsafe_integer", 0, ""),
        ("-9007199254740992", "reject_unsafe_integer", 0, ""),
        ("[0,9007199254740993]", "reject_unsafe_integer", 3, "/1"),
        ("{\"id\":18446744073709551615}", "reject_unsafe_integer", 6, "/id"),
        ("123456789012345678901234567890", "reject_unsafe_integer", 0, ""),
    ]);
    let error = read(&"9".repeat(1_000_000)).unwrap_err();
    assert!(error.to_string().len() < 300 && error.to_string().contains("as a string"));
}

#[test]
fn numbers_that_are_not_finite_are_refused() {
    refused(&[
        ("NaN", "reject_nan_infinity", 0, ""),
        ("[Infinity]", "reject_nan_infinity", 1, "/0"),
        ("{\"x\":-Infinity}", "reject_nan_infinity", 5, "/x"),
        ("1e400", "reject_nan_infinity", 0, ""),
        ("-1.0e999999999999999999999", "reject_nan_infinity", 0, ""),
    ]);
}

#[test]
fn duplicate_keys_are_refused_at_any_depth_even_when_written_differently() {
    refused(&[
        ("{\"a\":1,\"a\":2}", "reject_duplicate_keys", 7, ""),
        ("{\"outer\":{\"k\":1,\"k\":2}}", "reject_duplicate_keys", 16, "/outer"),
        ("[[{\"a\":0,\"\\u0061\":0}]]", "reject_duplicate_keys", 9, "/0/0"),
        ("{\"\":1,\"\":1}", "reject_duplicate_keys", 6, ""),
    ]);
    assert!(read("{\"a\":{\"a\":1},\"b\":{\"a\":1}}").is_ok());
}

#[test]
fn lone_surrogates_are_refused_in_values_keys_and_raw_bytes() {
    refused(&[
        (r#"{"bad":"\uDEAD"}"#, "reject_lone_surrogate", 8, "/bad"),
        (r#""\ud800""#, "reject_lone_surrogate", 1, ""),
        (r#""\ud800x""#, "reject_lone_surrogate", 1, ""),
        (r#""\ud800\n""#, "reject_lone_surrogate", 1, ""),
        (r#""\ud800\ud800""#, "reject_lone_surrogate", 1, ""),
        (r#""\ud83d\u0041""#, "reject_lone_surrogate", 1, ""),
        (r#"{"\udc00":1}"#, "reject_lone_surrogate", 2, ""),
    ]);
    let error = parse(b"\"\xED\xA0\x80\"", &Limits::default()).unwrap_err();
    assert_eq!(error, CanonicalError::LoneSurrogate { unit: 0xD800, at: Place::at_byte(1) });
    let error = parse(b"\"\xED\xBE\xAD\"", &Limits::default()).unwrap_err();
    assert_eq!(error, CanonicalError::LoneSurrogate { unit: 0xDFAD, at: Place::at_byte(1) });
}

#[test]
fn words_that_are_no_literals_are_refused() {
    for word in ["Null", "NULL", "True", "nul", "truefalse", "undefined", "true_", "nan", "None", "x"] {
        refused(&[
            (word, "reject_invalid_json_literal", 0, ""),
            (&format!("[{word}]"), "reject_invalid_json_literal", 1, "/0"),
        ]);
    }
}

#[test]
fn what_is_not_json_is_refused_where_it_goes_wrong() {
    const INVALID: &str = "reject_invalid_json";
    refused(&[
        ("", INVALID, 0, ""),
        ("  ", INVALID, 2, ""),
        ("\u{feff}{}", INVALID, 0, ""),
        ("{} {}", INVALID, 3, ""),
        ("{},", INVALID, 2, ""),
        ("1 2", INVALID, 2, ""),
        ("[1,]", INVALID, 3, "/1"),
        ("[,1]", INVALID, 1, "/0"),
        ("[1 2]", INVALID, 3, ""),
        ("[1", INVALID, 2, ""),
        ("{", INVALID, 1, ""),
        ("{\"a\"}", INVALID, 4, ""),
        ("{\"a\":}", INVALID, 5, "/a"),
        ("{\"a\":1,}", INVALID, 7, ""),
        ("{a:1}", INVALID, 1, ""),
        ("{'a':1}", INVALID, 1, ""),
        ("{1:1}", INVALID, 1, ""),
        ("]", INVALID, 0, ""),
        ("01", INVALID, 0, ""),
        ("-01", INVALID, 0, ""),
        ("+1", INVALID, 0, ""),
        ("-", INVALID, 1, ""),
        ("-a", INVALID, 1, ""),
        (".5", INVALID, 0, ""),
        ("1.", INVALID, 2, ""),
        ("1.e5", INVALID, 2, ""),
        ("1e", INVALID, 2, ""),
        ("1e+", INVALID, 3, ""),
        ("1e+-1", INVALID, 3, ""),
        ("0x10", INVALID, 1, ""),
        ("1_000", INVALID, 1, ""),
        ("\"abc", INVALID, 0, ""),
        ("\"\\\"", INVALID, 0, ""),
        ("\"a\nb\"", INVALID, 2, ""),
        ("\"\u{0}\"", INVALID, 1, ""),
        ("\"\u{1f}\"", INVALID, 1, ""),
        ("\"\\x41\"", INVALID, 1, ""),
        ("\"\\", INVALID, 1, ""),
        ("\"\\u12\"", INVALID, 1, ""),
        ("\"\\u+123\"", INVALID, 1, ""),
        ("\"\\u00g0\"", INVALID, 1, ""),
        ("// comment", INVALID, 0, ""),
        ("[1]\u{a0}", INVALID, 3, ""),
        ("\u{c}1", INVALID, 0, ""),
        ("é", INVALID, 0, ""),
    ]);
    for bytes in [&b"\xff"[..], b"\"\xc3\"", b"\"\xc0\xaf\"", b"\"\xf5\x80\x80\x80\"", b"\"\xED\xA0", b"\xED"]
    {
        assert_eq!(parse(bytes, &Limits::default()).unwrap_err().reason_code(), INVALID);
    }
}

#[test]
fn nesting_is_limited_and_a_million_brackets_do_not_exhaust_the_stack() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(128)).is_ok());
    let error = read(&nested(129)).unwrap_err();
    assert_eq!((error.reason_code(), error.place().unwrap().offset), ("reject_depth_limit", Some(128)));
    assert_eq!(read(&"[".repeat(1_000_000)).unwrap_err().reason_code(), "reject_depth_limit");
    assert_eq!(read(&"{\"k\":".repeat(1_000_000)).unwrap_err().reason_code(), "reject_depth_limit");
    let deepest = Limits { max_depth: u8::MAX, ..Limits::default() };
    assert!(parse(nested(255).as_bytes(), &deepest).is_ok());
    assert!(parse(nested(256).as_bytes(), &deepest).is_err());
    let flat = Limits { max_depth: 0, ..Limits::default() };
    assert!(parse(b"1", &flat).is_ok());
    assert!(parse(b"[]", &flat).is_err());
    // Depth counts what is open, not what was.
    let wide = format!("[{}]", vec!["[[]]"; 1000].join(","));
    assert!(parse(wide.as_bytes(), &Limits { max_depth: 3, ..Limits::default() }).is_ok());
}

#[test]
fn a_text_above_the_limit_is_refused_before_it_is_looked_at() {
    let limits = Limits { max_bytes: 4, ..Limits::default() };
    assert!(parse(b"[11]", &limits).is_ok());
    let error = parse(b"\xff\xff\xff\xff\xff", &limits).unwrap_err();
    assert_eq!(error, CanonicalError::TooLarge { len: 5, max: 4 });
    assert_eq!((error.reason_code(), error.place()), ("reject_size_limit", None));
}
