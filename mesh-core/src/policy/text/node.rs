use super::Origin;
use crate::policy::error::Location;
use std::sync::Arc;

/// A place within a text: line and column from 1, length in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pos {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
    /// Length.
    pub len: u32,
}

/// A value of a text with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The value.
    pub value: Value,
    /// Where it is.
    pub pos: Pos,
}

/// What a node holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// Another number.
    Float(f64),
    /// A text.
    Str(String),
    /// A list.
    Seq(Vec<Node>),
    /// Keys and values, in the order of the text, duplicates included.
    Map(Vec<Entry>),
}

/// One key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is.
    pub key_pos: Pos,
    /// The value.
    pub value: Node,
}

// === impl Pos ===

impl Pos {
    pub(crate) fn in_file(self, file: &Arc<str>) -> Location {
        Location {
            file: file.clone(),
            line: self.line,
            column: self.column,
            len: self.len,
        }
    }
}

// === impl Node ===

impl Node {
    pub(crate) fn new(value: Value, pos: Pos) -> Self {
        Self { value, pos }
    }

    pub(crate) fn text(text: impl Into<String>, pos: Pos) -> Self {
        Self::new(Value::Str(text.into()), pos)
    }

    /// A mapping whose keys are at `pos` too.
    pub(crate) fn map<const N: usize>(pos: Pos, entries: [(&str, Node); N]) -> Self {
        let entries = entries
            .into_iter()
            .map(|(key, value)| Entry::new(key, pos, value))
            .collect();
        Self::new(Value::Map(entries), pos)
    }

    pub(crate) fn seq(pos: Pos, items: Vec<Node>) -> Self {
        Self::new(Value::Seq(items), pos)
    }

    /// Whether nothing is there.
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The entry of a mapping under `key`.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|e| e.key == key),
            _ => None,
        }
    }

    /// The value of a mapping under `key`.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|e| &e.value)
    }

    /// What the value is, with its article.
    pub(crate) fn describe(&self) -> String {
        match &self.value {
            Value::Null => "nothing".into(),
            Value::Bool(b) => format!("the truth value `{b}`"),
            Value::Int(n) => format!("the number `{n}`"),
            Value::Float(n) => format!("the number `{n}`"),
            Value::Str(text) if text.chars().count() <= 40 => format!("the text `{text}`"),
            Value::Str(_) => "a text".into(),
            Value::Seq(_) => "a list".into(),
            Value::Map(_) => "a mapping".into(),
        }
    }

    /// The place of a field such as `spec.rules[0].timeouts.request`; when it is not there, of the
    /// nearest one above that is.
    pub fn locate(&self, path: &str) -> Pos {
        let mut node = self;
        let mut pos = self.pos;
        for step in path.split(['.', '[']).filter(|s| !s.is_empty()) {
            let next = match (&node.value, step.strip_suffix(']')) {
                (Value::Seq(items), Some(index)) => {
                    index.parse().ok().and_then(|i: usize| items.get(i))
                }
                _ => node.get(step),
            };
            let Some(next) = next else { break };
            node = next;
            pos = next.pos;
        }
        pos
    }
}

impl Entry {
    pub(crate) fn new(key: impl Into<String>, key_pos: Pos, value: Node) -> Self {
        Self {
            key: key.into(),
            key_pos,
            value,
        }
    }
}

impl Origin {
    /// The place of a field in long form, such as `spec.rules[0].retry`.
    pub fn locate(&self, path: &str) -> Location {
        match self.tree() {
            Some(tree) => tree.locate(path).in_file(self.file()),
            None => Location {
                file: self.file().clone(),
                line: self.line(),
                column: 1,
                len: 1,
            },
        }
    }
}
