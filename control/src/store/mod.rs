//! The policy in force: what was applied, and what lies in the policy directory, as one whole.
//!
//! Both are validated together by `mesh_core::policy`, so a reference from one to the other holds,
//! and a resource defined in both is an error that says where. A change that does not pass is
//! refused as a whole: what was in force stays, and the refusal is kept to be shown. A change that
//! passes is on disk (synced) before anybody hears of it.

mod directory;
mod history;
mod saved;

#[cfg(test)]
mod tests;

pub(crate) use directory::{Look, PolicyDir, SETTLE, read_texts};
pub(crate) use saved::File;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use mesh_core::policy::spec::Resource;
use mesh_core::policy::{self, Checked, Options, Snapshot, Source};

use crate::Error;
use history::History;
use saved::Saved;

/// The policy of the mesh.
#[derive(Debug)]
pub(crate) struct PolicyStore {
    options: Options,
    saved: Saved,
    saved_path: PathBuf,
    history: History,
    current: Current,
    refused: Option<Refused>,
}

/// What is in force.
#[derive(Clone, Debug)]
pub(crate) struct Current {
    pub(crate) revision: Arc<str>,
    pub(crate) resources: Arc<[Arc<Resource>]>,
    pub(crate) snapshot: Snapshot,
    pub(crate) warnings: usize,
}

/// The last change of the directory, if it did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Code of the first error.
    pub(crate) code: String,
    /// The first error with its place.
    pub(crate) first: String,
    pub(crate) errors: usize,
    /// All errors for people.
    pub(crate) rendered: String,
}

/// What became of a change.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Whether it is in force (of a dry run: whether it would be).
    pub(crate) accepted: bool,
    /// Whether that is another revision than before.
    pub(crate) changed: bool,
    pub(crate) checked: Checked,
    /// It passed, but could not be written; the old policy stays in force.
    pub(crate) unwritten: Option<String>,
}

impl PolicyStore {
    /// Opens the state directory's policy and the texts of the policy directory. With texts that do
    /// not pass, what was in force last is in force again.
    pub(crate) fn open(
        state_dir: &Path,
        options: Options,
        directory: Vec<File>,
    ) -> Result<Self, Error> {
        let saved_path = state_dir.join("policy.json");
        let saved = Saved::load(&saved_path)?;
        let history = History::open(&state_dir.join("history"))?;
        let mut store = Self {
            options,
            saved,
            saved_path,
            history,
            current: Current::empty(),
            refused: None,
        };
        let before = store.saved.in_force();
        let checked = store.check(&before);
        if let Some(current) = Current::of(&checked) {
            store.current = current;
        }
        let outcome = store.take_directory(directory);
        if let Some(why) = outcome.unwritten {
            return Err(Error::new(
                "M5003",
                format!(
                    "state directory: {} cannot be written: {why}",
                    store.saved_path.display()
                ),
                "check the directory's owner and free space",
            ));
        }
        Ok(store)
    }

    pub(crate) fn current(&self) -> &Current {
        &self.current
    }

    /// The texts that [`current`](Self::current) was read from.
    pub(crate) fn files(&self) -> Vec<File> {
        self.saved.in_force()
    }

    /// The namespace of resources that do not say theirs.
    pub(crate) fn default_namespace(&self) -> &str {
        self.options.default_namespace()
    }

    /// Why the directory's present content is not in force.
    pub(crate) fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// Puts `files` in place of what was applied before; with `dry_run` only says what would be.
    pub(crate) fn apply(&mut self, files: Vec<File>, dry_run: bool) -> Outcome {
        let next = Saved {
            applied: files,
            directory: self.saved.directory.clone(),
        };
        let checked = self.check(&next.in_force());
        if dry_run {
            let accepted = checked.snapshot.is_some();
            return Outcome {
                accepted,
                changed: false,
                checked,
                unwritten: None,
            };
        }
        self.commit(next, checked, "apply")
    }

    /// Takes the texts that are now in the policy directory.
    pub(crate) fn take_directory(&mut self, files: Vec<File>) -> Outcome {
        let next = Saved {
            applied: self.saved.applied.clone(),
            directory: files,
        };
        let checked = self.check(&next.in_force());
        self.refused = Refused::of(&checked);
        self.commit(next, checked, "directory")
    }

    fn check(&self, files: &[File]) -> Checked {
        let sources: Vec<Source> = files
            .iter()
            .map(|file| Source::new(file.name.as_str(), file.text.as_str()))
            .collect();
        policy::check(&sources, &self.options)
    }

    fn commit(&mut self, next: Saved, checked: Checked, source: &str) -> Outcome {
        let Some(current) = Current::of(&checked) else {
            return Outcome {
                accepted: false,
                changed: false,
                checked,
                unwritten: None,
            };
        };
        let changed = current.revision != self.current.revision;
        if next != self.saved {
            let written = next.save(&self.saved_path).and_then(|()| {
                if changed {
                    let at = SystemTime::now();
                    self.history
                        .add(&current.revision, source, at, next.in_force())
                } else {
                    Ok(())
                }
            });
            if let Err(error) = written {
                let unwritten = Some(error.to_string());
                return Outcome {
                    accepted: false,
                    changed: false,
                    checked,
                    unwritten,
                };
            }
        }
        self.saved = next;
        self.current = current;
        Outcome {
            accepted: true,
            changed,
            checked,
            unwritten: None,
        }
    }
}

impl Current {
    fn empty() -> Self {
        Self {
            revision: Snapshot::default().revision().clone(),
            resources: Arc::default(),
            snapshot: Snapshot::default(),
            warnings: 0,
        }
    }

    fn of(checked: &Checked) -> Option<Self> {
        Some(Self {
            revision: checked.snapshot.as_ref()?.revision().clone(),
            resources: checked.resources.clone().into(),
            snapshot: checked.snapshot.clone()?,
            warnings: checked.warnings.0.len(),
        })
    }
}

impl Refused {
    fn of(checked: &Checked) -> Option<Self> {
        let first = checked.errors.0.first()?;
        Some(Self {
            code: first.code.to_string(),
            first: first.to_string(),
            errors: checked.errors.0.len(),
            rendered: checked.rendered.clone(),
        })
    }
}
