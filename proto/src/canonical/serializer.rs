//! serde's view of the canonical writer: which JSON each kind of Rust value becomes.
//!
//! As serde_json writes them, except that nothing is coerced: `NaN`, raw bytes and keys that are not strings are
//! refused, and so are serde_json's private wrappers for text that it would copy unread.

use super::writer::{Writer, Written};
use super::{CanonicalError, Place};
use serde::{Serialize, Serializer, ser};
use serde_json::Value;

/// How serde_json marks values that carry JSON text inside (`RawValue`).
const PRIVATE_PREFIX: &str = "$serde_json::private::";

fn unsupported(problem: &str) -> CanonicalError {
    CanonicalError::Unsupported { problem: problem.into(), at: Place::default() }
}

impl<'w> Serializer for &'w mut Writer {
    type Ok = ();
    type Error = CanonicalError;
    type SerializeSeq = Items<'w>;
    type SerializeTuple = Items<'w>;
    type SerializeTupleStruct = Items<'w>;
    type SerializeTupleVariant = Items<'w>;
    type SerializeMap = Members<'w>;
    type SerializeStruct = Members<'w>;
    type SerializeStructVariant = Members<'w>;

    fn serialize_bool(self, value: bool) -> Written {
        self.literal(if value { "true" } else { "false" });
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Written {
        self.integer(value.into())
    }

    fn serialize_i16(self, value: i16) -> Written {
        self.integer(value.into())
    }

    fn serialize_i32(self, value: i32) -> Written {
        self.integer(value.into())
    }

    fn serialize_i64(self, value: i64) -> Written {
        self.integer(value.into())
    }

    fn serialize_i128(self, value: i128) -> Written {
        self.integer(value)
    }

    fn serialize_u8(self, value: u8) -> Written {
        self.integer(value.into())
    }

    fn serialize_u16(self, value: u16) -> Written {
        self.integer(value.into())
    }

    fn serialize_u32(self, value: u32) -> Written {
        self.integer(value.into())
    }

    fn serialize_u64(self, value: u64) -> Written {
        self.integer(value.into())
    }

    fn serialize_u128(self, value: u128) -> Written {
        // Above i128 it is unsafe in any case: the largest i128 is refused with the same reason.
        self.integer(i128::try_from(value).unwrap_or(i128::MAX))
    }

    fn serialize_f32(self, value: f32) -> Written {
        self.double(value.into())
    }

    fn serialize_f64(self, value: f64) -> Written {
        self.double(value)
    }

    fn serialize_char(self, value: char) -> Written {
        self.string(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Written {
        self.string(value);
        Ok(())
    }

    fn serialize_bytes(self, _: &[u8]) -> Written {
        Err(unsupported("raw bytes: encode them as a string (base64, multibase) first"))
    }

    fn serialize_none(self) -> Written {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Written {
        self.literal("null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Written {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Written {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Written {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Written {
        self.begin_object()?;
        self.key(variant);
        value.serialize(&mut *self)?;
        self.end_object()
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items<'w>, CanonicalError> {
        self.begin_array()?;
        Ok(Items { writer: self, in_variant: false })
    }

    fn serialize_tuple(self, len: usize) -> Result<Items<'w>, CanonicalError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _: &'static str, len: usize) -> Result<Items<'w>, CanonicalError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Items<'w>, CanonicalError> {
        self.begin_object()?;
        self.key(variant);
        self.begin_array()?;
        Ok(Items { writer: self, in_variant: true })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Members<'w>, CanonicalError> {
        self.begin_object()?;
        Ok(Members { writer: self, in_variant: false })
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Members<'w>, CanonicalError> {
        if name.starts_with(PRIVATE_PREFIX) {
            return Err(unsupported("JSON text kept unread (RawValue): parse it first"));
        }
        self.serialize_map(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Members<'w>, CanonicalError> {
        self.begin_object()?;
        self.key(variant);
        self.begin_object()?;
        Ok(Members { writer: self, in_variant: true })
    }
}

/// An array being written, inside an object of one member if it is an enum's variant.
pub(super) struct Items<'w> {
    writer: &'w mut Writer,
    in_variant: bool,
}

impl Items<'_> {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.writer.item();
        value.serialize(&mut *self.writer)
    }

    fn close(self) -> Written {
        self.writer.end_array();
        if self.in_variant { self.writer.end_object() } else { Ok(()) }
    }
}

/// An object being written, inside an object of one member if it is an enum's variant.
pub(super) struct Members<'w> {
    writer: &'w mut Writer,
    in_variant: bool,
}

impl Members<'_> {
    fn push<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Written {
        self.writer.key(key);
        value.serialize(&mut *self.writer)
    }

    fn close(self) -> Written {
        self.writer.end_object()?;
        if self.in_variant { self.writer.end_object() } else { Ok(()) }
    }
}

impl ser::SerializeSeq for Items<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.push(value)
    }

    fn end(self) -> Written {
        self.close()
    }
}

impl ser::SerializeTuple for Items<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.push(value)
    }

    fn end(self) -> Written {
        self.close()
    }
}

impl ser::SerializeTupleStruct for Items<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.push(value)
    }

    fn end(self) -> Written {
        self.close()
    }
}

