//! Flags of the demo.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::breaks::Break;

/// A small shop in a mesh, on loopback: something to look at, and to break.
#[derive(Debug, Parser)]
#[command(
    name = "demo",
    version,
    about = "A small shop in a mesh, on loopback: something to look at, and to break",
    after_help = "Without arguments it runs until `quit`; type `help` at it.\n\
        Examples:\n  demo break flaky\n  demo --headless --for 60s --assert"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Run every break by itself, print the figures and end
    #[arg(long)]
    pub(crate) headless: bool,

    /// How long a headless run takes, about; at least 40s
    #[arg(long = "for", value_name = "TIME", default_value = "60s", value_parser = duration)]
    pub(crate) time: Duration,

    /// End with exit code 1 when anything that must hold did not
    #[arg(long)]
    pub(crate) assert: bool,

    /// Seed of the faults' dice
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Port of the page; any free one when left out
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) port: u16,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start, then break one thing after a few seconds; `heal` is typed
    Break {
        /// flaky, slow, kill, cert, policy or control
        #[arg(value_parser = |text: &str| text.parse::<Break>())]
        what: Break,
    },
    /// One process of the demo (it starts these by itself)
    #[command(hide = true)]
    Role(super::roles::Role),
}

fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is not a duration like 60s");
    let (number, unit) = match text.strip_suffix('s') {
        Some(seconds) => (seconds, 1),
        None => (text.strip_suffix('m').ok_or_else(bad)?, 60),
    };
    let seconds: u64 = number.parse().map_err(|_| bad())?;
    let seconds = seconds.checked_mul(unit).ok_or_else(bad)?;
    if !(40..=3_600).contains(&seconds) {
        return Err(format!(
            "`{text}`: between 40s and 60m, for every break needs its time"
        ));
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_acceptance_run_and_a_single_break() {
        let cli = Cli::try_parse_from(["demo", "--headless", "--for", "60s", "--assert"]).unwrap();
        assert!(cli.options.headless && cli.options.assert);
        assert_eq!(cli.options.time, Duration::from_secs(60));
        let cli = Cli::try_parse_from(["demo", "break", "flaky"]).unwrap();
        assert!(matches!(
            cli.command,
            Some(Command::Break { what: Break::Flaky })
        ));
        assert!(Cli::try_parse_from(["demo", "break", "fire"]).is_err());
    }

    #[test]
    fn a_run_is_not_shorter_than_its_breaks() {
        assert_eq!(duration("1m"), Ok(Duration::from_secs(60)));
        for text in ["60", "10s", "x", "2h", "99999999999999999999m"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
