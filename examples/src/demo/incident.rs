//! One break from its start to its end, in figures.

use std::time::{Duration, Instant};

use super::breaks::{Break, Expect};
use super::figures::Figures;
use super::say::short;
use super::shop::Counters;
use super::ticker::Second;

/// Share of calls that users must see succeed through flaky, slow, kill and control, in percent.
pub(crate) const UNHARMED: f64 = 99.9;

/// Clients report once a second.
const REPORTED_WITHIN: Duration = Duration::from_millis(1_200);

/// What was seen of one break.
#[derive(Debug)]
pub(crate) struct Incident {
    pub(crate) what: Break,
    started: Instant,
    /// Break and recovery.
    users: Figures,
    /// Only while broken, and after the time that a change may take.
    settled: Figures,
    counted: Counters,
    /// Endpoints that were out of rotation before it began.
    out_before: u64,
    ejected_after: Option<Duration>,
    /// The reason was told.
    explained: bool,
    pub(crate) findings: Vec<String>,
    /// The last part of the recovery.
    recovered: Figures,
}

impl Incident {
    /// Begins now; `out` endpoints are out of rotation already.
    pub(crate) fn new(what: Break, out: u64) -> Self {
        Self {
            what,
            out_before: out,
            explained: false,
            started: Instant::now(),
            users: Figures::default(),
            settled: Figures::default(),
            counted: Counters::default(),
            ejected_after: None,
            findings: Vec::new(),
            recovered: Figures::default(),
        }
    }

    /// A part of the time since the start.
    pub(crate) fn add(&mut self, second: &Second, part: Part) {
        self.users.add(&second.users);
        self.counted.retries += second.counted.retries;
        self.counted.rescued += second.counted.rescued;
        self.counted.ejections += second.counted.ejections;
        match part {
            Part::Settled => self.settled.add(&second.users),
            Part::Recovered => self.recovered.add(&second.users),
            Part::Changing => {}
        }
    }

    /// Takes note of how many endpoints are out of rotation now. True the first time that there
    /// are more than before.
    pub(crate) fn look(&mut self, out: u64) -> bool {
        self.out_before = self.out_before.min(out);
        let ejected = self.ejected_after.is_none() && out > self.out_before;
        if ejected {
            self.ejected_after = Some(self.started.elapsed());
        }
        ejected
    }

    /// How long after its start something went out of rotation.
    pub(crate) fn ejected_after(&self) -> Option<Duration> {
        self.ejected_after
    }

    /// True once, when the reason for the ejection has come in with a report.
    pub(crate) fn may_explain(&mut self) -> bool {
        let due = self
            .ejected_after
            .is_some_and(|after| self.started.elapsed() > after + REPORTED_WITHIN);
        let first = due && !self.explained;
        self.explained |= due;
        first
    }

    /// Success over the incident in one line.
    pub(crate) fn verdict(&self) -> String {
        format!(
            "users' success over the incident {:.2}% ({:.2}% without the mesh)",
            self.users.success(),
            self.users.success_without(self.counted.rescued),
        )
    }

