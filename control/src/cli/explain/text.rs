//! The tables, within 100 columns. Conditions and targets are continued on the next line, not cut.

use std::fmt::Write;

use super::rows::{Access, Effective, Step};
use super::source::Setting;
use super::words::ANY;
use crate::cli::check::wrap;
use crate::cli::table::{Align, Table, WIDTH};

use Align::Left;

const MATCH_WIDTH: usize = 38;
const TARGET_WIDTH: usize = 34;

pub(super) fn render(effective: &Effective) -> String {
    let mut text = String::new();
    lines(
        &mut text,
        &format!("{}, revision {}", effective.service, effective.revision),
    );
    if let Some(defined) = &effective.defined {
        lines(&mut text, &format!("defined by {defined}"));
    }
    for note in &effective.notes {
        lines(&mut text, &format!("note: {note}"));
    }
    for table in &effective.tables {
        let ports: Vec<_> = table.ports.iter().map(u16::to_string).collect();
        let whose = match ports.len() {
            0 => String::new(),
            1 => format!(" of calls to port {}", ports[0]),
            _ => format!(" of calls to ports {}", ports.join(", ")),
        };
        head(
            &mut text,
            &format!("Routes{whose}, in the order in which they are tried"),
        );
        text.push_str(&steps(&table.steps));
        if table.steps.iter().all(|step| step.condition != ANY) {
            lines(&mut text, "what fits none of these is not sent [M2001]");
        }
    }
    for route in &effective.routes {
        head(&mut text, &format!("Route {}: {}", route.route, route.from));
        for filter in &route.filters {
            lines(&mut text, &format!("changes: {filter}"));
        }
        text.push_str(&settings(&route.settings));
    }
    for group in &effective.backends {
        text.push('\n');
        for backend in &group.backends {
            lines(
                &mut text,
                &format!(
                    "Backend {}: {} over {}, {}",
                    backend.name, backend.protocol, backend.tls, backend.endpoints
                ),
            );
        }
        text.push_str(&settings(&group.settings));
    }
    head(&mut text, "Callers");
    access(&mut text, &effective.access);
    text.push_str(&settings(&effective.transport));
    head(&mut text, "Calls that arrive");
    text.push_str(&settings(&effective.inbound));
    text
}

fn steps(steps: &[Step]) -> String {
    let mut table = Table::new(&[("#", Left), ("MATCH", Left), ("TO", Left), ("ROUTE", Left)]);
    for (number, step) in steps.iter().enumerate() {
        let to = match &step.redirect {
            Some(redirect) => redirect.clone(),
            None => targets(step),
        };
        let condition = fold(&step.condition, MATCH_WIDTH);
        let to = fold(&to, TARGET_WIDTH);
        for line in 0..condition.len().max(to.len()) {
            let first = |text: String| if line == 0 { text } else { String::new() };
            let part = |lines: &[String]| lines.get(line).cloned().unwrap_or_default();
            table.row([
                first((number + 1).to_string()),
                part(&condition),
                part(&to),
                first(step.route.clone()),
            ]);
        }
    }
    table.render()
}

/// `reviews-v1:8080 90%, reviews-v2:8080 10%`; the share is left out when there is one target.
fn targets(step: &Step) -> String {
    let total: u64 = step.targets.iter().map(|t| u64::from(t.weight)).sum();
    let words = step.targets.iter().map(|target| {
        if step.targets.len() == 1 {
            return target.backend.clone();
        }
        let share = crate::cli::table::share(u64::from(target.weight), total, 1);
        let share = share.replace(".0%", "%");
        format!("{} {share}", target.backend)
    });
    words.collect::<Vec<_>>().join(", ")
}

fn settings(settings: &[Setting]) -> String {
    let mut table = Table::new(&[("SETTING", Left), ("VALUE", Left), ("FROM", Left)]);
    let widest = |texts: &dyn Fn(&Setting) -> &str| {
        let widths = settings.iter().map(|s| texts(s).chars().count());
        widths.max().unwrap_or(0).max("SETTING".len())
    };
    let taken = widest(&|s| &s.name) + widest(&|s| &s.value) + 4;
    for setting in settings {
        table.row([
            setting.name.clone(),
            setting.value.clone(),
            setting.from.within(WIDTH.saturating_sub(taken)),
        ]);
    }
    table.render()
}

fn access(text: &mut String, access: &Access) {
    let mode = match access.mode {
        "open" => "open: no AccessPolicy, every call is allowed".to_owned(),
        "audit" => format!(
            "audit, calls beyond these rules are counted: {}",
            access.from
        ),
        _ => format!(
            "enforce, calls beyond these rules are denied: {}",
            access.from
        ),
    };
    lines(text, &mode);
    for rule in &access.allow {
        lines(text, &format!("  allow {rule}"));
    }
    if access.mode != "open" && access.allow.is_empty() {
        lines(text, "  allow nobody");
    }
}

fn head(text: &mut String, head: &str) {
    text.push('\n');
    lines(text, head);
}

/// Lines within the width; texts of a policy cannot move a cursor.
fn lines(text: &mut String, line: &str) {
    let indent = line.len() - line.trim_start().len();
    for (ix, part) in fold(line.trim_start(), WIDTH - 4).into_iter().enumerate() {
        let blanks = if ix == 0 { indent } else { 4 };
        let _ = writeln!(text, "{}{part}", " ".repeat(blanks));
    }
}

/// Breaks at blanks, and a word that is too long wherever it must be.
fn fold(text: &str, width: usize) -> Vec<String> {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let mut out = Vec::new();
    for line in wrap(&clean, width) {
        let letters: Vec<char> = line.chars().collect();
        out.extend(letters.chunks(width).map(String::from_iter));
    }
    out
}
