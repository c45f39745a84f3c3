//! Tests of the canonical form as a whole: the RFC's own tables, and properties compared with another implementation.

use super::*;
use proptest::prelude::*;
use serde_json::{Number, json};

/// A double as the strict reader would return it.
fn normal(number: f64) -> Value {
    let text = json!(number).to_string();
    parse_strict(text.as_bytes(), &Limits::default()).unwrap()
}

/// Doubles whose canonical form is an integer token that is refused when it is read again.
fn is_unsafe(number: f64) -> bool {
    (9_007_199_254_740_992.0..1e21).contains(&number.abs())
}

fn safe_number() -> impl Strategy<Value = Value> {
    let double = any::<f64>().prop_filter("finite and readable again", |x| x.is_finite() && !is_unsafe(*x));
    prop_oneof![
        (-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER).prop_map(Value::from),
        double.prop_map(normal),
        (-1000_i32..1000, -30_i32..30)
            .prop_map(|(mantissa, exponent)| f64::from(mantissa) * 10_f64.powi(exponent))
            .prop_filter("readable again", |x| !is_unsafe(*x))
            .prop_map(normal),
    ]
}

/// Strings with what escaping and ordering stumble over.
fn text() -> impl Strategy<Value = String> {
    let awkward = prop_oneof![
        proptest::char::range('\0', '\u{7f}'),
        proptest::char::range('\u{d000}', '\u{d7ff}'),
        proptest::char::range('\u{e000}', '\u{ffff}'),
        proptest::char::range('\u{10000}', '\u{10ffff}'),
        any::<char>(),
    ];
    prop_oneof![
        proptest::collection::vec(awkward, 0..6).prop_map(|chars| chars.into_iter().collect()),
        "[a-c]{0,3}",
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        safe_number(),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..8).prop_map(Value::Array),
            proptest::collection::vec((text(), inner), 0..8)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn another_implementation_writes_the_same_bytes(value in json_value()) {
        prop_assert_eq!(to_canonical(&value).unwrap(), serde_json_canonicalizer::to_vec(&value).unwrap());
    }

    #[test]
    fn another_implementation_writes_every_double_alike(bits in any::<u64>()) {
        if let Some(number) = Number::from_f64(f64::from_bits(bits)) {
            let value = Value::Number(number);
            prop_assert_eq!(to_canonical(&value).unwrap(), serde_json_canonicalizer::to_vec(&value).unwrap());
        }
    }

    #[test]
    fn reading_the_canonical_form_gives_the_value_and_writing_it_again_the_same_bytes(value in json_value()) {
        let bytes = to_canonical(&value).unwrap();
        prop_assert_eq!(&parse_strict(&bytes, &Limits::default()).unwrap(), &value);
        prop_assert_eq!(&parse_canonical(&bytes, &Limits::default()).unwrap(), &value);
        prop_assert_eq!(canonicalize(&bytes).unwrap(), bytes);
    }

    #[test]
    fn white_space_and_the_order_of_keys_do_not_matter(value in json_value()) {
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        let bytes = to_canonical(&value).unwrap();
        prop_assert_eq!(&canonicalize(&pretty).unwrap(), &bytes);
        if pretty != bytes {
            let error = parse_canonical(&pretty, &Limits::default()).unwrap_err();
            prop_assert_eq!(error.reason_code(), "reject_non_canonical_bytes");
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_but_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = canonicalize(&bytes);
    }

    #[test]
    fn what_is_accepted_is_json_for_others_too(text in r#"[\[\]{}",:0-9eE+\-. \\/ubtrulfasnINd8é]{0,24}"#) {
        agrees_with_serde_json(text.as_bytes())?;
    }

    #[test]
    fn damaged_json_is_accepted_only_if_it_still_is_json(value in json_value(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = serde_json::to_vec(&value).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        agrees_with_serde_json(&bytes)?;
    }
}

/// We accept nothing that serde_json refuses, and refuse for a syntax reason nothing that it accepts.
fn agrees_with_serde_json(bytes: &[u8]) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_slice::<Value>(bytes);
    match parse_strict(bytes, &Limits::default()) {
        Ok(ours) => {
            let theirs = theirs.expect("accepted by us");
            prop_assert_eq!(to_canonical(&ours).unwrap(), to_canonical(&theirs).unwrap());
        }
        Err(error @ (CanonicalError::Syntax { .. } | CanonicalError::InvalidLiteral { .. })) => {
            prop_assert!(theirs.is_err(), "{error}, but serde_json reads it");
        }
        Err(_) => {}
    }
    Ok(())
}

#[test]
fn the_number_table_of_rfc_8785_appendix_b_holds() {
    for (bits, text) in [
        (0x0000_0000_0000_0000, "0"),
        (0x8000_0000_0000_0000, "0"),
        (0x0000_0000_0000_0001, "5e-324"),
        (0x8000_0000_0000_0001, "-5e-324"),
        (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
        (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
        (0x4340_0000_0000_0000, "9007199254740992"),
        (0xc340_0000_0000_0000, "-9007199254740992"),
        (0x4430_0000_0000_0000, "295147905179352830000"),
        (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
        (0x44b5_2d02_c7e1_4af6, "1e+23"),
        (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
        (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
        (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
        (0x444b_1ae4_d6e2_ef50, "1e+21"),
        (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
        (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
        (0x41b3_de43_5555_5553, "333333333.3333332"),
        (0x41b3_de43_5555_5554, "333333333.33333325"),
        (0x41b3_de43_5555_5555, "333333333.3333333"),
        (0x41b3_de43_5555_5556, "333333333.3333334"),
        (0x41b3_de43_5555_5557, "333333333.33333343"),
        (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
        (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
    ] {
        assert_eq!(to_canonical(&f64::from_bits(bits)).unwrap(), text.as_bytes(), "{bits:016x}");
    }
    for bits in [0x7fff_ffff_ffff_ffff, 0x7ff0_0000_0000_0000] {
        assert_eq!(to_canonical(&f64::from_bits(bits)).unwrap_err().reason_code(), "reject_nan_infinity");
    }
}

#[test]
fn an_envelope_has_the_bytes_and_the_id_that_other_implementations_give_it() {
    let text = r#"{"schema":"mcp++/execution/envelope@1","parents":[],"created_at_ms":1783872000000,"correlation_id":"task-001","constraints":{"timeout_ms":30000,"ratio":1e-7,"neg":-0.0,"big":1E21},"método":"é\u20ac\u000a","requester":{"did":"did:key:z6Mk","peer_id":null},"a":[3,{"z":1,"b":2.50}]}"#;
    let expected = r#"{"a":[3,{"b":2.5,"z":1}],"constraints":{"big":1e+21,"neg":0,"ratio":1e-7,"timeout_ms":30000},"correlation_id":"task-001","created_at_ms":1783872000000,"método":"é€\n","parents":[],"requester":{"did":"did:key:z6Mk","peer_id":null},"schema":"mcp++/execution/envelope@1"}"#;
    assert_eq!(String::from_utf8(canonicalize(text.as_bytes()).unwrap()).unwrap(), expected);
    let value = parse_strict(text.as_bytes(), &Limits::default()).unwrap();
    let cid = canonical_cid(&value).unwrap();
    assert_eq!(cid.to_string(), "bafkreig6qzkozul2ndmvvznqlv4d3m6gd2bwv4q25kamfurjrc7qev56p4");
}

#[test]
fn keys_are_ordered_by_utf16_code_units_and_not_by_characters() {
    // U+1F600 is D83D DE00 in UTF-16, in front of U+FB33; as characters and in UTF-8 it comes behind.
    let value = json!({"\u{fb33}": 1, "\u{1f600}": 2, "a": 3, "B": 4, "": 5, "aa": 6});
    let expected = "{\"\":5,\"B\":4,\"a\":3,\"aa\":6,\"\u{1f600}\":2,\"\u{fb33}\":1}";
    assert_eq!(to_canonical(&value).unwrap(), expected.as_bytes());
}

#[test]
fn only_what_must_be_escaped_is_escaped() {
    let value = json!("\u{0}\u{8}\t\n\u{b}\u{c}\r\u{1f}\"\\/\u{7f}\u{80}\u{2028}<é😀");
    let expected = "\"\\u0000\\b\\t\\n\\u000b\\f\\r\\u001f\\\"\\\\/\u{7f}\u{80}\u{2028}<é😀\"";
    assert_eq!(to_canonical(&value).unwrap(), expected.as_bytes());
}

#[test]
fn bytes_that_claim_to_be_canonical_are_refused_at_the_first_byte_that_differs() {
    for (text, offset) in
        [("{ }", 1), ("{\"b\":1,\"a\":2}", 2), ("[1.0]", 2), ("{}\n", 2), ("\"\\u0041\"", 1)]
    {
        let error = parse_canonical(text.as_bytes(), &Limits::default()).unwrap_err();
        assert_eq!(error, CanonicalError::NotCanonical { at: Place::at_byte(offset) }, "{text}");
        assert!(error.to_string().contains(ALGORITHM));
    }
    assert!(parse_canonical(b"{\"a\":2,\"b\":1}", &Limits::default()).is_ok());
}

#[test]
fn a_value_deeper_than_the_limit_is_refused_before_it_exhausts_the_stack() {
    let deep = |levels: usize| (0..levels).fold(Value::Null, |value, _| json!([value]));
    assert!(to_canonical(&deep(128)).is_ok());
    let error = to_canonical(&deep(129)).unwrap_err();
    assert_eq!(error.reason_code(), "reject_cycles");
    assert_eq!(error.place().unwrap().path, "/0".repeat(128));
}

#[test]
fn large_numbers_written_with_an_exponent_are_legal_but_their_canonical_form_is_refused_when_read() {
    // The corner that the module's documentation describes.
    let bytes = canonicalize(b"1e20").unwrap();
    assert_eq!(bytes, b"100000000000000000000");
    assert_eq!(canonicalize(&bytes).unwrap_err().reason_code(), "reject_unsafe_integer");
    assert_eq!(canonicalize(b"1e30").unwrap(), b"1e+30");
    assert_eq!(canonicalize(b"1e+30").unwrap(), b"1e+30");
}
