//! Flags and environment of `mesh-shim`.

mod applications;
mod flags;

use std::ffi::OsString;

use clap::{Args, Parser, Subcommand};

use self::flags::Flags;
use crate::config::{Config, DrainTimes};
use crate::error::ShimError;
use crate::logging::LogFormat;
use crate::transparent::Rules;

/// The mesh beside an application that cannot link it.
#[derive(Debug, Parser)]
#[command(
    name = "mesh-shim",
    version,
    about = "The mesh beside an application that cannot link it",
    long_about = "The mesh beside an application that cannot link it.\n\n\
        Inbound, it ends mutual TLS and hands requests to the application's plaintext port.\n\
        Outbound, it takes the application's plaintext requests and sends them through the mesh:\n\
        by http_proxy (the host in the URL names the service), or by one local port per service.",
    after_help = "Examples:\n  \
        mesh-shim run --as legacy-stock --port 9000 -- python3 app.py\n  \
        mesh-shim --as batch --upstream reviews=127.0.0.1:9001\n  \
        mesh-shim --app shop/web=9000,outbound=7150 --app shop/redis=6379,protocol=tcp\n  \
        mesh-shim --config shim.yaml --workers 4 --check\n\n\
        The mesh is joined as MESH_CONTROL and MESH_IDENTITY say; `meshctl explain M1002` when it is not.",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
    /// What `--check` prints.
    #[arg(skip)]
    pub(crate) shown: Vec<String>,
    /// Settings that are not defaults, and who says so.
    #[arg(skip)]
    pub(crate) said: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start an application with the shim around it, and end with the application's exit code
    Run(Run),
    /// Proxy for an application that runs by itself (also without this word)
    Proxy(Flags),
    /// Redirect the connections that this machine makes to the shim's transparent listener
    Init(Init),
    /// Take the rules of `init` away again
    Undo(Undo),
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    flags: Flags,
    /// The application's command, after `--`
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The shim's transparent listener
    #[arg(long, value_name = "PORT", default_value_t = 7141)]
    port: u16,
    /// The user that the shim runs as, whose connections are left alone
    #[arg(long, value_name = "N")]
    uid: Option<u32>,
    /// The mark of the shim's connections (its own --mark), which are left alone
    #[arg(long, value_name = "N")]
    mark: Option<u32>,
    /// A port that is left alone; may be repeated
    #[arg(long = "exclude-port", value_name = "PORT")]
    exclude: Vec<u16>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Undo {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

impl Cli {
    fn flags(&self) -> &Flags {
        match &self.command {
            Some(Command::Run(run)) => &run.flags,
            Some(Command::Proxy(flags)) => flags,
            _ => &self.flags,
        }
    }

    /// Whether the settings are only to be looked at.
    pub(crate) fn is_check(&self) -> bool {
        self.flags().check
    }

    /// How log lines look.
    pub(crate) fn log(&self) -> LogFormat {
        self.flags().log
    }

    /// What `init` and `undo` have to say; `None` for everything else.
    pub(crate) fn rules(&self) -> Option<Result<String, ShimError>> {
        match &self.command {
            Some(Command::Init(init)) => {
                let rules = Rules {
                    port: init.port,
                    uid: init.uid,
                    mark: init.mark,
                    exclude: init.exclude.clone(),
                };
                Some(rules.init(init.dry_run))
            }
            Some(Command::Undo(undo)) => Some(Rules::undo(undo.dry_run)),
            _ => None,
        }
    }

    /// Checks what no single flag can know.
    pub(crate) fn into_config(self) -> Result<Config, ShimError> {
        let (flags, command) = match self.command {
            Some(Command::Run(run)) => (run.flags, run.command),
            Some(Command::Proxy(flags)) => (flags, Vec::new()),
            // They end before there is anything to configure.
            Some(Command::Init(_) | Command::Undo(_)) => (self.flags, Vec::new()),
            None => (self.flags, Vec::new()),
        };
        let node = !flags.apps.is_empty();
        let applications = match node {
            true => flags.applications(&command, &self.said)?,
            false => vec![flags.application()?],
        };
        if flags.takeover.is_some() && !command.is_empty() {
            return Err(ShimError::configuration(
                "--takeover with `run`: the application is the child of one shim and cannot be handed over",
                "start the application by itself, and the shim with `proxy`",
            ));
        }
        Ok(Config {
            applications,
            node,
            command,
            mark: flags.mark,
            egress: flags.egress,
            health: flags.health,
            metrics: flags.metrics,
            workers: flags.workers,
            drain: DrainTimes {
                unready: flags.drain_unready,
                in_flight: flags.drain_in_flight,
            },
            takeover: flags.takeover,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{INBOUND, OUTBOUND};

    fn parse(args: &[&str]) -> Result<Config, ShimError> {
        let cli = Cli::try_parse_from(std::iter::once(&"mesh-shim").chain(args)).unwrap();
        cli.into_config()
    }

    #[test]
    fn run_takes_the_command_after_the_two_dashes() {
        let config = parse(&[
            "run", "--as", "legacy", "--port", "9000", "--", "python3", "app.py", "--port", "1",
        ])
        .unwrap();
        assert_eq!(config.command, ["python3", "app.py", "--port", "1"]);
        let one = &config.applications[0];
        assert_eq!(one.app.unwrap().addr.port(), 9000);
        assert_eq!((one.inbound, one.outbound), (INBOUND, Some(OUTBOUND)));
    }

    #[test]
    fn without_a_word_it_proxies() {
        let a = parse(&[
            "--as",
            "batch",
            "--upstream",
            "reviews=127.0.0.1:9001",
            "--outbound",
            "off",
        ]);
        let a = a.unwrap();
        let one = &a.applications[0];
        assert!(a.command.is_empty() && one.app.is_none() && one.outbound.is_none());
        let b = parse(&["proxy", "--as", "batch", "--upstream", "reviews=9001"]).unwrap();
        assert_eq!(one.upstreams, b.applications[0].upstreams);
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_next_step() {
        for args in [
            &["proxy", "--port", "1"][..],
            &["--as", "x", "--outbound", "off"],
            &["--as", "x", "--port", "0"],
            &["--as", "x", "--ingress", "0.0.0.0:443"],
            &["--as", "x", "--certificates", "/tmp"],
            &["--as", "x", "--passthrough", "a.example.com=web"],
            &["--as", "x", "--https-redirect"],
            &[
                "--as",
                "x",
                "--ingress",
                "http://127.0.0.1:80,127.0.0.1:80",
                "--certificates",
                "/tmp",
            ],
            &["run", "--app", "x=1", "--", "true"],
            &["--app", "x=1", "--app", "x=2"],
        ] {
            let error = parse(args).unwrap_err();
            assert_eq!(error.code(), Some("M1003"));
            assert!(error.to_string().contains("\nnext: "));
        }
    }

    #[test]
    fn help_shows_how_to_run_an_application() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("mesh-shim run --as legacy-stock --port 9000 -- python3 app.py"));
    }
}
