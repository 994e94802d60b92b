//! The table, as Markdown.

use std::fmt::Write as _;

use super::measure::{Figures, Paced};
use super::scenario::Scenario;
use super::subject::{Missing, Subject};

/// What came of one subject in one scenario.
pub type Outcome = Result<Figures, Missing>;

/// All that was measured.
#[derive(Debug, Default)]
pub struct Report {
    rows: Vec<(Scenario, Subject, Outcome)>,
}

// === impl Report ===

impl Report {
    /// Adds a row.
    pub fn add(&mut self, scenario: Scenario, subject: Subject, outcome: Outcome) {
        self.rows.push((scenario, subject, outcome));
    }

    /// The figures of `subject`, where there are any.
    #[must_use]
    pub fn figures(&self, scenario: Scenario, subject: Subject) -> Option<Figures> {
        self.of(scenario)
            .find(|(one, _)| *one == subject)
            .and_then(|(_, outcome)| outcome.as_ref().ok().copied())
    }

    /// The rows of `scenario`.
    pub fn of(&self, scenario: Scenario) -> impl Iterator<Item = (Subject, &Outcome)> {
        self.rows
            .iter()
            .filter(move |(one, _, _)| *one == scenario)
            .map(|(_, subject, outcome)| (*subject, outcome))
    }

    /// One table a scenario.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for scenario in Scenario::ALL {
            if self.of(scenario).next().is_none() {
                continue;
            }
            let _ = write!(
                text,
                "\n### {}\n\n\
                 | subject | CPU, busy | of envoy-full | CPU, fixed rate, shared cores | of envoy-full | p50, p99 \
                 | CPU, fixed rate, own core | of envoy-full | p50, p99 | calls/s, busy | MiB idle | MiB with connections |\n\
                 | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
                scenario.title()
            );
            let envoy = self.figures(scenario, Subject::EnvoyFull);
            for (subject, outcome) in self.of(scenario) {
                text += &row(subject, outcome, envoy);
            }
        }
        text
    }
}

fn row(subject: Subject, outcome: &Outcome, envoy: Option<Figures>) -> String {
    let name = subject.word();
    let figures = match outcome {
        Ok(figures) => figures,
        Err(missing) => return format!("| {name} | {} |\n", why(missing)),
    };
    let latency = |paced: Paced| format!("{:.2}, {:.2} ms", paced.p50, paced.p99);
    let (shared, apart) = (latency(figures.shared), latency(figures.apart));
    if subject == Subject::Direct {
        return format!(
            "| {name} | - | - | - | - | {shared} | - | - | {apart} | {:.0} | - | - |\n",
            figures.throughput
        );
    }
    let cost = |of: fn(Figures) -> f64| {
        let ratio = envoy.map_or("-".to_owned(), |all| {
            format!("{:.2}", of(*figures) / of(all))
        });
        format!("{:.1} us | {ratio}", of(*figures))
    };
    format!(
        "| {name} | {} | {} | {shared} | {} | {apart} | {:.0} | {:.1} | {:.1} |\n",
        cost(|one| one.busy_cpu),
        cost(|one| one.shared.cpu),
        cost(|one| one.apart.cpu),
        figures.throughput,
        figures.idle,
        figures.held,
    )
}

fn why(missing: &Missing) -> String {
    match missing {
        Missing::NotInstalled => "not installed".to_owned(),
        Missing::CannotDo(why) => (*why).to_owned(),
        Missing::Failed(error) => format!("failed: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_ratios_to_envoy_and_says_what_is_missing() {
        let figures = |busy_cpu| Figures {
            idle: 8.0,
            throughput: 30_000.0,
            busy_cpu,
            apart: Paced {
                cpu: 5.0 + busy_cpu,
                p50: 0.25,
                p99: 0.5,
            },
            shared: Paced {
                cpu: 2.0 * busy_cpu,
                p50: 0.2,
                p99: 0.4,
            },
            held: 30.0,
        };
        let mut report = Report::default();
        report.add(Scenario::Hop, Subject::Shim, Ok(figures(12.0)));
        report.add(Scenario::Hop, Subject::EnvoyFull, Ok(figures(30.0)));
        report.add(Scenario::Hop, Subject::Nginx, Err(Missing::NotInstalled));
        let text = report.markdown();
        assert!(
            text.contains(
                "| mesh-shim | 12.0 us | 0.40 | 24.0 us | 0.40 | 0.20, 0.40 ms | 17.0 us | 0.49 | 0.25, 0.50 ms | 30000 |"
            ),
            "{text}"
        );
        assert!(text.contains("| nginx | not installed |"), "{text}");
        assert!(!text.contains("gRPC"), "{text}");
    }
}
