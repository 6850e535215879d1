//! The JSON schema of a policy file, for editors.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::condition::{Details, Effects, Kind, Many, Selector};
use super::document::Document;
use super::host::HostPattern;
use super::names::{Named, Word};
use crate::gate::class::PathClass;

/// The schema of a policy file, as `docs/policy.schema.json` has it.
pub fn schema() -> Schema {
    schemars::schema_for!(Document)
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrManyOf{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "minItems": 1, "items": one }] })
    }
}

impl<T: Named> JsonSchema for Word<T> {
    fn schema_name() -> Cow<'static, str> {
        T::WHAT.split(' ').map(capitalised).collect::<String>().into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = T::ALL.iter().map(|value| value.name()).collect();
        json_schema!({ "enum": names })
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

impl JsonSchema for Effects {
    fn schema_name() -> Cow<'static, str> {
        "Effects".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let kind = generator.subschema_for::<Kind>();
        let details = generator.subschema_for::<Details>();
        json_schema!({ "anyOf": [
            kind,
            { "type": "array", "minItems": 1, "items": kind },
            { "type": "object", "minProperties": 1, "propertyNames": kind, "additionalProperties": details },
        ] })
    }
}

impl JsonSchema for Selector {
    fn schema_name() -> Cow<'static, str> {
        "PathSelector".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let classes: Vec<&str> = PathClass::ALL.map(PathClass::name).to_vec();
        json_schema!({
            "description": "A path class, or a pattern that begins with `/` or `~/`; `!` before it means none of these.",
            "type": "string",
            "pattern": format!("^!?(/|~/|({})$)", classes.join("|")),
        })
    }
}

impl JsonSchema for HostPattern {
    fn schema_name() -> Cow<'static, str> {
        "HostPattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A host name or a pattern; `!` before it means none of these.",
            "type": "string",
            "pattern": "^!?[A-Za-z0-9._*:-]+$",
        })
    }
}
