use std::fmt::Write;

use super::Source;
use crate::policy::error::{Location, PolicyError, Severity};

/// How problems are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Text only.
    Plain,
    /// With the colours of a terminal.
    Ansi,
}

/// Longest part of a line that is shown, in characters.
const WIDTH: usize = 140;

/// All problems for people: one block each, with the line of `sources` that has it.
pub fn render(problems: &[PolicyError], sources: &[Source], style: Style) -> String {
    let mut out = String::new();
    for problem in problems {
        block(&mut out, problem, sources, style);
    }
    out
}

fn block(out: &mut String, problem: &PolicyError, sources: &[Source], style: Style) {
    let (word, colour) = match problem.severity {
        Severity::Error => ("error", "1;31"),
        Severity::Warning => ("warning", "1;33"),
    };
    let head = paint(style, colour, &format!("{word}[{}]", problem.code));
    let message = paint(style, "1", &format!(": {}", clean(&problem.message)));
    let _ = writeln!(out, "{head}{message}");
    let mut width = 1;
    match &problem.at {
        None => {
            if let Some(resource) = &problem.resource {
                let path = if problem.path.is_empty() {
                    String::new()
                } else {
                    format!(": {}", problem.path)
                };
                let _ = writeln!(out, "  {} {resource}{path}", paint(style, "34", "-->"));
            }
        }
        Some(at) if problem.related.is_empty() => {
            width = at.line.to_string().len();
            frame(out, at, problem.hint.as_deref(), sources, style, width);
        }
        Some(at) => {
            let _ = write!(
                out,
                "  {} {at} ({})",
                paint(style, "34", "-->"),
                shorten(&problem.path)
            );
            for related in &problem.related {
                let place = &related.at;
                let path = shorten(&related.path);
                let _ = if place.file == at.file {
                    write!(out, " and {}:{} ({path})", place.line, place.column)
                } else {
                    write!(out, " and {place} ({path})")
                };
            }
            out.push('\n');
        }
    }
    let framed = problem.at.is_some() && problem.related.is_empty();
    if let (Some(hint), false) = (&problem.hint, framed) {
        let _ = writeln!(out, "{:w$}= {}", "", clean(hint), w = width + 2);
    }
    if let Some(help) = &problem.help {
        let _ = writeln!(out, "{:w$}= {}", "", clean(help), w = width + 2);
    }
}

fn frame(
    out: &mut String,
    at: &Location,
    hint: Option<&str>,
    sources: &[Source],
    style: Style,
    width: usize,
) {
    let _ = writeln!(
        out,
        "{:w$}{} {at}",
        "",
        paint(style, "34", "-->"),
        w = width + 1
    );
    let source = sources.iter().find(|s| s.name == at.file);
    let line = source.and_then(|s| s.text.lines().nth(at.line.saturating_sub(1) as usize));
    let Some(line) = line else {
        if let Some(hint) = hint {
            let _ = writeln!(out, "{:w$}= {}", "", clean(hint), w = width + 2);
        }
        return;
    };
    let column = at.column.saturating_sub(1) as usize;
    let length = line.trim_end().chars().count();
    // A long line is cut around the place.
    let from = if length > WIDTH {
        column.saturating_sub(WIDTH / 2).min(length - WIDTH)
    } else {
        0
    };
    let shown: String = line.trim_end().chars().skip(from).take(WIDTH).collect();
    let indent: String = line
        .chars()
        .skip(from)
        .take(column.saturating_sub(from))
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let most = (length.saturating_sub(column)).clamp(1, WIDTH);
    let carets = "^".repeat((at.len as usize).clamp(1, most));
    let bar = paint(style, "34", "|");
    let _ = writeln!(out, "{:w$}{bar}", "", w = width + 2);
    let _ = writeln!(
        out,
        " {} {bar} {}",
        paint(style, "34", &at.line.to_string()),
        clean(&shown)
    );
    let _ = write!(
        out,
        "{:w$}{bar} {indent}{}",
        "",
        paint(style, "1;31", &carets),
        w = width + 2
    );
    if let Some(hint) = hint {
        let _ = write!(out, " {}", clean(hint));
    }
    out.push('\n');
}

/// `spec.rules[0].timeouts.request` is `timeouts.request` for people.
fn shorten(path: &str) -> &str {
    let path = path.strip_prefix("spec.").unwrap_or(path);
    match path.split_once("].") {
        Some((head, rest)) if head.starts_with("rules[") => rest,
        _ => path,
    }
}

/// A text may hold control characters that a terminal would obey.
fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn paint(style: Style, colour: &str, text: &str) -> String {
    match style {
        Style::Plain => text.to_owned(),
        Style::Ansi => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
    }
}
