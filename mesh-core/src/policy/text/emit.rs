use std::fmt::Write;

use crate::policy::spec::Ratio;

/// A value to be written: like a [`Node`](super::Node), without places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// Nothing.
    Null,
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number in thousandths.
    Milli(u32),
    /// A text.
    Str(String),
    /// A list.
    Seq(Vec<Tree>),
    /// Keys and values, in this order.
    Map(Vec<(String, Tree)>),
}

/// Width up to which a mapping or list without depth is written in one line.
const INLINE: usize = 80;

impl Tree {
    /// The value as YAML, block style, short leaves in one line.
    pub(super) fn to_yaml(&self) -> String {
        let mut out = String::new();
        self.block(&mut out, 0);
        out
    }

    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    fn is_scalar(&self) -> bool {
        !matches!(self, Self::Seq(_) | Self::Map(_))
    }

    fn is_line(&self) -> bool {
        match self {
            Self::Seq(items) => items.iter().all(Self::is_scalar),
            other => other.is_scalar(),
        }
    }

    fn block(&self, out: &mut String, indent: usize) {
        match self {
            Self::Map(entries) if !entries.is_empty() => {
                for (key, value) in entries {
                    pad(out, indent);
                    scalar(out, key);
                    out.push(':');
                    value.after_key(out, indent);
                }
            }
            Self::Seq(items) if !items.is_empty() => {
                for item in items {
                    pad(out, indent);
                    out.push('-');
                    item.after_dash(out, indent);
                }
            }
            _ => {
                pad(out, indent);
                self.flow(out);
                out.push('\n');
            }
        }
    }

    fn after_key(&self, out: &mut String, indent: usize) {
        if let Some(line) = self.inline(indent) {
            out.push(' ');
            out.push_str(&line);
            out.push('\n');
            return;
        }
        out.push('\n');
        let deeper = match self {
            Self::Seq(_) => indent,
            _ => indent + 2,
        };
        self.block(out, deeper);
    }

    fn after_dash(&self, out: &mut String, indent: usize) {
        if let Some(line) = self.inline(indent) {
            out.push(' ');
            out.push_str(&line);
            out.push('\n');
            return;
        }
        // The first line of the item stands behind the dash.
        let start = out.len();
        self.block(out, indent + 2);
        out.replace_range(start..start + indent + 2, " ");
    }

    /// The value in one line, if it is a leaf or holds only leaves, and fits.
    fn inline(&self, indent: usize) -> Option<String> {
        let shallow = match self {
            Self::Map(entries) => indent > 0 && entries.iter().all(|(_, v)| v.is_line()),
            Self::Seq(items) => items.iter().all(Self::is_scalar),
            _ => true,
        };
        let empty = matches!(self, Self::Map(e) if e.is_empty());
        if !shallow && !empty {
            return None;
        }
        let mut line = String::new();
        self.flow(&mut line);
        (self.is_scalar() || empty || line.len() + indent <= INLINE).then_some(line)
    }

    fn flow(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Int(n) => {
                let _ = write!(out, "{n}");
            }
            Self::Milli(n) => {
                let _ = write!(out, "{}", Ratio::from_milli(*n));
            }
            Self::Str(text) => scalar(out, text),
            Self::Seq(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    out.push_str(if n > 0 { ", " } else { "" });
                    item.flow(out);
                }
                out.push(']');
            }
            Self::Map(entries) if entries.is_empty() => out.push_str("{}"),
            Self::Map(entries) => {
                out.push_str("{ ");
                for (n, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if n > 0 { ", " } else { "" });
                    scalar(out, key);
                    out.push_str(": ");
                    value.flow(out);
                }
                out.push_str(" }");
            }
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// A text, in quotes unless it is plainly a word that no YAML reader takes for something else.
fn scalar(out: &mut String, text: &str) {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':');
    // A colon is safe in the middle of a word (`shop/reviews:8080`), not before a space or the end.
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && text.chars().all(word)
        && !text.ends_with(':')
        && !reserved(text);
    // Durations and addresses start with a digit and hold a letter or two dots: never numbers.
    let number = text.starts_with(|c: char| c.is_ascii_digit())
        && text.parse::<crate::policy::spec::Interval>().is_ok();
    if plain || number {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let n = u32::from(c);
                let _ = write!(out, "\\u{n:04x}");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Words that some YAML reader takes for a truth value, nothing or a number.
fn reserved(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let words = [
        "true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf", "infinity",
    ];
    words.contains(&lower.as_str())
}
