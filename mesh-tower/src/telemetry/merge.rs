use std::collections::HashMap;

/// One exposition of several in Prometheus' text format: the series of a metric stand together, under one
/// `HELP` and one `TYPE`, as the format demands. Each mesh's series need a label of their own
/// ([`Recorder::labelled`](super::Recorder::labelled)), or two of them could be the same.
pub fn merge(texts: impl IntoIterator<Item = String>) -> String {
    /// Lines of the head, and of the series.
    type Family = (Vec<String>, Vec<String>);
    let mut families: Vec<Family> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for text in texts {
        let mut place = None;
        // What earlier texts had has its head.
        let new_from = families.len();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let named = line.strip_prefix("# HELP ");
            let named = named.or_else(|| line.strip_prefix("# TYPE "));
            if let Some(named) = named {
                let name = named.split_whitespace().next().unwrap_or_default();
                let at = *places.entry(name.to_owned()).or_insert_with(|| {
                    families.push(Family::default());
                    families.len() - 1
                });
                if at >= new_from {
                    families[at].0.push(line.to_owned());
                }
                place = Some(at);
            } else if let Some(at) = place {
                families[at].1.push(line.to_owned());
            }
        }
    }
    let mut merged = String::new();
    for line in families
        .iter()
        .flat_map(|(head, series)| head.iter().chain(series))
    {
        merged.push_str(line);
        merged.push('\n');
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::super::Recorder;
    use super::*;

    #[test]
    fn each_metric_has_one_head_and_the_series_of_all() {
        let [web, redis] = ["shop/web", "shop/redis"].map(|name| {
            let recorder = Recorder::labelled("application", name);
            recorder
                .counter("mesh_calls_total", &[("service", "shop/reviews")])
                .increment(2);
            recorder
        });
        let histogram = redis.histogram("mesh_call_duration_seconds", &[("service", "a")]);
        histogram.record(std::time::Duration::from_millis(3));
        let text = merge([web.render(), redis.render(), String::new()]);
        for name in ["mesh_calls_total", "mesh_call_duration_seconds"] {
            for head in ["HELP", "TYPE"] {
                let head = format!("# {head} {name} ");
                assert_eq!(text.matches(&head).count(), 1, "{head} in {text}");
            }
        }
        // Nothing of another metric is between the series of one.
        let families: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split(['{', ' ']).next().unwrap_or_default())
            .map(|name| {
                name.trim_end_matches("_bucket")
                    .trim_end_matches("_sum")
                    .trim_end_matches("_count")
            })
            .collect();
        let mut seen = Vec::new();
        for family in families {
            if seen.last() != Some(&family) {
                assert!(!seen.contains(&family), "{family} twice in {text}");
                seen.push(family);
            }
        }
        for application in ["shop/web", "shop/redis"] {
            let line = text.lines().find(|line| {
                line.starts_with("mesh_calls_total{")
                    && line.contains(&format!("application=\"{application}\""))
            });
            assert!(line.is_some_and(|line| line.ends_with(" 2")), "{text}");
        }
    }

    #[test]
    fn one_alone_loses_nothing() {
        let recorder = Recorder::new();
        recorder.counter("mesh_calls_total", &[]).increment(1);
        let text = recorder.render();
        let lines = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.is_empty());
            lines.map(str::to_owned).collect()
        };
        assert_eq!(lines(&merge([text.clone()])), lines(&text));
    }
}
