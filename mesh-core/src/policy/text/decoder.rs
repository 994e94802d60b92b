use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::{Entry, Node, Pos, Value, closest, limits};
use crate::error::Code;
use crate::policy::error::PolicyError;
use crate::policy::spec::{Decode, Interval, IntervalError, Ratio, ResourceId, StatusRange};

/// Collects problems while a tree is decoded. Knows where it is: file, resource and field.
pub(crate) struct Decoder {
    file: Arc<str>,
    pub(super) resource: Option<ResourceId>,
    path: String,
    pub(super) problems: Vec<PolicyError>,
    /// Problems beyond those that are reported.
    pub(super) more: usize,
}

impl Decoder {
    pub(super) fn new(file: Arc<str>) -> Self {
        Self {
            file,
            resource: None,
            path: String::new(),
            problems: Vec::new(),
            more: 0,
        }
    }

    pub(super) fn file(&self) -> Arc<str> {
        self.file.clone()
    }

    /// Notes a problem at `pos`, at the current field.
    pub(crate) fn note(&mut self, code: Code, pos: Pos, message: impl Into<String>) {
        self.note_with(code, pos, message, None);
    }

    /// The same, with what was probably meant.
    pub(crate) fn note_with(
        &mut self,
        code: Code,
        pos: Pos,
        message: impl Into<String>,
        hint: Option<String>,
    ) {
        if self.problems.len() >= limits::PROBLEMS {
            self.more += 1;
            return;
        }
        let mut error = PolicyError::new(code, message);
        error.resource.clone_from(&self.resource);
        error.path.clone_from(&self.path);
        error.hint = hint;
        error.at = Some(pos.in_file(&self.file));
        self.problems.push(error);
    }

    /// Runs `f` with the path one step deeper.
    pub(super) fn at<T>(&mut self, step: &str, f: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        if !self.path.is_empty() && !step.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(step);
        let out = f(self);
        self.path.truncate(before);
        out
    }

    fn expected(&mut self, node: &Node, what: &str, hint: Option<String>) {
        let message = format!("expected {what}, found {}", node.describe());
        self.note_with(Code::POLICY_WRONG_TYPE, node.pos, message, hint);
    }

