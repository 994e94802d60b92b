//! Every break by itself, with its figures: the project's acceptance test.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::time::{sleep, sleep_until};

use super::args::Options;
use super::breaks::Break;
use super::incident::{HEAD, Incident, Part};
use super::say::{plain, say, say_about, short};
use super::shop::{LOOK_EVERY, Shop};
use super::ticker::Ticker;

/// All processes together.
const MEMORY_MIB: u64 = 200;
/// From the start of the demo to its first line of traffic.
const FIRST_LINE: Duration = Duration::from_secs(3);
/// A change has reached everybody after this.
const SETTLE: Duration = Duration::from_millis(1_500);

/// Runs all breaks within about `options.time`.
pub(crate) async fn run(started: Instant, options: &Options) -> ExitCode {
    let shop = match Shop::open(options.port, options.seed).await {
        Ok(shop) => shop,
        Err(error) => {
            plain(format_args!(
                "{error}\nnext: the lines above are the end of its log"
            ));
            return ExitCode::FAILURE;
        }
    };
    let mut run = Run {
        shop,
        ticker: Ticker::default(),
        incidents: Vec::new(),
        memory_mib: 0,
        first_line: Duration::ZERO,
        complaints: Vec::new(),
    };
    tokio::select! {
        () = run.all(started, options.time) => {}
        () = super::asked_to_stop() => run.complaints.push("stopped by a signal".to_owned()),
    }
    let complaints = run.close().await;
    if complaints.is_empty() {
        plain("all holds");
        return ExitCode::SUCCESS;
    }
    for complaint in complaints {
        plain(format_args!("FAILED  {complaint}"));
    }
    if options.assert {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

struct Run {
    shop: Shop,
    ticker: Ticker,
    incidents: Vec<Incident>,
    memory_mib: u64,
    first_line: Duration,
    complaints: Vec<String>,
}

impl Run {
    async fn all(&mut self, started: Instant, time: Duration) {
        self.first_line = self.first_line(started).await;
        self.healthy().await;
        let left = time
            .saturating_sub(started.elapsed())
            .saturating_sub(Duration::from_secs(2));
        let each = left / u32::try_from(Break::ALL.len()).unwrap_or(1);
        for what in Break::ALL {
            let incident = self.one(what, each).await;
            self.incidents.push(incident);
            self.weigh();
        }
    }

    fn weigh(&mut self) {
        self.memory_mib = self.memory_mib.max(self.shop.memory_mib());
    }

    /// Stops all, prints the table, gives what did not hold.
    async fn close(self) -> Vec<String> {
        let Self {
            shop,
            incidents,
            memory_mib,
            first_line,
            mut complaints,
            ..
        } = self;
        let left = shop.close().await;
        plain("");
        plain(HEAD);
        for incident in &incidents {
            plain(incident.row());
            complaints.extend(incident.complaints());
        }
        if memory_mib >= MEMORY_MIB {
            complaints.push(format!(
                "memory: {memory_mib} MiB, less than {MEMORY_MIB} is owed"
            ));
        }
        plain(format_args!(
            "\nfirst line of traffic after {}   memory of all processes {memory_mib} MiB   left behind: {}",
            short(first_line),
            if left.is_empty() {
                "nothing".to_owned()
            } else {
                left.join(", ")
            },
        ));
        complaints.extend(left.into_iter().map(|what| format!("left behind: {what}")));
        complaints
    }

    async fn first_line(&mut self, started: Instant) -> Duration {
        // The load began with the shop; the first answers decide the first line.
        while self.shop.recorder.is_empty() {
            sleep(LOOK_EVERY).await;
        }
        let second = self.ticker.next(&self.shop);
        let took = started.elapsed();
        say(second.line(0));
        if took > FIRST_LINE {
            self.complaints.push(format!(
                "first line of traffic after {}, {} is owed",
                short(took),
                short(FIRST_LINE)
            ));
        }
        say_about("page", format_args!("http://{}/", self.shop.page()));
        took
    }

    /// Some seconds with nothing broken: all must be well.
    async fn healthy(&mut self) {
        let mut users = super::figures::Figures::default();
        for _ in 0..3 {
            sleep(Duration::from_secs(1)).await;
            let second = self.ticker.next(&self.shop);
            say(second.line(self.shop.out_of_rotation()));
            users.add(&second.users);
        }
        if users.failed > 0 {
            self.complaints.push(format!(
                "healthy: {} of {} calls failed ({:?})",
                users.failed,
                users.calls(),
                users.codes
            ));
        }
        match self.shop.meshctl().check().await {
            Ok(findings) if findings.is_empty() => say_about("check", "all ok"),
            Ok(findings) => {
                for finding in findings {
                    self.complaints.push(format!(
                        "healthy: meshctl check says {} {}: {}",
                        finding.code, finding.subject, finding.message
                    ));
                }
            }
            Err(error) => self.complaints.push(error),
        }
        self.weigh();
    }

    async fn one(&mut self, what: Break, time: Duration) -> Incident {
        let until = tokio::time::Instant::now() + time;
        // Six tenths broken, the rest to recover.
        let heal_at = tokio::time::Instant::now() + time.mul_f64(0.6);
        say_about(&format!("break {}", what.name()), what.story());
        let mut incident = Incident::new(what, self.shop.out_of_rotation());
        if let Err(error) = self.shop.break_it(what).await {
            self.complaints
                .push(format!("break {}: {error}", what.name()));
        }
        self.watch(&mut incident, SETTLE, Part::Changing).await;
        // The last look of the broken time asks what the command line says.
        self.watch_until(&mut incident, heal_at - LOOK_EVERY, Part::Settled)
            .await;
        if self.shop.has_control() {
            match self.shop.meshctl().check().await {
                Ok(findings) => {
                    for finding in findings {
                        say_about(
                            "check",
                            format_args!(
                                "{} {}: {}  next: {}",
                                finding.code, finding.subject, finding.message, finding.next
                            ),
                        );
                        if !incident.findings.contains(&finding.code) {
                            incident.findings.push(finding.code);
                        }
                    }
                }
                Err(error) => self.complaints.push(format!("{}: {error}", what.name())),
            }
        }
        if let Err(error) = self.shop.heal(what).await {
            self.complaints
                .push(format!("heal {}: {error}", what.name()));
        }
        say_about("heal", what.name());
        self.watch(&mut incident, SETTLE, Part::Changing).await;
        self.watch_until(&mut incident, until, Part::Recovered)
            .await;
        say_about(what.name(), incident.verdict());
        incident
    }

    async fn watch(&mut self, incident: &mut Incident, time: Duration, part: Part) {
        self.watch_until(incident, tokio::time::Instant::now() + time, part)
            .await;
    }

    /// A line a second until then, and a look at the rotation in between.
    async fn watch_until(
        &mut self,
        incident: &mut Incident,
        until: tokio::time::Instant,
        part: Part,
    ) {
        let mut line_at = tokio::time::Instant::now() + Duration::from_secs(1);
        while tokio::time::Instant::now() < until {
            let next = line_at.min(until);
            while tokio::time::Instant::now() < next {
                let out = self.shop.out_of_rotation();
                if part != Part::Recovered && incident.look(out) {
                    let after = incident.ejected_after().map(short).unwrap_or_default();
                    say_about("EJECTED", format_args!("after {after}"));
                }
                if incident.may_explain() {
                    self.shop.tell_why_out().await;
                }
                sleep_until(next.min(tokio::time::Instant::now() + LOOK_EVERY)).await;
            }
            let second = self.ticker.next(&self.shop);
            if next == line_at {
                say(second.line(self.shop.out_of_rotation()));
                line_at += Duration::from_secs(1);
            }
            incident.add(&second, part);
        }
    }
}
