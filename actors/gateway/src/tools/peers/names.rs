//! Arguments that are one of a few names: their schemas list the names, and a wrong one is refused with them.

use meshwork_proto::discovery::{PeerState, Source};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, de};
use serde_json::Value;
use std::borrow::Cow;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident($kind:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $name(pub(super) $kind);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map($name).map_err(de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let names: Vec<Value> = <$kind>::ALL.iter().map(|known| known.as_str().into()).collect();
                let mut schema = String::json_schema(generator);
                schema.insert("enum".to_owned(), names.into());
                schema
            }
        }
    };
}

named! {
    /// A source of peers.
    SourceName(Source)
}
named! {
    /// Where a peer stands.
    StateName(PeerState)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_known_is_refused_with_those_there_are() {
        assert_eq!(serde_json::from_str::<SourceName>("\"mdns\"").unwrap(), SourceName(Source::Mdns));
        let error = serde_json::from_str::<StateName>("\"gone\"").unwrap_err().to_string();
        assert!(error.contains("\"gone\"") && error.contains("stale"), "{error}");
    }

    #[test]
    fn the_schema_lists_the_names() {
        let schema = SchemaGenerator::default().into_root_schema_for::<Option<StateName>>().to_value();
        let names = schema["enum"].as_array().unwrap();
        assert!(names.contains(&"connected".into()) && names.contains(&Value::Null), "{schema}");
    }
}