impl ser::SerializeTupleVariant for Items<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        self.push(value)
    }

    fn end(self) -> Written {
        self.close()
    }
}

impl ser::SerializeMap for Members<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Written {
        match serde_json::to_value(key) {
            Ok(Value::String(key)) => {
                self.writer.key(&key);
                Ok(())
            }
            _ => Err(unsupported("a key that is not a string")),
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Written {
        value.serialize(&mut *self.writer)
    }

    fn end(self) -> Written {
        self.close()
    }
}

impl ser::SerializeStruct for Members<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Written {
        self.push(key, value)
    }

    fn end(self) -> Written {
        self.close()
    }
}

impl ser::SerializeStructVariant for Members<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Written {
        self.push(key, value)
    }

    fn end(self) -> Written {
        self.close()
    }
}

#[cfg(test)]
mod tests {
    use super::super::to_canonical;
    use super::*;
    use serde_json::value::RawValue;
    use std::collections::BTreeMap;

    #[derive(Serialize)]
    struct Everything {
        z_unit: (),
        y_tuple: (u8, Option<bool>, Option<char>),
        x_unit_variant: Shape,
        w_newtype: Shape,
        v_tuple_variant: Shape,
        u_struct_variant: Shape,
        #[serde(skip_serializing_if = "Option::is_none")]
        t_absent: Option<u8>,
        s_null: Option<u8>,
        r_small: f32,
        q_wide: (i128, u128, i8, u64),
    }

    #[derive(Serialize)]
    enum Shape {
        Dot,
        Circle(f64),
        Line(i16, i64),
        Box { width: u16, height: u32 },
    }

    #[test]
    fn typed_values_are_written_as_serde_json_would_but_in_canonical_form() {
        let value = Everything {
            z_unit: (),
            y_tuple: (1, Some(false), None),
            x_unit_variant: Shape::Dot,
            w_newtype: Shape::Circle(1.50),
            v_tuple_variant: Shape::Line(-1, 2),
            u_struct_variant: Shape::Box { width: 3, height: 4 },
            t_absent: None,
            s_null: None,
            r_small: 0.5,
            q_wide: (-9_007_199_254_740_991, 9_007_199_254_740_991, -128, 0),
        };
        let expected = concat!(
            r#"{"q_wide":[-9007199254740991,9007199254740991,-128,0],"r_small":0.5,"s_null":null,"#,
            r#""u_struct_variant":{"Box":{"height":4,"width":3}},"v_tuple_variant":{"Line":[-1,2]},"#,
            r#""w_newtype":{"Circle":1.5},"x_unit_variant":"Dot","y_tuple":[1,false,null],"z_unit":null}"#
        );
        let bytes = to_canonical(&value).unwrap();
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), expected);
        assert_eq!(bytes, to_canonical(&serde_json::to_value(&value).unwrap()).unwrap());
    }

    fn refused<T: Serialize>(value: &T, reason: &str, path: &str) {
        let error = to_canonical(value).unwrap_err();
        let place = error.place().unwrap();
        assert_eq!((error.reason_code(), place.path.as_str(), place.offset), (reason, path, None), "{error}");
    }

    #[test]
    fn what_json_cannot_say_is_refused_with_its_path() {
        refused(&BTreeMap::from([("a", vec![0.0, f64::NAN])]), "reject_nan_infinity", "/a/1");
        refused(&[f32::NEG_INFINITY], "reject_nan_infinity", "/0");
        refused(&BTreeMap::from([("n", u64::MAX)]), "reject_unsafe_integer", "/n");
        refused(&i64::MIN, "reject_unsafe_integer", "");
        refused(&(1_i64 << 53), "reject_unsafe_integer", "");
        refused(&-(1_i64 << 53), "reject_unsafe_integer", "");
        refused(&u128::MAX, "reject_unsafe_integer", "");
        refused(&BTreeMap::from([("b", bytes::Bytes::from_static(b"raw"))]), "reject_unsupported_type", "/b");
        refused(&BTreeMap::from([(1, "number as key")]), "reject_unsupported_type", "");
        refused(&[RawValue::from_string("1".into()).unwrap()], "reject_unsupported_type", "/0");
    }

    #[test]
    fn two_fields_with_one_name_are_refused_instead_of_one_winning() {
        #[derive(Serialize)]
        struct Outer {
            name: &'static str,
            #[serde(flatten)]
            more: BTreeMap<&'static str, u8>,
        }
        refused(&[Outer { name: "a", more: BTreeMap::from([("name", 1)]) }], "reject_duplicate_keys", "/0");
        assert!(to_canonical(&Outer { name: "a", more: BTreeMap::from([("b", 1)]) }).is_ok());
    }

    #[test]
    fn an_error_of_the_value_itself_is_passed_on() {
        struct Broken;
        impl Serialize for Broken {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(ser::Error::custom("the sensor is off"))
            }
        }
        refused(&BTreeMap::from([("sensor", Broken)]), "reject_unsupported_type", "/sensor");
        assert!(to_canonical(&Broken).unwrap_err().to_string().contains("the sensor is off"));
    }
}
