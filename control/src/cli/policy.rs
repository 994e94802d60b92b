//! `meshctl policy check | apply | expand | schema`.

use std::io::Read;
use std::path::{Path, PathBuf};

use mesh_core::policy::{self, Options, Source, text};
use mesh_grpc::pb::control as pb;
use serde::Serialize;

use super::args::Format;
use super::connect;
use super::failure::Failure;
use super::output::Output;
use super::table::plural;
use crate::store::{File, read_texts};

/// Checks files as the control server would, all of them together.
pub(super) fn check(
    paths: &[PathBuf],
    namespace: &str,
    format: Format,
    out: &mut Output,
) -> Result<u8, Failure> {
    #[derive(Serialize)]
    struct Answer<'a> {
        ok: bool,
        revision: Option<String>,
        resources: usize,
        problems: Vec<&'a policy::PolicyError>,
    }
    let files = read(paths)?;
    let sources = sources(&files);
    let options = Options::whole().with_default_namespace(namespace);
    let checked = policy::check(&sources, &options);
    let revision = checked
        .snapshot
        .as_ref()
        .map(|snapshot| snapshot.revision().to_string());
    let (errors, warnings) = (checked.errors.0.len(), checked.warnings.0.len());
    if format == Format::Json {
        out.json(&Answer {
            ok: errors == 0,
            revision,
            resources: checked.resources.len(),
            problems: checked
                .errors
                .iter()
                .chain(checked.warnings.iter())
                .collect(),
        });
        return Ok(u8::from(errors > 0));
    }
    if !checked.rendered.is_empty() {
        let rendered = if out.colour_err() {
            checked.errors.render_ansi(&sources) + &checked.warnings.render_ansi(&sources)
        } else {
            checked.rendered.clone()
        };
        out.fail(rendered.trim_end());
    }
    if errors > 0 {
        let first = checked.errors.0.first().map(|error| error.code.to_string());
        return Err(Failure::findings(
            format!(
                "{}, {}",
                plural(errors, "error"),
                plural(warnings, "warning")
            ),
            format!(
                "correct the lines above; meshctl explain {}",
                first.unwrap_or_default()
            ),
        ));
    }
    out.line(&format!(
        "ok: {}, {}, revision {}",
        plural(checked.resources.len(), "resource"),
        plural(warnings, "warning"),
        revision.unwrap_or_default()
    ));
    Ok(0)
}

/// Sends files to the control server, in place of what was applied before.
pub(super) async fn apply(
    control: &str,
    paths: &[PathBuf],
    dry_run: bool,
    format: Format,
    out: &mut Output,
) -> Result<u8, Failure> {
    #[derive(Serialize)]
    struct Answer {
        accepted: bool,
        dry_run: bool,
        revision: String,
        resources: u32,
        problems: serde_json::Value,
    }
    let files = read(paths)?;
    let files = files.into_iter().map(|file| pb::PolicyFile {
        name: file.name,
        text: file.text,
    });
    let mut admin = connect::admin(control).await?;
    let request = pb::ApplyRequest {
        files: files.collect(),
        dry_run,
    };
    let answer = connect::ask(admin.apply(request)).await?;
    if format == Format::Json {
        out.json(&Answer {
            accepted: answer.accepted,
            dry_run,
            revision: answer.revision,
            resources: answer.resources,
            problems: serde_json::from_str(&answer.diagnostics_json).unwrap_or_default(),
        });
        return Ok(u8::from(!answer.accepted));
    }
    if !answer.rendered.is_empty() {
        out.fail(answer.rendered.trim_end());
    }
    if !answer.accepted {
        return Err(Failure::findings(
            format!(
                "the policy was refused; revision {} stays in force",
                answer.revision
            ),
            "correct the lines above and apply again; meshctl policy check FILE needs no server",
        ));
    }
    let resources = answer.resources;
    out.line(&match dry_run {
        true => {
            format!("would be accepted: {resources} resources in force then; nothing was changed")
        }
        false => format!(
            "applied: revision {} in force, {resources} resources",
            answer.revision
        ),
    });
    Ok(0)
}

/// Prints the long form.
pub(super) fn expand(path: &Path, out: &mut Output) -> Result<u8, Failure> {
    let files = read(&[path.to_owned()])?;
    for (source, ix) in sources(&files).iter().zip(0..) {
        match text::expand(source) {
            Ok(long) => {
                if ix > 0 {
                    out.line("---");
                }
                out.text(&long);
            }
            Err(errors) => {
                out.fail(errors.render(std::slice::from_ref(source)).trim_end());
                return Err(Failure::findings(
                    format!("{} errors", errors.0.len()),
                    "correct the lines above",
                ));
            }
        }
    }
    Ok(0)
}

/// The JSON schema of a policy text, in either form.
pub(super) fn schema(out: &mut Output) -> Result<u8, Failure> {
    out.json(&policy::spec::json_schema());
    Ok(0)
}

/// Files, the policy texts of directories, and `-` for standard input.
fn read(paths: &[PathBuf]) -> Result<Vec<File>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        let unreadable = |error: std::io::Error| {
            Failure::usage(
                format!("{}: {error} [M1003]", path.display()),
                "give a policy file, a directory of *.yaml files, or - for standard input",
            )
        };
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin()
                .read_to_string(&mut text)
                .map_err(unreadable)?;
            files.push(File {
                name: "(standard input)".to_owned(),
                text,
            });
        } else {
            files.extend(read_texts(path).map_err(unreadable)?);
        }
    }
    if files.is_empty() {
        return Err(Failure::usage(
            "no policy file found [M1003]",
            "policy files end in .yaml or .yml",
        ));
    }
    Ok(files)
}

fn sources(files: &[File]) -> Vec<Source> {
    files
        .iter()
        .map(|file| Source::new(file.name.as_str(), file.text.as_str()))
        .collect()
}
