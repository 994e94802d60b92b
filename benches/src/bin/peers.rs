//! Measures the shim beside Envoy, haproxy, nginx and proxies without any policy, in one run. `benches/peers` builds and starts it.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints figures"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use std::{env, fs, io};

use clap::{Parser, Subcommand};
use mesh_benches::peers::measure::{self, Figures, Terms, measure, median};
use mesh_benches::peers::report::Report;
use mesh_benches::peers::scenario::Scenario;
use mesh_benches::peers::subject::{Missing, Places, Subject};
use mesh_benches::peers::{backend, bare, files::Files, plot};

/// The shim beside other proxies: CPU per call, latency, memory
#[derive(Debug, Parser)]
#[command(name = "peers")]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    /// What is sent; may be repeated, all by default
    #[arg(long = "scenario")]
    scenarios: Vec<Scenario>,
    /// Who is measured; may be repeated, all by default
    #[arg(long = "subject")]
    subjects: Vec<Subject>,
    /// Rounds, subjects taking turns; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each load in each round
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// Calls a second of the fixed rate
    #[arg(long, default_value_t = 1_000)]
    rate: u32,
    /// Connections held for the second figure of memory
    #[arg(long, default_value_t = 1_000)]
    connections: usize,
    /// Directory for `peers.md` and `peers.svg`; without it the table is only printed
    #[arg(long)]
    out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Keep one subject under load, for a profiler; prints the numbers of its processes
    Hold {
        scenario: Scenario,
        subject: Subject,
        /// Calls a second; as many as it can without
        #[arg(long)]
        rate: Option<u32>,
        #[arg(long, default_value_t = 10)]
        seconds: u64,
        /// Run on whichever core the scheduler chooses, not load and subject on a core each
        #[arg(long)]
        shared_cores: bool,
    },
    /// A proxy without policy, which the program starts itself as
    #[command(hide = true)]
    Bare {
        kind: bare::Kind,
        listen: SocketAddr,
        to: SocketAddr,
    },
}

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match args.role {
        Some(Role::Bare { kind, listen, to }) => bare::run(listen, to, kind),
        Some(Role::Hold {
            scenario,
            subject,
            rate,
            seconds,
            shared_cores,
        }) => {
            let time = Duration::from_secs(seconds);
            hold(subject, scenario, rate, time, shared_cores)
        }
        None => run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    let files = Files::new()?;
    let backends = backend::spawn()?;
    let places = Places {
        files: &files,
        backends: &backends,
        own: env::current_exe()?,
    };
    let terms = Terms {
        time: Duration::from_secs(args.seconds.max(1)),
        rate: args.rate.clamp(1, 100_000),
        held: args.connections.min(10_000),
    };
    let all = |one: &[Scenario]| {
        if one.is_empty() {
            Scenario::ALL.to_vec()
        } else {
            one.to_vec()
        }
    };
    let subjects = if args.subjects.is_empty() {
        Subject::ALL.to_vec()
    } else {
        args.subjects.clone()
    };
    let mut report = Report::default();
    for scenario in all(&args.scenarios) {
        let mut seen: Vec<Result<Vec<Figures>, Missing>> =
            subjects.iter().map(|_| Ok(Vec::new())).collect();
        for round in 1..=args.rounds.max(1) {
            for (subject, seen) in subjects.iter().zip(&mut seen) {
                let Ok(figures) = seen else { continue };
                match one(*subject, scenario, &places, terms) {
                    Ok(new) => {
                        eprintln!(
                            "{scenario} {:>13}, round {round}: {:5.1} us busy, at {}/s {:5.1} us on shared cores, {:5.1} on its own",
                            subject.word(),
                            new.busy_cpu,
                            terms.rate,
                            new.shared.cpu,
                            new.apart.cpu
                        );
                        figures.push(new);
                    }
                    Err(missing) => {
                        eprintln!("{scenario} {:>13}: left out: {missing:?}", subject.word());
                        *seen = Err(missing);
                    }
                }
            }
        }
        for (subject, seen) in subjects.iter().zip(seen) {
            report.add(scenario, *subject, seen.map(|rounds| median(&rounds)));
        }
    }
    let table = report.markdown();
    println!("{table}");
    if let Some(out) = &args.out {
        fs::create_dir_all(out)?;
        fs::write(out.join("peers.md"), table)?;
        fs::write(out.join("peers.svg"), plot::svg(&report))?;
    }
    Ok(())
}

fn hold(
    subject: Subject,
    scenario: Scenario,
    rate: Option<u32>,
    time: Duration,
    shared_cores: bool,
) -> io::Result<()> {
    let files = Files::new()?;
    let backends = backend::spawn()?;
    let places = Places {
        files: &files,
        backends: &backends,
        own: env::current_exe()?,
    };
    let running = subject
        .start(scenario, &places)
        .map_err(|missing| io::Error::other(format!("{subject:?}: {missing:?}")))?;
    for process in &running.processes {
        println!("{}", process.id());
    }
    let calls = measure::hold(&running, scenario, rate, time, shared_cores)?;
    println!("{calls}");
    Ok(())
}

fn one(
    subject: Subject,
    scenario: Scenario,
    places: &Places<'_>,
    terms: Terms,
) -> Result<Figures, Missing> {
    let mut running = subject.start(scenario, places)?;
    let measured = measure(&running, scenario, terms);
    // One that has ended says more than the calls that failed.
    for process in &mut running.processes {
        process.alive()?;
    }
    Ok(measured.map_err(|error| running.explain(&error))?)
}
