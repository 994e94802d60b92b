//! `meshctl explain CODE`.

use mesh_core::error::{Code, CodeInfo, registry};
use serde::Serialize;

use crate::cli::args::Format;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::table::{Align, Table};

#[derive(Serialize)]
struct Page<'a> {
    code: String,
    title: &'a str,
    what: &'a str,
    causes: &'a [&'a str],
    next: &'a [&'a str],
}

/// Whether a text is meant as a code: `M` and digits only.
pub(super) fn is_code(text: &str) -> bool {
    let digits = text.strip_prefix(['M', 'm']).unwrap_or_default();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn explain(text: &str, format: Format, out: &mut Output) -> Result<u8, Failure> {
    let unknown = || {
        Failure::usage(
            format!("{text} is not a code of the mesh; codes look like M2003 [M1003]"),
            "meshctl explain lists all codes",
        )
    };
    let code: Code = text.to_ascii_uppercase().parse().map_err(|_| unknown())?;
    let info = code.info().ok_or_else(unknown)?;
    match format {
        Format::Json => out.json(&page(info)),
        Format::Text => out.text(&render(info)),
    }
    Ok(0)
}

pub(super) fn list(format: Format, out: &mut Output) {
    if format == Format::Json {
        let pages: Vec<_> = registry().iter().map(page).collect();
        out.json(&pages);
        return;
    }
    let mut table = Table::new(&[("CODE", Align::Left), ("WHAT", Align::Left)]);
    for info in registry() {
        table.row([info.code.to_string(), info.title.to_owned()]);
    }
    out.text(&table.render());
}

fn page(info: &CodeInfo) -> Page<'_> {
    Page {
        code: info.code.to_string(),
        title: info.title,
        what: info.what,
        causes: info.causes,
        next: info.next,
    }
}

fn render(info: &CodeInfo) -> String {
    let mut text = format!("{}: {}\n\n{}\n", info.code, info.title, info.what);
    for (head, lines) in [("causes", info.causes), ("next", info.next)] {
        if !lines.is_empty() {
            text.push_str(&format!("\n{head}:\n"));
            text.extend(lines.iter().map(|line| format!("  - {line}\n")));
        }
    }
    text
}
