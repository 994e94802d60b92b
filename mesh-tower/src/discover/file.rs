use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::balance::EndpointInfo;
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::identity::SpiffeId;
use serde::Deserialize;
use tokio::sync::watch;

use super::{Answers, Discover};

/// Kubernetes swaps symlinks, which file events miss: the content is read and compared.
const POLL: Duration = Duration::from_secs(1);

/// Endpoints in a JSON file that is read each second.
///
/// ```json
/// [
///   {"addr": "10.0.0.7:8080"},
///   {"addr": "10.0.0.8:8080", "identity": "spiffe://mesh.local/ns/shop/sa/reviews",
///    "labels": {"version": "v2"}, "zone": "a", "priority": 0, "weight": 2}
/// ]
/// ```
#[derive(Clone, Debug)]
pub struct EndpointFile(PathBuf);

/// Endpoints in a JSON file; the format is at [`EndpointFile`].
pub fn file(path: impl Into<PathBuf>) -> EndpointFile {
    EndpointFile(path.into())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    addr: SocketAddr,
    #[serde(default)]
    identity: Option<SpiffeId>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    priority: u32,
    #[serde(default = "one")]
    weight: u32,
}

fn one() -> u32 {
    1
}

/// Reads a file's text.
fn parse(text: &str) -> Result<Arc<[EndpointInfo]>, serde_json::Error> {
    let entries: Vec<Entry> = serde_json::from_str(text)?;
    Ok(entries
        .into_iter()
        .map(|entry| EndpointInfo {
            addr: entry.addr,
            alternate: None,
            identity: entry.identity,
            labels: Arc::new(entry.labels),
            zone: entry.zone.map(Into::into),
            priority: entry.priority,
            weight: entry.weight,
        })
        .collect())
}

// === impl EndpointFile ===

impl EndpointFile {
    /// Reads it once, to find mistakes before anything starts.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Policy`] with the file's name, line and column.
    pub fn check(&self) -> Result<Arc<[EndpointInfo]>, MeshError> {
        let bad = |what: String| MeshError::new(ErrorKind::Policy, what);
        let text = std::fs::read_to_string(&self.0)
            .map_err(|error| bad(format!("{}: {error}", self.0.display())).with_source(error))?;
        parse(&text).map_err(|error| bad(message(&self.0, &error)).with_source(error))
    }
}

fn message(path: &Path, error: &serde_json::Error) -> String {
    format!(
        "{}:{}:{}: {error}",
        path.display(),
        error.line(),
        error.column()
    )
}

impl Discover for EndpointFile {
    fn watch(self) -> Answers {
        let answers = watch::Sender::new(None);
        let receiver = answers.subscribe();
        let mut known = None;
        look(&self.0, &mut known, &answers);
        // Ends with its last receiver.
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = answers.closed() => return,
                    () = tokio::time::sleep(POLL) => look(&self.0, &mut known, &answers),
                }
            }
        });
        receiver
    }
}

/// One look. A small local file: not worth a blocking thread. A file that is being written is
/// empty or cut short, which is no JSON list: it changes nothing, and the next look reads it whole.
fn look(
    path: &Path,
    known: &mut Option<String>,
    answers: &watch::Sender<Option<Arc<[EndpointInfo]>>>,
) {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            tracing::debug!(target: "mesh::discover", "{}: {error}", path.display());
            return;
        }
    };
    if known.as_ref() == Some(&text) {
        return;
    }
    match parse(&text) {
        Ok(endpoints) => drop(answers.send_replace(Some(endpoints))),
        Err(error) => {
            tracing::warn!(target: "mesh::discover", "kept the last endpoints: {}", message(path, &error));
        }
    }
    // Also when it is refused: one warning for each broken content.
    *known = Some(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_form_is_read_and_mistakes_have_a_place() {
        let text = r#"[
            {"addr": "10.0.0.7:8080"},
            {"addr": "10.0.0.8:8080", "identity": "spiffe://mesh.local/ns/shop/sa/reviews",
             "labels": {"version": "v2"}, "zone": "a", "priority": 0, "weight": 2}
        ]"#;
        let endpoints = parse(text).expect("a list");
        assert_eq!(
            endpoints[0],
            EndpointInfo::new(([10, 0, 0, 7], 8080).into())
        );
        assert_eq!(endpoints[1].weight, 2);
        assert_eq!(endpoints[1].zone.as_deref(), Some("a"));
        let error = parse("[\n  {\"adr\": \"10.0.0.7:8080\"}\n]").expect_err("a typo");
        assert_eq!(error.line(), 2);
        assert!(error.to_string().contains("adr"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn changes_are_seen_and_mistakes_keep_the_last_answer() {
        let name = format!("mesh-endpoints-{}.json", std::process::id());
        let path = std::env::temp_dir().join(name);
        let write = |text: &str| std::fs::write(&path, text).expect("written");
        write(r#"[{"addr": "10.0.0.1:1"}]"#);
        let mut answers = file(&path).watch();
        let ports = |answers: &Answers| -> Vec<u16> {
            answers
                .borrow()
                .iter()
                .flat_map(|all| all.iter())
                .map(|e| e.addr.port())
                .collect()
        };
        assert_eq!(ports(&answers), [1]);
        answers.mark_unchanged();
        for cut_short in ["", "[{", r#"[{"addr": "10.0.0.1:2"}"#] {
            write(cut_short);
            tokio::time::sleep(Duration::from_secs(3)).await;
            assert_eq!(ports(&answers), [1], "{cut_short}");
        }
        write(r#"[{"addr": "10.0.0.1:2"}]"#);
        answers.changed().await.expect("alive");
        assert_eq!(ports(&answers), [2]);
        std::fs::remove_file(&path).expect("removed");
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(ports(&answers), [2]);
    }
}
