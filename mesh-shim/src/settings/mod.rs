//! Where a value comes from: a flag, else the environment (`MESH_SHIM_*`), else the file of
//! `--config`, else the default. The file's values become the defaults of the flags, so that there is
//! one list of settings and one parser of each.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::parser::ValueSource;
use clap::{ArgMatches, Command, CommandFactory as _, FromArgMatches as _};
use mesh_core::policy::text::closest;

use self::file::{File, Values};
use crate::cli::Cli;
use crate::error::ShimError;

mod file;
#[cfg(test)]
mod tests;

const PREFIX: &str = "MESH_SHIM_";
const DEFAULT: &str = "default";
/// A file of settings is short.
const MOST: u64 = 1 << 20;

/// The flags in groups, for `--help`; what is in none is about the shim itself.
const HEADINGS: [(&str, &[&str]); 7] = [
    (
        "Application",
        &["as", "port", "app-address", "app-protocol", "app-ready"],
    ),
    ("Node", &["app"]),
    ("Inbound", &["inbound", "advertise"]),
    (
        "Outbound",
        &[
            "outbound",
            "egress",
            "upstream",
            "transparent",
            "sni",
            "mark",
        ],
    ),
    (
        "Ingress",
        &["ingress", "certificates", "https-redirect", "passthrough"],
    ),
    ("Mesh", &["control", "identity", "policy", "state"]),
    (
        "Life",
        &[
            "health",
            "metrics",
            "workers",
            "drain-unready",
            "drain-in-flight",
            "takeover",
        ],
    ),
];

/// Why there are no settings.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Of the command line, `--help` included.
    Clap(clap::Error),
    Shim(ShimError),
}

/// The command with headings and variables, and its values.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Cli, Failure> {
    let mut command = each(Cli::command(), &mut |arg, long| {
        let heading = HEADINGS.iter().find(|(_, names)| names.contains(&long));
        let arg = match heading {
            Some((heading, _)) => arg.help_heading(*heading),
            None => arg,
        };
        let variable = variable(long);
        arg.env(clap::builder::Str::from(leak(variable)))
            .hide_env(true)
    });
    unknown_variables(&longs(&command)).map_err(Failure::Shim)?;
    let mut places = BTreeMap::new();
    if let Some(path) = config_path(&args) {
        let file = read(&path).map_err(Failure::Shim)?;
        let values = check(&command, &path, file, &mut places).map_err(Failure::Shim)?;
        command = each(command, &mut |arg, long| match values.get(long) {
            Some(values) => arg.default_values(values.iter().copied()),
            None => arg,
        });
    }
    let matches = command
        .clone()
        .try_get_matches_from(args)
        .map_err(Failure::Clap)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(Failure::Clap)?;
    let chosen = match matches.subcommand() {
        Some((_, matches)) => matches,
        None => &matches,
    };
    for setting in settings(&command, chosen, &places) {
        cli.shown.push(setting.line());
        if setting.from != DEFAULT && !setting.value.is_empty() {
            cli.said.push((setting.long, setting.from));
        }
    }
    Ok(cli)
}

/// The variable of a flag. Those of the library have its names.
fn variable(long: &str) -> String {
    match long {
        "as" => "MESH_SERVICE".to_owned(),
        "control" | "identity" | "policy" | "state" => format!("MESH_{}", long.to_uppercase()),
        _ => format!("{PREFIX}{}", long.to_uppercase().replace('-', "_")),
    }
}

/// clap keeps what it is built from for as long as the process lives.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

/// Changes each setting, wherever it is given.
fn each(command: Command, change: &mut dyn FnMut(clap::Arg, &str) -> clap::Arg) -> Command {
    let mut settings = |command: Command| {
        command.mut_args(|arg| match arg.get_long().map(str::to_owned) {
            Some(long) if !["help", "version", "config", "check"].contains(&long.as_str()) => {
                change(arg, &long)
            }
            _ => arg,
        })
    };
    settings(command)
        .mut_subcommand("run", &mut settings)
        .mut_subcommand("proxy", &mut settings)
}

fn longs(command: &Command) -> Vec<String> {
    let longs = command.get_arguments().filter_map(clap::Arg::get_long);
    longs
        .filter(|long| !["help", "version", "config", "check"].contains(long))
        .map(str::to_owned)
        .collect()
}

/// The file that the command line names, else the environment.
fn config_path(args: &[OsString]) -> Option<String> {
    let mut args = args
        .iter()
        .map_while(|arg| arg.to_str().filter(|arg| *arg != "--"));
    while let Some(arg) = args.next() {
        if arg == "--config" {
            return args.next().map(str::to_owned);
        }
        if let Some(path) = arg.strip_prefix("--config=") {
            return Some(path.to_owned());
        }
    }
    let path = std::env::var(format!("{PREFIX}CONFIG")).ok();
    path.filter(|path| !path.is_empty())
}

