//! The kinds of values that members of a document have beyond those of serde.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

/// Reads an object, or null for none. (serde alone would take a list for the members in their order.)
pub(super) fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct Object<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E: Error>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(members)).map(Some)
        }
    }
    deserializer.deserialize_any(Object(PhantomData))
}

/// A part that is read by itself: where it stands nothing of it is looked at.
#[derive(Debug)]
pub(super) struct Later<T>(PhantomData<T>);

impl<'de, T> Deserialize<'de> for Later<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for Later<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

/// A text, or a list of texts.
#[derive(Debug, Clone)]
pub(super) struct OneOrMany {
    pub(super) texts: Vec<String>,
    /// Whether it was written as a list: then a place in it is an index.
    pub(super) is_list: bool,
}

impl<'de> Deserialize<'de> for OneOrMany {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Texts;
        impl<'de> Visitor<'de> for Texts {
            type Value = OneOrMany;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, or a list of strings")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<OneOrMany, E> {
                Ok(OneOrMany { texts: vec![text.to_owned()], is_list: false })
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<OneOrMany, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(OneOrMany { texts, is_list: true })
            }
        }
        deserializer.deserialize_any(Texts)
    }
}

impl JsonSchema for OneOrMany {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "OneOrMany".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
    }
}

/// Longest time, in seconds: a year.
const LONGEST_S: f64 = 31_536_000.0;

macro_rules! times {
    ($($(#[$doc:meta])* $name:ident, $least:literal, $expected:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) struct $name {
            /// In milliseconds.
            pub(super) ms: u64,
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Number($least, $expected)).map(|ms| Self { ms })
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "number", "minimum": $least, "maximum": LONGEST_S})
            }
        }
    )*};
}

times! {
    /// A length of time, in seconds.
    Seconds, 0.001, "seconds, a number from 0.001 to 31536000 (a year)";
    /// A pause between two attempts, in seconds.
    Delay, 0.0, "seconds, a number from 0 to 31536000 (a year)";
}

/// Reads seconds of at least so many, and says what is expected.
struct Number(f64, &'static str);

impl Visitor<'_> for Number {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<u64, E> {
        let time = (self.0..=LONGEST_S).contains(&seconds).then(|| Duration::try_from_secs_f64(seconds).ok());
        let ms = time.flatten().and_then(|time| u64::try_from(time.as_millis()).ok());
        ms.ok_or_else(|| E::invalid_value(serde::de::Unexpected::Float(seconds), &self))
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<u64, E> {
        match u32::try_from(seconds) {
            Ok(small) => self.visit_f64(f64::from(small)),
            Err(_) => Err(E::invalid_value(serde::de::Unexpected::Unsigned(seconds), &self)),
        }
    }

    fn visit_i64<E: Error>(self, seconds: i64) -> Result<u64, E> {
        match u64::try_from(seconds) {
            Ok(seconds) => self.visit_u64(seconds),
            Err(_) => Err(E::invalid_value(serde::de::Unexpected::Signed(seconds), &self)),
        }
    }
}
