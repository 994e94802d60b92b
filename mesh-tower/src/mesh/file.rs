//! A policy file in the file layer: read, checked, applied, and read again when it changes.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::policy::spec::Resource;
use mesh_core::policy::store::{Layer, Store};
use mesh_core::policy::text::{self, Source};
use mesh_core::policy::{PolicyErrors, Severity};

/// How often the file is looked at. Polling sees what editors, `mv` and mounted volumes do alike.
const POLL: Duration = Duration::from_secs(1);

/// How long a changed file must stay as it is before it is applied.
const SETTLE: Duration = Duration::from_millis(100);

pub(crate) struct FileSource {
    path: PathBuf,
    /// Hash of the content that was last looked at, valid or not: one mistake is reported once.
    seen: u64,
}

// === impl FileSource ===

impl FileSource {
    /// Reads the file for the first time; a mistake in it is an error here.
    pub(crate) fn load(path: PathBuf, store: &Store) -> Result<Self, MeshError> {
        let text = std::fs::read_to_string(&path).map_err(|error| {
            let message = format!("policy file {} cannot be read: {error}", path.display());
            MeshError::new(ErrorKind::Policy, message).with_source(error)
        })?;
        let seen = hash(&text);
        let source = Source::new(path.display().to_string(), text);
        apply(&source, store).map_err(|message| MeshError::new(ErrorKind::Policy, message))?;
        Ok(Self { path, seen })
    }

    /// Looks at the file once a second for ever.
    pub(crate) async fn watch(mut self, store: Store) {
        let mut tick = tokio::time::interval(POLL);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.look(&store).await;
        }
    }

    async fn read(&self) -> Option<String> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
        read.ok()?.ok()
    }

    async fn look(&mut self, store: &Store) {
        // Missing for a moment is what a replacement by rename can look like: keep what we have.
        let Some(text) = self.read().await else {
            return;
        };
        let now = hash(&text);
        if now == self.seen {
            return;
        }
        // A file that is being written looks empty or cut short, which can be valid and wrong.
        tokio::time::sleep(SETTLE).await;
        if self.read().await.is_none_or(|again| again != text) {
            return;
        }
        self.seen = now;
        let source = Source::new(self.path.display().to_string(), text);
        match apply(&source, store) {
            Ok(()) => tracing::info!(file = %self.path.display(), "policy file applied"),
            Err(message) => tracing::error!(
                file = %self.path.display(),
                "policy file refused, the last good policy stays in force\n{message}"
            ),
        }
    }
}

/// Parses policy text; the error is the rendered list of all mistakes.
pub(crate) fn parse_all(sources: &[Source]) -> Result<Vec<Arc<Resource>>, MeshError> {
    let loaded = text::load(sources);
    if has_errors(&loaded.diagnostics) {
        return Err(MeshError::new(
            ErrorKind::Policy,
            loaded.diagnostics.render(sources),
        ));
    }
    Ok(loaded.resources)
}

fn apply(source: &Source, store: &Store) -> Result<(), String> {
    let sources = std::slice::from_ref(source);
    let loaded = text::load(sources);
    if has_errors(&loaded.diagnostics) {
        store.count_refused(Layer::File);
        return Err(loaded.diagnostics.render(sources));
    }
    store
        .apply(Layer::File, loaded.resources)
        .map(|_| ())
        .map_err(|errors| errors.render(sources))
}

fn has_errors(diagnostics: &PolicyErrors) -> bool {
    diagnostics
        .0
        .iter()
        .any(|one| one.severity == Severity::Error)
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