fn unknown_variables(longs: &[String]) -> Result<(), ShimError> {
    let mut known: Vec<String> = longs.iter().map(|long| variable(long)).collect();
    known.push(format!("{PREFIX}CONFIG"));
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        if !known.iter().any(|one| one == name) {
            let meant = closest(name, known.iter().map(String::as_str));
            let hint = meant.map_or(String::new(), |meant| format!(", did you mean `{meant}`?"));
            return Err(ShimError::new(
                "M1001",
                format!("unknown variable `{name}`{hint}"),
                "`mesh-shim --help` lists the flags; a variable is MESH_SHIM_ and the flag's name",
            ));
        }
    }
    Ok(())
}

fn read(path: &str) -> Result<File, ShimError> {
    let bad = |what: String| ShimError::configuration(what, "see docs/shim.md for an example");
    let length = std::fs::metadata(path).map(|file| file.len());
    let text = match length {
        Ok(length) if length > MOST => return Err(bad(format!("{path} is larger than 1 MiB"))),
        Ok(_) => std::fs::read_to_string(path),
        Err(error) => Err(error),
    };
    let text = text.map_err(|error| bad(format!("cannot read {path}: {error}")))?;
    if text.trim().is_empty() {
        return Ok(File::default());
    }
    serde_saphyr::from_str(&text).map_err(|error| {
        let place = error.location().map_or(String::new(), |at| {
            format!(":{}:{}", at.line(), at.column())
        });
        let text = error.without_snippet().to_string();
        let first = text.lines().next().unwrap_or_default();
        bad(format!("{path}{place}: {first}"))
    })
}

/// Every value alone, so that the place of a bad one is known.
fn check(
    command: &Command,
    path: &str,
    file: File,
    places: &mut BTreeMap<String, String>,
) -> Result<BTreeMap<String, Vec<&'static str>>, ShimError> {
    let known = longs(command);
    let mut values = BTreeMap::new();
    for (key, Values(given)) in file.entries {
        let at = key.referenced;
        let place = format!("{path}:{}:{}", at.line(), at.column());
        let long = key.value;
        if !known.contains(&long) {
            let meant = closest(&long, known.iter().map(String::as_str));
            let hint = meant.map_or(String::new(), |meant| format!(", did you mean `{meant}`?"));
            return Err(ShimError::configuration(
                format!("{place}: unknown key `{long}`{hint}"),
                "`mesh-shim --help` lists the flags; a key is a flag's name without the dashes",
            ));
        }
        if places.insert(long.clone(), place.clone()).is_some() {
            return Err(ShimError::configuration(
                format!("{place}: `{long}` is there twice"),
                "keep one of the two",
            ));
        }
        let alone = given.iter().map(|value| format!("--{long}={value}"));
        let args = std::iter::once("mesh-shim".to_owned()).chain(alone);
        if let Err(error) = command.clone().try_get_matches_from(args) {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            // Its code is said once, below.
            let first = first
                .trim_start_matches("error: ")
                .trim_end_matches(" [M1003]");
            return Err(ShimError::configuration(
                format!("{place}: {first}"),
                "mend it there; `mesh-shim --check` shows what is in force and where it comes from",
            ));
        }
        values.insert(long, given.into_iter().map(leak).collect());
    }
    Ok(values)
}

/// What is in force, and who says so.
struct Setting {
    long: String,
    value: String,
    from: String,
}

impl Setting {
    fn line(&self) -> String {
        format!("{:<16} {:<40} {}", self.long, self.value, self.from)
    }
}

/// Each setting that has a value.
fn settings(
    command: &Command,
    matches: &ArgMatches,
    places: &BTreeMap<String, String>,
) -> Vec<Setting> {
    let mut all = Vec::new();
    for arg in command.get_arguments() {
        let Some(long) = arg.get_long() else { continue };
        let id = arg.get_id().as_str();
        let Ok(Some(raw)) = matches.try_get_raw(id) else {
            continue;
        };
        if ["config", "check"].contains(&long) {
            continue;
        }
        let values: Vec<_> = raw.map(|value| value.to_string_lossy()).collect();
        let from = match matches.value_source(id) {
            Some(ValueSource::CommandLine) => "flag".to_owned(),
            Some(ValueSource::EnvVariable) => variable(long),
            _ => places.get(long).cloned().unwrap_or(DEFAULT.to_owned()),
        };
        all.push(Setting {
            long: long.to_owned(),
            value: values.join(" "),
            from,
        });
    }
    all
}
