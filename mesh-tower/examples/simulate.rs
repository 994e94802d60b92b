//! Runs scenarios on virtual time and says what came of them.
//!
//! ```sh
//! cargo run --release -p mesh-tower --example simulate -- mesh-tower/examples/scenarios/*.yaml
//! cargo run --release -p mesh-tower --example simulate -- --seeds 20 --log run.log FILE
//! ```
//!
//! Exit codes: 0 everything held, 1 something did not, 2 a file could not be used.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::process::ExitCode;

use mesh_tower::testkit::sim::Scenario;

const USAGE: &str = "\
Runs scenarios on virtual time and says what came of them.

Usage: simulate [--seed N] [--seeds COUNT] [--log FILE] SCENARIO.yaml...

  --seed N       begin with this seed instead of the file's own
  --seeds COUNT  run each scenario under so many seeds, one after the other [1]
  --log FILE     write every call, change and turn of the last run to FILE

Exit codes: 0 everything held, 1 something did not, 2 a file or an option could not be used.
Scenarios to begin with are in mesh-tower/examples/scenarios, every field is in docs/simulator.md.
";

#[derive(Default)]
struct Args {
    seed: Option<u64>,
    seeds: u64,
    log: Option<String>,
    files: Vec<String>,
}

/// `None` when help is asked for.
fn args() -> Result<Option<Args>, String> {
    let mut args = Args {
        seeds: 1,
        ..Args::default()
    };
    let mut given = std::env::args().skip(1);
    while let Some(arg) = given.next() {
        let mut value = |name: &str| given.next().ok_or(format!("{name} needs a value"));
        let number = |text: String| {
            let number: Result<u64, _> = text.parse();
            number.map_err(|_| format!("{text:?} is no number"))
        };
        match &*arg {
            "--seed" => args.seed = Some(number(value("--seed")?)?),
            "--seeds" => args.seeds = number(value("--seeds")?)?.clamp(1, 100_000),
            "--log" => args.log = Some(value("--log")?),
            "-h" | "--help" => return Ok(None),
            flag if flag.starts_with('-') => {
                return Err(format!(
                    "unknown option {flag}; `simulate --help` lists them"
                ));
            }
            _ => args.files.push(arg),
        }
    }
    if args.files.is_empty() {
        return Err("no scenario given: `simulate FILE.yaml`, or `simulate --help`".to_owned());
    }
    Ok(Some(args))
}

fn main() -> ExitCode {
    let args = match args() {
        Ok(Some(args)) => args,
        Ok(None) => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("error: {why}");
            return ExitCode::from(2);
        }
    };
    let mut held = true;
    for file in &args.files {
        match run(file, &args) {
            Ok(all) => held &= all,
            Err(why) => {
                eprintln!("error in {file}: {why}");
                return ExitCode::from(2);
            }
        }
    }
    ExitCode::from(u8::from(!held))
}

fn run(file: &str, args: &Args) -> Result<bool, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(file).map_err(|why| {
        format!("{why}\n  = scenarios to begin with are in mesh-tower/examples/scenarios")
    })?;
    let mut scenario = Scenario::from_yaml(&text)?;
    let first = args.seed.unwrap_or(scenario.seed_in_use());
    let mut held = true;
    for seed in (first..).take(usize::try_from(args.seeds)?) {
        scenario = scenario.seed(seed);
        let outcome = scenario.run()?;
        print!("{}", outcome.summary());
        held &= outcome.failed().is_empty();
        if let Some(path) = &args.log {
            std::fs::write(path, outcome.log())?;
        }
    }
    Ok(held)
}
