//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Asks the mesh's control server, and checks policy files without one.
#[derive(Debug, Parser)]
#[command(
    name = "meshctl",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 ok, 1 findings, 2 usage, 3 control server unreachable.\n\
                  `policy check`, `expand`, `schema` and `explain CODE` need no control server."
)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Args)]
pub(super) struct Global {
    /// Admin socket of the control server: unix:PATH, or PATH
    #[arg(
        long,
        global = true,
        env = "MESH_CONTROL",
        value_name = "ADDRESS",
        default_value = super::connect::DEFAULT_ADDRESS
    )]
    pub(super) control: String,
    /// Output form
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Text)]
    pub(super) output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Tables and sentences
    Text,
    /// JSON, for programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Health of everything, with what to do about each finding
    Check,
    /// Check, apply and expand policy files
    #[command(subcommand)]
    Policy(Policy),
    /// Calls, success and latency of each edge over the last 10 seconds
    Stat(Stat),
    /// Live endpoints of a service (or of all), and why one is ejected
    Endpoints {
        /// Name of the service, such as reviews or reviews.shop
        service: Option<String>,
        #[command(flatten)]
        watch: Watch,
    },
    /// Who is connected, and on which revision
    Clients {
        #[command(flatten)]
        watch: Watch,
    },
    /// What a code means, or which policy holds for a service and where it was written
    Explain {
        /// An error code, such as M2003, or a service, such as reviews or reviews.shop; without
        /// either, all codes are listed
        #[arg(value_name = "CODE|SERVICE")]
        what: Option<String>,
    },
    /// What happened lately
    Events {
        /// At most so many
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Check files: every error with its line and column (`-` reads standard input)
    Check {
        /// Policy files or directories
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Namespace of resources that do not say theirs
        #[arg(short, long, default_value = "default")]
        namespace: String,
    },
    /// Make files the applied policy, in place of what was applied before
    Apply {
        /// Policy files or directories
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Only let the control server check them
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the long form of a file in short form
    Expand {
        /// Policy file
        file: PathBuf,
    },
    /// Print the JSON schema of a policy file, for editors
    Schema,
}

#[derive(Debug, Args)]
pub(super) struct Stat {
    /// Only calls to this service
    #[arg(long, value_name = "SERVICE")]
    pub(super) to: Option<String>,
    /// Only calls from this service
    #[arg(long, value_name = "SERVICE")]
    pub(super) from: Option<String>,
    #[command(flatten)]
    pub(super) watch: Watch,
}

#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Watch {
    /// Print anew every second until interrupted
    #[arg(short, long)]
    pub(super) watch: bool,
}
