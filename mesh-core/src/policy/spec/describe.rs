//! The schema as JSON Schema (draft 2020-12), for editors, and as a list for the reference page.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Interval, Kind, Ratio, Resource, StatusRange};

/// A type of the schema that says what it is.
pub(crate) trait Describe {
    /// Its JSON Schema; named types are put into `types` and referred to.
    fn describe(types: &mut Types) -> Value;
}

/// The named types met so far.
#[derive(Default)]
pub(crate) struct Types(BTreeMap<&'static str, Value>);

/// One field of a mapping.
pub(crate) struct Field {
    pub(crate) key: &'static str,
    pub(crate) docs: &'static [&'static str],
    pub(crate) shape: Value,
    pub(crate) optional: bool,
}

/// The text of doc comments.
fn text(docs: &[&str]) -> String {
    let lines: Vec<&str> = docs.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}

fn refers_to(name: &str) -> Value {
    json!({ "$ref": format!("#/$defs/{name}") })
}

impl Types {
    pub(crate) fn mapping(
        &mut self,
        name: &'static str,
        docs: &[&str],
        fields: impl FnOnce(&mut Self) -> Vec<Field>,
    ) -> Value {
        if !self.0.contains_key(name) {
            // A place first, so that a type within itself ends.
            self.0.insert(name, Value::Null);
            let mut properties = Map::new();
            let mut required = Vec::new();
            for field in fields(self) {
                let mut shape = field.shape;
                if let Value::Object(shape) = &mut shape {
                    shape.insert("description".into(), text(field.docs).into());
                }
                properties.insert(field.key.into(), shape);
                if !field.optional {
                    required.push(field.key);
                }
            }
            let mut shape = json!({
                "type": "object",
                "description": text(docs),
                "additionalProperties": false,
                "properties": properties,
            });
            if !required.is_empty() {
                shape["required"] = required.into();
            }
            self.0.insert(name, shape);
        }
        refers_to(name)
    }

    pub(crate) fn choice(
        &mut self,
        name: &'static str,
        docs: &[&str],
        choices: &[(&'static str, &[&str])],
    ) -> Value {
        let choices = choices
            .iter()
            .map(|(word, docs)| json!({ "const": word, "description": text(docs) }));
        let choices: Vec<Value> = choices.collect();
        let shape = json!({ "description": text(docs), "oneOf": choices });
        self.0.insert(name, shape);
        refers_to(name)
    }
}

impl<T: Describe> Describe for Option<T> {
    fn describe(types: &mut Types) -> Value {
        T::describe(types)
    }
}

impl<T: Describe> Describe for Vec<T> {
    fn describe(types: &mut Types) -> Value {
        json!({ "type": "array", "items": T::describe(types) })
    }
}

impl<T: Describe> Describe for BTreeMap<String, T> {
    fn describe(types: &mut Types) -> Value {
        json!({ "type": "object", "additionalProperties": T::describe(types) })
    }
}

impl Describe for String {
    fn describe(_: &mut Types) -> Value {
        json!({ "type": "string" })
    }
}

impl Describe for bool {
    fn describe(_: &mut Types) -> Value {
        json!({ "type": "boolean" })
    }
}

impl Describe for u16 {
    fn describe(_: &mut Types) -> Value {
        json!({ "type": "integer", "minimum": 0, "maximum": u16::MAX })
    }
}

impl Describe for u32 {
    fn describe(_: &mut Types) -> Value {
        json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX })
    }
}

impl Describe for Interval {
    fn describe(_: &mut Types) -> Value {
        json!({ "type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$" })
    }
}

impl Describe for Ratio {
    fn describe(_: &mut Types) -> Value {
        json!({ "type": "number", "minimum": 0 })
    }
}

impl Describe for StatusRange {
    fn describe(_: &mut Types) -> Value {
        json!({ "type": ["integer", "string"], "pattern": "^[0-9]{3}(-[0-9]{3})?$" })
    }
}

