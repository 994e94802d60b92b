//! The interactive demo: a line a second, and breaks that are typed.

use std::collections::BTreeSet;
use std::io::BufRead as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval_at, sleep};

use super::args::Options;
use super::breaks::Break;
use super::incident::{Incident, Part};
use super::say::{plain, say, say_about, short};
use super::shop::{LOOK_EVERY, Shop};
use super::ticker::Ticker;

const HELP: &str = "\
  break flaky|slow|kill|cert|policy|control   break one thing
  heal                                        repair everything
  check, stat, endpoints, clients, ...        what meshctl says (any of its commands)
  help, quit";

/// A break given on the command line comes after a look at the healthy shop.
const FIRST_BREAK_AFTER: Duration = Duration::from_secs(5);

/// Commands of `meshctl` that may be typed.
const MESHCTL: [&str; 6] = ["check", "stat", "endpoints", "clients", "explain", "policy"];

/// Runs until `quit` or a signal.
pub(crate) async fn run(started: Instant, options: &Options, first: Option<Break>) -> ExitCode {
    let shop = match Shop::open(options.port, options.seed).await {
        Ok(shop) => shop,
        Err(error) => {
            plain(format_args!(
                "{error}\nnext: the lines above are the end of its log"
            ));
            return ExitCode::FAILURE;
        }
    };
    let mut console = Console {
        shop,
        ticker: Ticker::default(),
        incidents: Vec::new(),
    };
    tokio::select! {
        () = console.serve(started, first) => {}
        () = super::asked_to_stop() => {}
    }
    plain("stopping");
    let left = console.shop.close().await;
    if left.is_empty() {
        return ExitCode::SUCCESS;
    }
    plain(format_args!("left behind: {}", left.join(", ")));
    ExitCode::FAILURE
}

struct Console {
    shop: Shop,
    ticker: Ticker,
    /// Those that were not healed.
    incidents: Vec<Incident>,
}

impl Console {
    async fn serve(&mut self, started: Instant, first: Option<Break>) {
        self.welcome(started).await;
        let mut lines = typed_lines();
        let mut line_at = interval_at(tokio::time::Instant::now(), Duration::from_secs(1));
        line_at.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval_at(tokio::time::Instant::now(), LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let first_break = sleep(FIRST_BREAK_AFTER);
        tokio::pin!(first_break);
        let (mut first, mut listening) = (first, true);
        line_at.tick().await;
        loop {
            tokio::select! {
                biased;
                line = lines.recv(), if listening => match line.as_deref().map(str::trim) {
                    // Without a terminal it goes on until a signal.
                    None => listening = false,
                    Some("quit" | "exit" | "q") => return,
                    Some(line) => self.typed(line).await,
                },
                () = &mut first_break, if first.is_some() => {
                    if let Some(what) = first.take() {
                        self.break_it(what).await;
                    }
                }
                _ = line_at.tick() => self.tick(),
                _ = look.tick() => self.look().await,
            }
        }
    }

    async fn welcome(&mut self, started: Instant) {
        while self.shop.recorder.is_empty() {
            sleep(LOOK_EVERY).await;
        }
        let second = self.ticker.next(&self.shop);
        say(second.line(0));
        say_about(
            "first line",
            format_args!("after {}", short(started.elapsed())),
        );
        say_about("page", format_args!("http://{}/", self.shop.page()));
        say_about(
            "users call",
            format_args!("http://{}/product/7", self.shop.web()),
        );
        say_about("meshctl", self.shop.meshctl().command_line());
        say_about(
            "legacy-stock",
            format_args!("{} behind mesh-shim", self.shop.legacy()),
        );
        plain(HELP);
    }

    fn tick(&mut self) {
        let second = self.ticker.next(&self.shop);
        say(second.line(self.shop.out_of_rotation()));
        for incident in &mut self.incidents {
            incident.add(&second, Part::Settled);
        }
    }

    async fn look(&mut self) {
        let out = self.shop.out_of_rotation();
        for incident in &mut self.incidents {
            if incident.look(out) {
                let after = incident.ejected_after().map(short).unwrap_or_default();
                let name = incident.what.name();
                say_about("EJECTED", format_args!("after {after} ({name})"));
            }
            if incident.may_explain() {
                self.shop.tell_why_out().await;
            }
        }
    }

    async fn typed(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["break", what] => match what.parse() {
                Ok(what) => self.break_it(what).await,
                Err(error) => plain(error),
            },
            ["heal"] => self.heal().await,
            ["help"] => plain(HELP),
            [first, ..] if MESHCTL.contains(first) => match self.shop.meshctl().run(&words).await {
                Ok(said) => plain(format_args!("{}{}", said.out, said.err)),
                Err(error) => plain(error),
            },
            _ => plain(format_args!("`{line}` is not known; type help")),
        }
    }

    async fn break_it(&mut self, what: Break) {
        let out = self.shop.out_of_rotation();
        match self.shop.break_it(what).await {
            Ok(()) => {
                say_about(&format!("break {}", what.name()), what.story());
                self.incidents.push(Incident::new(what, out));
            }
            Err(error) => plain(error),
        }
    }

    async fn heal(&mut self) {
        let second = self.ticker.next(&self.shop);
        for incident in &mut self.incidents {
            incident.add(&second, Part::Settled);
        }
        let mut seen = BTreeSet::new();
        for incident in std::mem::take(&mut self.incidents) {
            if seen.insert(incident.what.name())
                && let Err(error) = self.shop.heal(incident.what).await
            {
                plain(error);
            }
            say_about(
                "heal",
                format_args!("{}: {}", incident.what.name(), incident.verdict()),
            );
        }
        if seen.is_empty() {
            plain("nothing is broken");
        }
    }
}

/// Lines of standard input. A thread reads them, since a read cannot be given up.
fn typed_lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}
