use std::sync::Arc;

use super::error::{PolicyErrors, Severity};
use super::model::Snapshot;
use super::spec::Resource;
use super::text::{self, Source};
use super::validate::{Options, validate};

/// What is known about texts after all checks.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The resources, as far as they could be read.
    pub resources: Vec<Arc<Resource>>,
    /// What would be in force; `None` with any error.
    pub snapshot: Option<Snapshot>,
    /// Why the texts are refused, in the order of the texts.
    pub errors: PolicyErrors,
    /// What someone should look at.
    pub warnings: PolicyErrors,
    /// All of that for people, errors first, each with the line that has it.
    pub rendered: String,
}

/// Loads and validates texts: every error of syntax, schema and meaning at once.
///
/// Takes any text: the entry point for fuzzing.
pub fn check(sources: &[Source], options: &Options) -> Checked {
    let loaded = text::load_in(sources, options.default_namespace());
    let options = options.clone().with_broken(loaded.broken);
    let mut problems = loaded.diagnostics.0;
    let mut snapshot = None;
    match validate(&loaded.resources, &options, None) {
        Ok((valid, warnings)) => {
            snapshot = Some(valid);
            problems.extend(warnings);
        }
        Err(errors) => problems.extend(errors),
    }
    problems.sort_by(|a, b| {
        let place = |e: &super::PolicyError| e.at.as_ref().map(|at| (at.line, at.column));
        let source = |e: &super::PolicyError| {
            let file = e.at.as_ref().map(|at| &at.file);
            sources.iter().position(|s| Some(&s.name) == file)
        };
        // What has no place comes last.
        let key = |e: &super::PolicyError| (e.severity, e.at.is_none(), source(e), place(e));
        key(a).cmp(&key(b))
    });
    let (errors, warnings): (Vec<_>, Vec<_>) = problems
        .into_iter()
        .partition(|p| p.severity == Severity::Error);
    let (errors, warnings) = (PolicyErrors(errors), PolicyErrors(warnings));
    let rendered = errors.render(sources) + &warnings.render(sources);
    Checked {
        resources: loaded.resources,
        snapshot: snapshot.filter(|_| errors.is_empty()),
        errors,
        warnings,
        rendered,
    }
}