/// The JSON Schema of one document of a policy text, long or short form.
///
/// It knows fields, types and words; what values make sense together only
/// [`validate`](crate::policy::validate) does.
pub fn json_schema() -> Value {
    let mut types = Types::default();
    let specs = Resource::describe_specs(&mut types);
    let metadata = super::Metadata::describe(&mut types);
    let mut documents: Vec<Value> = Vec::new();
    for (kind, spec) in specs {
        documents.push(json!({
            "title": kind.as_str(),
            "type": "object",
            "additionalProperties": false,
            "required": ["apiVersion", "kind", "metadata"],
            "properties": {
                "apiVersion": { "enum": kind.api_versions() },
                "kind": { "const": kind.as_str() },
                "metadata": metadata,
                "spec": spec,
            },
        }));
    }
    documents.push(short(&mut types));
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Policy of the mesh",
        "oneOf": documents,
        "$defs": types.0,
    })
}

/// The short form: fields of the resources, and what rules say in words of their own.
fn short(types: &mut Types) -> Value {
    let of = |kind: Kind, field: &str| json!({ "$ref": format!("#/$defs/{kind}Spec/properties/{field}") });
    let weights = json!({ "type": "object", "additionalProperties": u32::describe(types) });
    let held = |spec: Value| json!({ "oneOf": [{ "type": "string" }, spec] });
    let hash = super::HashOn::describe(types);
    let hash = json!({ "oneOf": [{ "type": "string" }, hash, { "type": "array", "items": hash }] });
    let mut rule = |name: &str| {
        let long = |field: &str| json!({ "$ref": format!("#/$defs/{name}/properties/{field}") });
        let duration = Interval::describe(types);
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "name": long("name"),
                "matches": long("matches"),
                "filters": long("filters"),
                "backends": weights,
                "backendRefs": long("backendRefs"),
                "timeout": duration,
                "attemptTimeout": duration,
                "retry": long("retry"),
                "session": long("sessionPersistence"),
                "sessionPersistence": long("sessionPersistence"),
                "mirror": weights,
                "fault": held(super::FaultSpec::describe(types)),
                "respond": held(super::DirectResponseSpec::describe(types)),
                "sticky": hash,
                "trailers": held(super::TrailerEditSpec::describe(types)),
            },
        })
    };
    let (http, grpc) = (rule("HttpRouteRule"), rule("GrpcRouteRule"));
    // `from` and `allow` have short spellings of their own, which the long types do not know.
    let mapping = json!({ "type": "object" });
    let backend = super::BackendPolicySpec::describe(types);
    let transport = super::TransportPolicySpec::describe(types);
    json!({
        "title": "short form",
        "type": "object",
        "additionalProperties": false,
        "required": ["service"],
        "properties": {
            "service": { "type": "string" },
            "ports": of(Kind::Service, "ports"),
            "endpoints": of(Kind::Service, "endpoints"),
            "subsetOf": of(Kind::Service, "subsetOf"),
            "selector": of(Kind::Service, "selector"),
            "subsetFallback": of(Kind::Service, "subsetFallback"),
            "route": { "type": "array", "items": http },
            "grpcRoute": { "type": "array", "items": grpc },
            "backend": backend,
            "access": mapping,
            "transport": transport,
            "traffic": mapping,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::text::short_fields;

    #[test]
    fn the_schema_knows_each_word_of_the_short_form_and_refers_to_nothing_that_is_not_there() {
        let schema = json_schema();
        let documents = schema["oneOf"].as_array().unwrap();
        assert_eq!(documents.len(), Kind::CHOICES.len() + 1);
        let short = &documents.last().unwrap()["properties"];
        let (document, rule) = short_fields();
        for word in document {
            assert!(short[word].is_object(), "{word}");
        }
        for word in rule {
            for route in ["route", "grpcRoute"] {
                assert!(
                    short[route]["items"]["properties"][word].is_object(),
                    "{word}"
                );
            }
        }
        let text = schema.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(
                schema.pointer(pointer).is_some_and(Value::is_object),
                "{pointer}"
            );
        }
    }
}
