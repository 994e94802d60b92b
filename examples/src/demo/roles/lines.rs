//! The pipes between a process and the demo.

use std::fmt::Display;
use std::io::{BufRead as _, Write as _};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// A process that was told to stop and has not by then ends at once.
const STOP_WITHIN: Duration = Duration::from_secs(7);

/// Reads commands from standard input on a thread of its own. At its end `stop` is cancelled, and
/// some seconds later the process ends, whatever it is doing: it must not outlive the demo.
pub(crate) fn read_commands(stop: CancellationToken, command: impl Fn(&str) + Send + 'static) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            match line {
                Ok(line) => command(line.trim()),
                Err(_) => break,
            }
        }
        stop.cancel();
        // A channel that nobody sends on, as a pause.
        let (_keep, never) = std::sync::mpsc::channel::<()>();
        if let Err(RecvTimeoutError::Timeout) = never.recv_timeout(STOP_WITHIN) {
            std::process::exit(70);
        }
    });
}

/// Writes one line to the demo. A demo that is gone is noticed on standard input.
pub(crate) fn tell(line: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Logs of this process go to standard error, which the demo keeps in a file.
pub(crate) fn start_log() {
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
}