    /// The entries of a mapping. Unknown and repeated keys are noted.
    pub(crate) fn mapping<'n>(&mut self, node: &'n Node, fields: &[&str]) -> Option<&'n [Entry]> {
        let Value::Map(entries) = &node.value else {
            self.expected(node, "a mapping", None);
            return None;
        };
        self.duplicates(entries);
        let mut seen = HashSet::new();
        for entry in entries {
            if fields.contains(&entry.key.as_str()) || !seen.insert(&entry.key) {
                continue;
            }
            let hint = allowed(&entry.key, fields);
            let message = format!("unknown field `{}`", entry.key);
            self.at(&entry.key, |cx| {
                cx.note_with(Code::POLICY_UNKNOWN_FIELD, entry.key_pos, message, hint);
            });
        }
        Some(entries)
    }

    pub(super) fn duplicates(&mut self, entries: &[Entry]) {
        let mut first_of: HashMap<&str, &Entry> = HashMap::new();
        for entry in entries {
            if let Some(first) = first_of.insert(&entry.key, entry) {
                first_of.insert(&entry.key, first);
                let hint = format!("first given in line {}", first.key_pos.line);
                let message = format!("`{}` is given twice", entry.key);
                self.at(&entry.key, |cx| {
                    cx.note_with(
                        Code::POLICY_DUPLICATE_KEY,
                        entry.key_pos,
                        message,
                        Some(hint),
                    );
                });
            }
        }
    }

    /// A field that may be left out. One that cannot be read counts as left out: its problem is
    /// noted, and the rest of the resource can still be checked.
    pub(crate) fn optional<T: Decode + Default>(
        &mut self,
        entries: &[Entry],
        key: &str,
    ) -> Option<T> {
        let value = match entries.iter().find(|e| e.key == key) {
            Some(entry) if !entry.value.is_null() => self.at(key, |cx| T::decode(&entry.value, cx)),
            _ => None,
        };
        Some(value.unwrap_or_default())
    }

    /// A field that must be there.
    pub(crate) fn required<T: Decode>(
        &mut self,
        node: &Node,
        entries: &[Entry],
        key: &str,
    ) -> Option<T> {
        match entries.iter().find(|e| e.key == key) {
            Some(entry) if !entry.value.is_null() => self.at(key, |cx| T::decode(&entry.value, cx)),
            found => {
                let pos = found.map_or(node.pos, |entry| entry.key_pos);
                self.at(key, |cx| {
                    cx.note(
                        Code::POLICY_MISSING_FIELD,
                        pos,
                        format!("field `{key}` is missing"),
                    );
                });
                None
            }
        }
    }

    /// A list. Entries that cannot be read are noted and left out.
    pub(crate) fn sequence<T: Decode>(&mut self, node: &Node) -> Option<Vec<T>> {
        let Value::Seq(items) = &node.value else {
            let hint = "a list is written as lines that start with `- `, or in [ ]";
            self.expected(node, "a list", Some(hint.into()));
            return None;
        };
        let mut out = Vec::with_capacity(items.len());
        for (n, item) in items.iter().enumerate() {
            out.extend(self.at(&format!("[{n}]"), |cx| T::decode(item, cx)));
        }
        Some(out)
    }

    /// A mapping with free keys.
    pub(crate) fn map_of<T: Decode>(&mut self, node: &Node) -> Option<BTreeMap<String, T>> {
        let Value::Map(entries) = &node.value else {
            self.expected(node, "a mapping", None);
            return None;
        };
        self.duplicates(entries);
        let mut out = BTreeMap::new();
        for entry in entries {
            if let Some(value) = self.at(&entry.key, |cx| T::decode(&entry.value, cx)) {
                out.insert(entry.key.clone(), value);
            }
        }
        Some(out)
    }

    /// A text.
    pub(crate) fn string(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Str(text) => return Some(text.clone()),
            Value::Int(_) | Value::Float(_) | Value::Bool(_) => {
                self.expected(node, "a text", Some("put it in quotes".into()));
            }
            _ => self.expected(node, "a text", None),
        }
        None
    }

    /// A truth value.
    pub(crate) fn boolean(&mut self, node: &Node) -> Option<bool> {
        match node.value {
            Value::Bool(value) => Some(value),
            _ => {
                self.expected(node, "true or false", None);
                None
            }
        }
    }

    /// A whole number from 0 to `most`.
    pub(crate) fn integer(&mut self, node: &Node, most: u64) -> Option<u64> {
        match node.value {
            Value::Int(n) => match u64::try_from(n) {
                Ok(n) if n <= most => return Some(n),
                _ => self.note(
                    Code::POLICY_RANGE,
                    node.pos,
                    format!("{n} is not in the range 0 to {most}"),
                ),
            },
            _ => self.expected(node, "a whole number", None),
        }
        None
    }

    /// A number of at most three decimals.
    pub(crate) fn ratio(&mut self, node: &Node) -> Option<Ratio> {
        let number = match node.value {
            Value::Int(n) => n as f64,
            Value::Float(n) => n,
            _ => {
                self.expected(node, "a number such as 2 or 1.5", None);
                return None;
            }
        };
        let ratio = Ratio::from_f64(number);
        if ratio.is_none() {
            let message =
                format!("{number} is not a number of at most three decimals, 0 to 4294967.295");
            self.note(Code::POLICY_RANGE, node.pos, message);
        }
        ratio
    }

    /// HTTP status codes: one, or from one to another.
    pub(crate) fn status_range(&mut self, node: &Node) -> Option<StatusRange> {
        let text = match &node.value {
            Value::Str(text) => text.clone(),
            Value::Int(n) => n.to_string(),
            _ => {
                self.expected(node, "status codes such as 204 or 200-299", None);
                return None;
            }
        };
        let range = text.parse();
        if let Err(why) = range {
            self.note(Code::POLICY_RANGE, node.pos, why);
        }
        range.ok()
    }

    /// A duration.
    pub(crate) fn interval(&mut self, node: &Node) -> Option<Interval> {
        let (text, number) = match &node.value {
            Value::Str(text) => (text.clone(), false),
            Value::Int(n) => (n.to_string(), true),
            Value::Float(n) => (n.to_string(), true),
            _ => {
                self.expected(node, "a duration such as 500ms or 2s", None);
                return None;
            }
        };
        match text.parse() {
            Ok(interval) => Some(interval),
            Err(error) => {
                let bare = number || error == IntervalError::NoUnit;
                let (message, hint) = if bare {
                    let hint = format!("did you mean `{text}s` or `{text}ms`?");
                    let whole = text.bytes().all(|b| b.is_ascii_digit());
                    (IntervalError::NoUnit.to_string(), whole.then_some(hint))
                } else {
                    (error.to_string(), decimal(&text))
                };
                self.note_with(Code::POLICY_DURATION, node.pos, message, hint);
                None
            }
        }
    }

    /// One of a few words.
    pub(crate) fn choice(&mut self, node: &Node, choices: &[&'static str]) -> Option<&'static str> {
        let text = match &node.value {
            Value::Str(text) => text.clone(),
            // A TLS version is a number to YAML.
            Value::Float(n) => n.to_string(),
            _ => self.string(node)?,
        };
        if let Some(choice) = choices.iter().find(|c| **c == text) {
            return Some(choice);
        }
        let message = format!("`{text}` is none of the values that are possible here");
        let hint = allowed(&text, choices);
        self.note_with(Code::POLICY_RANGE, node.pos, message, hint);
        None
    }
}

/// "did you mean ...? allowed: ..."
pub(super) fn allowed(text: &str, known: &[&str]) -> Option<String> {
    if known.is_empty() {
        return Some("no field is allowed here".into());
    }
    let list = known.join(", ");
    Some(match closest(text, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?    allowed: {list}"),
        None => format!("allowed: {list}"),
    })
}

/// `1.5s` is not a duration of Gateway API; `1500ms` is.
fn decimal(text: &str) -> Option<String> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let scale = match &text[number.len()..] {
        "s" => 1000.0,
        "m" => 60_000.0,
        "h" => 3_600_000.0,
        _ => return None,
    };
    let millis = number.parse::<f64>().ok()? * scale;
    (number.contains('.') && millis.fract() == 0.0 && (1.0..1e12).contains(&millis)).then(|| {
        let interval = Interval::new(std::time::Duration::from_millis(millis as u64));
        format!("did you mean `{interval}`?")
    })
}
