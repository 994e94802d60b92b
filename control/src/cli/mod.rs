//! `meshctl`: the command line, as a library so that other programs can call it in-process.
//!
//! Plain words, tables within 100 columns, `-o json`, exit codes 0 ok / 1 findings / 2 usage /
//! 3 unreachable, and every failure ends in a `next:` line.

mod args;
mod check;
mod connect;
mod explain;
mod failure;
mod output;
mod policy;
mod show;
pub(crate) mod table;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use args::{Cli, Command, Policy};
use failure::Failure;
use output::Output;

/// How often `--watch` prints anew.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// Runs `meshctl` with the given arguments (the first is the program's name), writing to standard
/// output and standard error. Exit codes: 0 ok, 1 findings, 2 usage, 3 unreachable.
pub async fn run<I, T>(args: I) -> ExitCode
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let colour =
        |terminal: bool| terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let mut out = Output::new(
        Box::new(std::io::stdout()),
        Box::new(std::io::stderr()),
        colour(std::io::stdout().is_terminal()),
        colour(std::io::stderr().is_terminal()),
    );
    ExitCode::from(run_with(args, &mut out).await)
}

/// [`run`] into any two writers, without colours. Returns the exit code.
pub async fn run_into<I, T>(
    args: I,
    out: impl Write + Send + 'static,
    err: impl Write + Send + 'static,
) -> u8
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    run_with(
        args,
        &mut Output::new(Box::new(out), Box::new(err), false, false),
    )
    .await
}

async fn run_with<I, T>(args: I, out: &mut Output) -> u8
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            out.fail(&format!(
                "{}\nnext: meshctl --help",
                error.render().to_string().trim_end()
            ));
            return 2;
        }
        Err(help) => {
            out.text(&help.render().to_string());
            return 0;
        }
    };
    match command(&cli, out).await {
        Ok(exit) => exit,
        Err(failure) => {
            out.fail(&failure.to_string());
            failure.exit
        }
    }
}

async fn command(cli: &Cli, out: &mut Output) -> Result<u8, Failure> {
    let format = cli.global.output;
    let control = cli.global.control.as_str();
    match &cli.command {
        Command::Check => check::run(control, format, out).await,
        Command::Policy(Policy::Check { files, namespace }) => {
            policy::check(files, namespace, format, out)
        }
        Command::Policy(Policy::Apply { files, dry_run }) => {
            policy::apply(control, files, *dry_run, format, out).await
        }
        Command::Policy(Policy::Expand { file }) => policy::expand(file, out),
        Command::Policy(Policy::Schema) => policy::schema(out),
        Command::Stat(stat) => {
            let watch = stat.watch.watch;
            repeat(watch, out, async |out| {
                show::stat(control, stat, format, out).await
            })
            .await
        }
        Command::Endpoints { service, watch } => {
            let service = service.as_deref().unwrap_or_default();
            let watch = watch.watch;
            repeat(watch, out, async |out| {
                show::endpoints(control, service, format, out).await
            })
            .await
        }
        Command::Clients { watch } => {
            repeat(watch.watch, out, async |out| {
                show::clients(control, format, out).await
            })
            .await
        }
        Command::Events { limit } => show::events(control, *limit, format, out).await,
        Command::Explain { what } => explain::run(control, what.as_deref(), format, out).await,
    }
}

/// Once, or again every second until interrupted. While watching, an unreachable server is told
/// about and asked again: it may be restarting.
async fn repeat(
    watch: bool,
    out: &mut Output,
    mut show: impl AsyncFnMut(&mut Output) -> Result<u8, Failure>,
) -> Result<u8, Failure> {
    if !watch {
        return show(out).await;
    }
    loop {
        out.clear();
        match show(out).await {
            Err(failure) if failure.exit != 3 => return Err(failure),
            Err(failure) => out.fail(&failure.to_string()),
            Ok(_) => {}
        }
        if out.is_closed() {
            return Ok(0);
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_EVERY) => {}
            _ = tokio::signal::ctrl_c() => return Ok(0),
        }
    }
}
