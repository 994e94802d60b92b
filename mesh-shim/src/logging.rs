//! Logs to stderr: `MESH_LOG`, else `RUST_LOG`, else what an operator needs.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

const DEFAULT: &str = "warn,mesh_shim=info,mesh_tower=info,mesh_grpc=info";

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, the fields on its top level.
    Json,
}

/// Starts logging. A second call (in one process, as in tests) changes nothing.
pub(crate) fn start(format: LogFormat) {
    let filter = std::env::var("MESH_LOG").or_else(|_| std::env::var("RUST_LOG"));
    let filter = filter.as_deref().unwrap_or(DEFAULT);
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(DEFAULT));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour && format == LogFormat::Text);
    let _ = match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
}
