//! Where text goes: two writers, and whether each shows colours.

use std::io::Write;

use serde::Serialize;

/// Standard output and standard error, or stand-ins.
pub(super) struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    colour: bool,
    colour_err: bool,
    closed: bool,
}

/// A colour by what it means.
#[derive(Clone, Copy, Debug)]
pub(super) enum Paint {
    Good,
    Warn,
    Bad,
}

impl Output {
    pub(super) fn new(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        colour: bool,
        colour_err: bool,
    ) -> Self {
        Self {
            out,
            err,
            colour,
            colour_err,
            closed: false,
        }
    }

    /// Writes text as it is. A reader that went away (`| head`) is no error.
    pub(super) fn text(&mut self, text: &str) {
        let written = self
            .out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush());
        self.closed |= written.is_err();
    }

    pub(super) fn line(&mut self, line: &str) {
        self.text(&format!("{line}\n"));
    }

    pub(super) fn json(&mut self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(&text),
            Err(error) => self.fail(&format!("error: {error}")),
        }
    }

    /// Writes to standard error, a line feed at the end.
    pub(super) fn fail(&mut self, text: &str) {
        let _ = self.err.write_all(format!("{text}\n").as_bytes());
        let _ = self.err.flush();
    }

    pub(super) fn paint(&self, paint: Paint, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Good => "32",
            Paint::Warn => "33",
            Paint::Bad => "31",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// Whether standard error shows colours.
    pub(super) fn colour_err(&self) -> bool {
        self.colour_err
    }

    /// A fresh screen, on a terminal; elsewhere an empty line between two pictures.
    pub(super) fn clear(&mut self) {
        let clear = if self.colour { "\x1b[H\x1b[2J" } else { "\n" };
        self.text(clear);
    }

    /// The reader went away.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }
}
