//! `meshctl check`.

use std::fmt::Write;

use mesh_grpc::pb::control as pb;

use super::args::Format;
use super::connect;
use super::failure::Failure;
use super::output::{Output, Paint};
use super::table::{WIDTH, plural};
use crate::view::Finding;

pub(super) async fn run(control: &str, format: Format, out: &mut Output) -> Result<u8, Failure> {
    let mut admin = connect::admin(control).await?;
    let answer = connect::ask(admin.check(pb::CheckRequest {})).await?;
    let findings: Vec<Finding> = answer.findings.into_iter().map(Finding::from).collect();
    let bad = findings
        .iter()
        .filter(|finding| finding.severity != "ok")
        .count();
    match format {
        Format::Json => out.json(&findings),
        Format::Text => {
            let text = render(&findings, |paint, text| out.paint(paint, text));
            out.text(&text);
        }
    }
    Ok(u8::from(bad > 0))
}

/// Findings, worst first, then what is well, and a sum with the next step.
pub(super) fn render(findings: &[Finding], paint: impl Fn(Paint, &str) -> String) -> String {
    let mut text = String::new();
    let printable = |text: &str| {
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect()
    };
    for finding in findings {
        let (word, colour) = match finding.severity {
            "ok" => ("ok     ", Paint::Good),
            "warning" => ("WARNING", Paint::Warn),
            _ => ("ERROR  ", Paint::Bad),
        };
        let code = if finding.code.is_empty() {
            String::new()
        } else {
            format!("[{}] ", finding.code)
        };
        let said: String = printable(&format!("{code}{}: {}", finding.subject, finding.message));
        let mut lines = wrap(&said, WIDTH - 9).into_iter();
        let first = lines.next().unwrap_or_default();
        let _ = writeln!(text, "{}  {first}", paint(colour, word));
        for line in lines {
            let _ = writeln!(text, "         {line}");
        }
        if !finding.next.is_empty() {
            for (ix, line) in wrap(&printable(&finding.next), WIDTH - 15)
                .into_iter()
                .enumerate()
            {
                let head = if ix == 0 { "next:" } else { "     " };
                let _ = writeln!(text, "         {head} {line}");
            }
        }
    }
    let count = |severity: &str| findings.iter().filter(|f| f.severity == severity).count();
    match findings.iter().find(|finding| finding.severity != "ok") {
        None => text.push_str("all ok\n"),
        Some(worst) => {
            let (errors, warnings) = (count("error"), count("warning"));
            let (errors, warnings) = (plural(errors, "error"), plural(warnings, "warning"));
            let _ = writeln!(text, "{errors}, {warnings}");
            let _ = writeln!(text, "next: meshctl explain {}", worst.code);
        }
    }
    text
}

/// Breaks at blanks so that no line is longer than `width`; a longer word stands alone.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let last = lines.len() - 1;
        let line = &mut lines[last];
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
