use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::error::ShimError;

/// Variables that are the shim's own: secrets, and the service manager's socket, on which the
/// application would speak for the shim.
const OWN: [&str; 3] = ["MESH_IDENTITY", "MESH_TOKEN", "NOTIFY_SOCKET"];

/// Hosts that the application reaches without the forward proxy.
const NO_PROXY: &str = "localhost,127.0.0.1,::1";

/// The running application. Killed when dropped, so that it never outlives a shim that panics.
#[derive(Debug)]
pub(crate) struct Child {
    inner: tokio::process::Child,
    pid: Option<Pid>,
}

/// How the application ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It returned this code.
    Code(u8),
    /// This signal ended it.
    Signal(i32),
}

impl Exit {
    /// The shim's own exit code: the application's, or 128 + n as shells have it.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(number) => u8::try_from(128 + number).unwrap_or(u8::MAX),
        }
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(u8::try_from(code).unwrap_or(u8::MAX)),
            (None, Some(number)) => Self::Signal(number),
            (None, None) => Self::Code(u8::MAX),
        }
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => write!(f, "signal {number}"),
        }
    }
}

impl Child {
    /// Starts `command` with `PORT` and, when there is a forward proxy, `http_proxy` set.
    pub(crate) fn start(
        command: &[OsString],
        port: Option<u16>,
        proxy: Option<SocketAddr>,
    ) -> Result<Self, ShimError> {
        let Some((program, args)) = command.split_first() else {
            return Err(ShimError::configuration(
                "no command to run",
                "mesh-shim run --as legacy-stock --port 9000 -- python3 app.py",
            ));
        };
        let mut builder = tokio::process::Command::new(program);
        builder
            .args(args)
            .stdin(Stdio::null())
            .process_group(0)
            .kill_on_drop(true);
        for name in OWN {
            builder.env_remove(name);
        }
        if let Some(port) = port {
            builder.env("PORT", port.to_string());
        }
        if let Some(proxy) = proxy {
            let url = format!("http://{proxy}");
            builder.env("http_proxy", &url).env("HTTP_PROXY", &url);
            builder.env("no_proxy", NO_PROXY).env("NO_PROXY", NO_PROXY);
        }
        let inner = builder.spawn().map_err(|source| {
            ShimError::configuration(
                format!("cannot start `{}`: {source}", program.to_string_lossy()),
                "check the command after `--`: its path, and that it is executable",
            )
        })?;
        let pid = inner
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { inner, pid })
    }

    /// Passes a signal on to the application and what it started. One that is gone is no error.
    pub(crate) fn signal(&self, signal: Signal) {
        // After the wait the number may belong to somebody else.
        if let (Some(pid), Some(_)) = (self.pid, self.inner.id())
            && let Err(error) = kill_process_group(pid, signal)
        {
            tracing::debug!(?signal, %error, "the application is gone already");
        }
    }

    /// Waits for the end. May be dropped and called again.
    pub(crate) async fn wait(&mut self) -> Exit {
        match self.inner.wait().await {
            Ok(status) => status.into(),
            Err(error) => {
                tracing::error!(%error, "cannot wait for the application");
                Exit::Code(u8::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(script: &str) -> Vec<OsString> {
        ["sh", "-c", script].map(OsString::from).to_vec()
    }

    #[tokio::test]
    async fn the_exit_code_is_the_applications() {
        let mut child = Child::start(&command("exit 7"), None, None).unwrap();
        assert_eq!(child.wait().await.code(), 7);
        // A signal to what has ended goes nowhere.
        child.signal(Signal::TERM);
    }

    #[tokio::test]
    async fn a_signal_is_128_and_its_number() {
        let mut child = Child::start(&command("kill -9 $$"), None, None).unwrap();
        let exit = child.wait().await;
        assert_eq!((exit, exit.code()), (Exit::Signal(9), 137));
    }

    #[tokio::test]
    async fn a_signal_reaches_what_the_application_started() {
        // `sh` waits for `sleep`: only a signal to the group ends both.
        let mut child = Child::start(&command("sleep 60; exit 3"), None, None).unwrap();
        child.signal(Signal::TERM);
        assert_eq!(child.wait().await.code(), 128 + 15);
    }

    #[tokio::test]
    async fn port_and_proxy_are_in_the_environment() {
        let script = r#"test "$PORT" = 9000 && test "$http_proxy" = http://127.0.0.1:7140 \
            && test "$HTTP_PROXY" = "$http_proxy" && test -n "$no_proxy" && exit 4"#;
        let proxy = "127.0.0.1:7140".parse().ok();
        let mut child = Child::start(&command(script), Some(9000), proxy).unwrap();
        assert_eq!(child.wait().await.code(), 4);
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_is_named() {
        let error = Child::start(&["/not/there".into()], None, None).unwrap_err();
        assert!(error.to_string().contains("/not/there"), "{error}");
    }
}
