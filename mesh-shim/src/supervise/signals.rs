use std::io;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// Signals of the shim itself, taken from the moment that this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    term: unix::Signal,
    int: unix::Signal,
    hup: unix::Signal,
    usr1: unix::Signal,
    usr2: unix::Signal,
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// SIGTERM or SIGINT: drain, then pass it on. A second one: pass it on at once.
    Stop(Signal),
    /// Means nothing to the shim: pass it on.
    Pass(Signal),
}

impl Signals {
    /// Needs a tokio runtime with I/O.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            term: unix::signal(SignalKind::terminate())?,
            int: unix::signal(SignalKind::interrupt())?,
            hup: unix::signal(SignalKind::hangup())?,
            usr1: unix::signal(SignalKind::user_defined1())?,
            usr2: unix::signal(SignalKind::user_defined2())?,
        })
    }

    /// The next one. May be dropped and called again; none is lost.
    pub(crate) async fn next(&mut self) -> Received {
        tokio::select! {
            biased;
            _ = self.term.recv() => Received::Stop(Signal::TERM),
            _ = self.int.recv() => Received::Stop(Signal::INT),
            _ = self.hup.recv() => Received::Pass(Signal::HUP),
            _ = self.usr1.recv() => Received::Pass(Signal::USR1),
            _ = self.usr2.recv() => Received::Pass(Signal::USR2),
        }
    }
}