    /// What must hold and does not.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let name = self.what.name();
        let mut complaints = Vec::new();
        match self.what.expect() {
            Expect::Unharmed => {
                let success = self.users.success();
                if success < UNHARMED {
                    complaints.push(format!(
                        "{name}: users saw {success:.2}% succeed, {UNHARMED}% is owed ({:?}): {}",
                        self.users.codes,
                        self.users.last_failure.as_deref().unwrap_or("-")
                    ));
                }
            }
            Expect::FailsClosed(codes) => {
                if self.settled.ok > 0 {
                    complaints.push(format!(
                        "{name}: {} calls got through while broken",
                        self.settled.ok
                    ));
                }
                let seen = self.settled.top_code();
                if !seen.is_some_and(|code| codes.contains(&code)) {
                    complaints.push(format!(
                        "{name}: users saw {seen:?}, one of {codes:?} is owed ({:?})",
                        self.settled.codes
                    ));
                }
            }
        }
        if self.recovered.calls() == 0 || self.recovered.failed > 0 {
            complaints.push(format!(
                "{name}: after heal {} of {} calls failed ({:?}): {}",
                self.recovered.failed,
                self.recovered.calls(),
                self.recovered.codes,
                self.recovered.last_failure.as_deref().unwrap_or("-")
            ));
        }
        if matches!(self.what, Break::Flaky) && self.ejected_after.is_none() {
            complaints.push(format!("{name}: nothing was ejected"));
        }
        let named = self.what.findings();
        if !named.is_empty()
            && !self
                .findings
                .iter()
                .any(|code| named.contains(&code.as_str()))
        {
            complaints.push(format!(
                "{name}: meshctl check named {:?}, one of {named:?} is owed",
                self.findings
            ));
        }
        complaints
    }

    /// One row of the table.
    pub(crate) fn row(&self) -> String {
        let dash = || "-".to_owned();
        let findings = if self.findings.is_empty() {
            dash()
        } else {
            self.findings.join(" ")
        };
        format!(
            "{:<9}{:>6}{:>10.2}%{:>12.2}%{:>9}{:>10}  {:<7}{findings}",
            self.what.name(),
            self.users.calls(),
            self.users.success(),
            self.users.success_without(self.counted.rescued),
            short(self.users.quantile(0.99)),
            self.ejected_after.map_or_else(dash, short),
            self.users.top_code().unwrap_or("-"),
        )
    }
}

/// The head of [`Incident::row`].
pub(crate) const HEAD: &str =
    "BREAK     CALLS  USERS SEE  WITHOUT MESH     P99  EJECTED IN  CODE   CHECK SAYS";

/// Which part of an incident a second belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The break or its heal may still be on its way.
    Changing,
    /// Broken.
    Settled,
    /// Healed.
    Recovered,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(ok: u64, code: Option<&str>, failed: u64) -> Second {
        let mut users = Figures::default();
        for _ in 0..ok {
            users.record(Ok(()), Duration::from_millis(2));
        }
        for _ in 0..failed {
            users.record(Err(code.unwrap_or("500").into()), Duration::from_millis(1));
        }
        Second {
            users,
            counted: Counters {
                retries: 3,
                rescued: 2,
                ejections: 0,
            },
        }
    }

    #[test]
    fn an_unharmed_break_allows_one_in_a_thousand() {
        let mut incident = Incident::new(Break::Slow, 0);
        incident.findings.push("M5005".into());
        incident.add(&second(999, None, 1), Part::Settled);
        incident.add(&second(1, None, 0), Part::Recovered);
        assert_eq!(incident.complaints(), Vec::<String>::new());
        incident.add(&second(0, None, 1), Part::Settled);
        assert_eq!(incident.complaints().len(), 1);
    }

    #[test]
    fn a_closed_break_must_let_nothing_through_and_name_its_code() {
        let mut incident = Incident::new(Break::Policy, 0);
        incident.findings.push("M5006".into());
        incident.add(&second(50, Some("M4001"), 2), Part::Changing);
        incident.add(&second(0, Some("M4001"), 50), Part::Settled);
        incident.add(&second(50, None, 0), Part::Recovered);
        assert_eq!(incident.complaints(), Vec::<String>::new());
        incident.add(&second(1, Some("503"), 100), Part::Settled);
        assert_eq!(incident.complaints().len(), 2);
    }

    #[test]
    fn what_does_not_recover_is_told() {
        let mut incident = Incident::new(Break::Control, 0);
        incident.add(&second(50, None, 0), Part::Settled);
        assert!(incident.complaints()[0].contains("after heal 0 of 0"));
    }

    #[test]
    fn only_what_goes_out_of_rotation_during_it_counts() {
        let mut incident = Incident::new(Break::Flaky, 1);
        assert!(!incident.look(1), "out before");
        assert!(!incident.look(0), "back again");
        assert!(incident.look(1) && !incident.look(1));
        assert!(incident.ejected_after().is_some());
    }

    #[test]
    fn a_row_fits_its_head() {
        let mut incident = Incident::new(Break::Flaky, 0);
        incident.add(&second(100, None, 0), Part::Settled);
        let row = incident.row();
        assert!(
            row.starts_with("flaky       100    100.00%       98.00%"),
            "{row}"
        );
        assert!(row.len() < 100);
    }
}
