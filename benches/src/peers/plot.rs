//! The bars: CPU per call at saturation, one group a scenario, as SVG.

use std::fmt::Write as _;

use super::report::Report;
use super::scenario::Scenario;
use super::subject::Subject;

const WIDTH: f64 = 860.0;
const LABEL: f64 = 130.0;
const BAR: f64 = 18.0;
const GAP: f64 = 34.0;

/// CPU per call of every subject in every scenario that was measured.
#[must_use]
pub fn svg(report: &Report) -> String {
    let groups: Vec<_> = Scenario::ALL
        .into_iter()
        .map(|scenario| (scenario, bars(report, scenario)))
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    let most = groups
        .iter()
        .flat_map(|(_, bars)| bars.iter().map(|(_, value)| *value))
        .fold(1.0, f64::max);
    let mut body = String::new();
    let mut y = 30.0;
    for (scenario, bars) in &groups {
        let _ = writeln!(
            body,
            "<text x=\"0\" y=\"{y:.0}\" font-weight=\"bold\">{}: CPU per call, busy</text>",
            scenario.title()
        );
        y += 8.0;
        for (subject, value) in bars {
            let width = (WIDTH - LABEL - 70.0) * value / most;
            let colour = if *subject == Subject::Shim {
                "#1f6feb"
            } else {
                "#8c959f"
            };
            let text = y + BAR - 5.0;
            let _ = writeln!(
                body,
                "<text x=\"{x:.0}\" y=\"{text:.0}\" text-anchor=\"end\">{name}</text>\
                 <rect x=\"{LABEL:.0}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{height:.0}\" fill=\"{colour}\"/>\
                 <text x=\"{end:.1}\" y=\"{text:.0}\">{value:.1} us</text>",
                x = LABEL - 8.0,
                name = subject.word(),
                height = BAR - 4.0,
                end = LABEL + width + 6.0,
            );
            y += BAR;
        }
        y += GAP;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {y:.0}\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"#57606a\">\n{body}</svg>\n"
    )
}

fn bars(report: &Report, scenario: Scenario) -> Vec<(Subject, f64)> {
    report
        .of(scenario)
        .filter(|(subject, _)| *subject != Subject::Direct)
        .filter_map(|(subject, outcome)| Some((subject, outcome.as_ref().ok()?.busy_cpu)))
        .collect()
}
