//! The only place that names the YAML parser.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, Options};
use serde_saphyr::{Error, Location, Spanned};

use super::{Entry, Node, Pos, Value, limits};

/// A text that is not YAML, or more than is accepted.
pub(super) struct Broken {
    pub(super) message: String,
    pub(super) pos: Option<Pos>,
    pub(super) too_large: bool,
}

/// The documents of a text. After an error of syntax, what stands before it is kept.
pub(super) fn parse(text: &str) -> (Vec<Node>, Option<Broken>) {
    let mut bytes = text.as_bytes();
    let mut documents = Vec::new();
    let mut nodes = 0;
    for document in serde_saphyr::read_with_options::<_, Document>(&mut bytes, options()) {
        match document {
            Ok(Document(document)) => {
                nodes += count(&document);
                if nodes > limits::NODES {
                    let message = format!("more than {} values in one text", limits::NODES);
                    return (documents, Some(Broken::too_large(message, document.pos)));
                }
                documents.push(document);
            }
            Err(error) => return (documents, Some(broken(&error))),
        }
    }
    (documents, None)
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::Seq(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|e| 1 + count(&e.value)).sum::<usize>(),
        _ => 1,
    }
}

fn options() -> Options {
    let mut options = serde_saphyr::options! {
        // All pairs are wanted: repeated keys are found here, with both places.
        duplicate_keys: DuplicateKeyPolicy::LastWins,
        strict_booleans: true,
        with_snippet: false,
        budget: serde_saphyr::budget! {
            max_depth: limits::DEPTH,
            flow_nesting_limit: limits::DEPTH,
            max_nodes: limits::NODES,
            max_events: limits::NODES * 2,
            max_aliases: limits::ALIASES,
            max_anchors: limits::ALIASES,
            max_documents: limits::RESOURCES + 1,
            enforce_alias_anchor_ratio: false,
        },
    };
    options.alias_limits.max_total_replayed_events = limits::EXPANSION;
    options.alias_limits.max_replay_stack_depth = limits::DEPTH;
    options.alias_limits.max_alias_expansions_per_anchor = limits::EXPANSION;
    options
}

fn broken(error: &Error) -> Broken {
    let error = error.without_snippet();
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default();
    // Limits are found by several parts of the parser, each with an error of its own.
    let too_large = [
        "limit exceeded",
        "depth exceeded",
        "budget",
        "limits breached",
    ]
    .iter()
    .any(|words| text.contains(words));
    // The place is shown by ourselves.
    let message = ["error: ", "YAML parse error: "]
        .iter()
        .fold(text, |text, prefix| {
            text.strip_prefix(prefix).unwrap_or(text)
        });
    let message = message.split(" at line ").next().unwrap_or(message);
    let message = message.trim_end_matches([',', ':', '.']);
    Broken {
        message: if too_large {
            format!("the text is nested too deep, or its aliases make too much of it: {message}")
        } else {
            message.to_owned()
        },
        pos: error.location().and_then(place),
        too_large,
    }
}

fn place(location: Location) -> Option<Pos> {
    let short = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    (location.line() > 0).then(|| Pos {
        line: short(location.line()),
        column: short(location.column()),
        len: short(location.span().len()).max(1),
    })
}

impl Broken {
    fn too_large(message: String, pos: Pos) -> Self {
        Self {
            message,
            pos: Some(pos),
            too_large: true,
        }
    }
}

struct Document(Node);

struct Key(String);

struct Values;

fn located(spanned: Spanned<Value>) -> Node {
    let pos = place(spanned.referenced)
        .or_else(|| place(spanned.defined))
        .unwrap_or_default();
    Node::new(spanned.value, pos)
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Spanned::<Value>::deserialize(deserializer).map(|s| Self(located(s)))
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Values)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(Values)? {
            Value::Null => Ok(Self("null".into())),
            Value::Bool(b) => Ok(Self(b.to_string())),
            Value::Int(n) => Ok(Self(n.to_string())),
            Value::Float(n) => Ok(Self(n.to_string())),
            Value::Str(text) => Ok(Self(text)),
            Value::Seq(_) | Value::Map(_) => Err(de::Error::custom("a key must be a word")),
        }
    }
}

impl<'de> Visitor<'de> for Values {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Str(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Str(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<Spanned<Value>>()? {
            items.push(located(item));
        }
        Ok(Value::Seq(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<Key>>()? {
            let value = map.next_value::<Spanned<Value>>()?;
            let key_pos = place(key.referenced).unwrap_or_default();
            entries.push(Entry::new(key.value.0, key_pos, located(value)));
        }
        Ok(Value::Map(entries))
    }
}
