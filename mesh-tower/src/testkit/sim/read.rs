//! Reads a scenario from YAML.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

use super::scenario::HostSpec;
use super::text::*;
use super::{Arrivals, Behaviour, Change, Expect, Figure, Latency, Load, Scenario, Service};
use super::{SimError, names};

impl Scenario {
    /// Reads a scenario. See the [module](super) for an example, and `docs/simulator.md` for every
    /// field.
    ///
    /// # Errors
    /// With line and column when it is no YAML or has unknown fields; with the field's place when a
    /// value makes no sense.
    pub fn from_yaml(text: &str) -> Result<Self, SimError> {
        read(text).map_err(|error| error.placed(text))
    }
}

fn read(text: &str) -> Result<Scenario, SimError> {
    let options = serde_saphyr::options! { with_snippet: false };
    let text: Text = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| decoding(text, &error))?;
    let mut scenario = Scenario::new(&text.name).policy(&text.policy);
    scenario.seed = text.seed.unwrap_or(scenario.seed);
    scenario.lasting = text.lasting.map_or(scenario.lasting, Into::into);
    scenario.across_zones = text.across_zones.map_or(scenario.across_zones, Into::into);
    let mut firsts = BTreeMap::new();
    for (name, service) in text.services {
        let service = service.build(&name)?;
        for (index, host) in service.hosts.iter().enumerate() {
            let short = name.rsplit_once('/').map_or(&*name, |(_, short)| short);
            firsts.insert(format!("{short}#{index}"), host.behaviour.clone());
        }
        scenario.services.push(service);
    }
    for (index, load) in text.load.into_iter().enumerate() {
        scenario.loads.push(load.build(index)?);
    }
    for (index, event) in text.events.into_iter().enumerate() {
        let at = event.at.into();
        let path = format!("events[{index}]");
        let change = event.build(&path, &firsts)?;
        scenario.changes.push((at, change));
    }
    for (index, expect) in text.expect.into_iter().enumerate() {
        scenario.expects.push(expect.build(index)?);
    }
    names::check(&scenario)?;
    Ok(scenario)
}

/// What the reader of YAML says, with the place, and with the field that was meant.
fn decoding(text: &str, error: &serde_saphyr::Error) -> SimError {
    let error = error.without_snippet();
    let said = error.to_string();
    let said = said.lines().next().unwrap_or_default();
    let message = said.strip_prefix("error: ").unwrap_or(said);
    let message = message.split(" at line ").next().unwrap_or(message);
    let wrong = message.split('`').nth(1);
    let allowed = message
        .split_once("expected ")
        .map(|(_, list)| list.trim_start_matches("one of "));
    let allowed = allowed.map(|list| list.split([',', ' ']).map(|word| word.trim_matches('`')));
    let meant = match (wrong, allowed) {
        (Some(wrong), Some(allowed)) if message.starts_with("unknown ") => {
            mesh_core::policy::text::closest(wrong, allowed.filter(|word| !word.is_empty()))
        }
        _ => None,
    };
    let next = match meant {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => "docs/simulator.md has every field; durations have a unit: 5s, 250ms".to_owned(),
    };
    let mut wrong = SimError::new(message.trim_end_matches([',', ':'])).next(next);
    if let Some(at) = error.location().filter(|at| at.line() > 0) {
        let short = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let len = short(at.span().len()).max(1);
        wrong.place_at(text, short(at.line()), short(at.column()), len);
    }
    wrong
}

// === impl ServiceText ===

impl ServiceText {
    fn build(self, name: &str) -> Result<Service, SimError> {
        if !(1..=10_000).contains(&self.endpoints) {
            return Err(SimError::at(
                format!("services.{name}.endpoints"),
                format!("1 to 10000, not {}", self.endpoints),
            ));
        }
        let mut behaviour = Behaviour::default();
        let path = format!("services.{name}");
        change_behaviour(
            &mut behaviour,
            self.latency,
            self.capacity,
            self.fail,
            &path,
        )?;
        let host = |index: usize| HostSpec {
            behaviour: behaviour.clone(),
            zone: match self.zones.len() {
                0 => None,
                zones => self.zones.get(index % zones).cloned(),
            },
            labels: self.labels.get(index).cloned().unwrap_or_default(),
            weight: self.weights.get(index).copied(),
            priority: self.priorities.get(index).copied().unwrap_or(0),
        };
        let mut service = Service::new(name, 0);
        service.hosts = (0..self.endpoints).map(host).collect();
        service.mesh = self.mesh || !self.calls.is_empty();
        service.calls = self.calls;
        Ok(service)
    }
}

fn change_behaviour(
    behaviour: &mut Behaviour,
    latency: Option<LatencyText>,
    capacity: Option<CapacityText>,
    fail: Option<FailText>,
    path: &str,
) -> Result<(), SimError> {
    if let Some(latency) = latency {
        behaviour.latency = latency.build(&format!("{path}.latency"))?;
    }
    if let Some(capacity) = capacity {
        (behaviour.capacity, behaviour.queue) = (capacity.concurrent, capacity.queue);
    }
    if let Some(fail) = fail {
        if !(0.0..=100.0).contains(&fail.percent) {
            let percent = fail.percent;
            return Err(SimError::at(
                format!("{path}.fail.percent"),
                format!("0 to 100, not {percent}"),
            ));
        }
        behaviour.fail = fail.percent / 100.0;
        behaviour.fail_status = fail.status.unwrap_or(503);
        behaviour.retry_after = fail.retry_after;
        if let Some(latency) = fail.latency {
            behaviour.fail_latency = Some(latency.build(&format!("{path}.fail.latency"))?);
        }
    }
    Ok(())
}

// === impl LatencyText ===

impl LatencyText {
    fn build(self, path: &str) -> Result<Latency, SimError> {
        let Self {
            fixed,
            median,
            p99,
            from,
            to,
            mean,
        } = self;
        Ok(match (fixed, median, p99, from, to, mean) {
            (Some(fixed), None, None, None, None, None) => Latency::fixed(fixed.into()),
            (None, Some(median), Some(p99), None, None, None) => {
                Latency::log_normal(median.into(), p99.into())
            }
            (None, None, None, Some(from), Some(to), None) => {
                Latency::uniform(from.into(), to.into())
            }
            (None, None, None, None, None, Some(mean)) => Latency::exponential(mean.into()),
            _ => {
                return Err(
                    SimError::at(path, "a latency says one kind of distribution")
                        .next("one of `fixed`; `median` and `p99`; `from` and `to`; `mean`"),
                );
            }
        })
    }
}

// === impl LoadText ===

impl LoadText {
    fn build(self, index: usize) -> Result<Load, SimError> {
        let wrong = |field: &str, value: &str| {
            let message = format!("{value:?} is no {field} that can be used");
            SimError::at(format!("load[{index}].{field}"), message)
        };
        let mut load = Load::new(&self.to, self.rate);
        if !(0.0..=1e6).contains(&self.rate) {
            return Err(wrong("rate", &self.rate.to_string()));
        }
        if let Some(from) = &self.from {
            load = load.from(from);
        }
        load.zone = self.zone;
        load.callers = self.callers.unwrap_or(1).clamp(1, 1_000);
        if let Some(method) = &self.method {
            load.method =
                Method::from_bytes(method.as_bytes()).map_err(|_| wrong("method", method))?;
        }
        load.path = self.path.unwrap_or(load.path);
        for (name, value) in &self.headers {
            let name = HeaderName::try_from(name.as_str()).map_err(|_| wrong("headers", name))?;
            let value = HeaderValue::from_str(value).map_err(|_| wrong("headers", value))?;
            load.headers.push((name, value));
        }
        load.arrivals = match self.arrivals {
            None | Some(ArrivalsText::Paced) => Arrivals::Paced,
            Some(ArrivalsText::Random) => Arrivals::Random,
        };
        let begin = self.begin.map_or(Duration::ZERO, Into::into);
        load.between = (begin, self.end.map(Into::into));
        Ok(load)
    }
}

// === impl EventText ===

impl EventText {
    fn build(self, path: &str, firsts: &BTreeMap<String, Behaviour>) -> Result<Change, SimError> {
        if let Some(text) = self.policy {
            return Ok(Change::Policy { text });
        }
        if let Some(rate) = self.rate {
            let load = self.load.unwrap_or(0);
            return Ok(Change::Rate { load, rate });
        }
        let Some(host) = self.host else {
            return Err(SimError::at(path, "nothing changes")
                .next("`host`, `policy` or `rate` says what does"));
        };
        if let Some(present) = self.discovered {
            return Ok(Change::Discovered { host, present });
        }
        if self.heal {
            return Ok(Change::Heal { host });
        }
        // What is not said stays as at the start; of a whole service, as its first host.
        let first = firsts
            .get(&host)
            .or_else(|| firsts.get(&format!("{host}#0")));
        let mut behaviour = first.cloned().unwrap_or_default();
        change_behaviour(&mut behaviour, self.latency, self.capacity, self.fail, path)?;
        behaviour.down = self.down;
        behaviour.hang = self.hang;
        Ok(Change::Behave { host, behaviour })
    }
}

// === impl ExpectText ===

impl ExpectText {
    fn build(self, index: usize) -> Result<Expect, SimError> {
        let of = |of: Option<String>| {
            of.ok_or_else(|| {
                SimError::at(format!("expect[{index}]"), "of which host or service?")
                    .next("`of: reviews` or `of: reviews#0`")
            })
        };
        if self.at_least.is_none() && self.at_most.is_none() {
            return Err(
                SimError::at(format!("expect[{index}]"), "nothing is expected")
                    .next("`atLeast` or `atMost` says what is"),
            );
        }
        let figure = match self.what {
            What::Success => Figure::Success(self.load),
            What::P50 => Figure::Latency(0.5),
            What::P95 => Figure::Latency(0.95),
            What::P99 => Figure::Latency(0.99),
            What::Back => Figure::Back(of(self.of)?),
            What::Returning => Figure::Returning(of(self.of)?),
            What::Peak => Figure::Peak(of(self.of)?),
            What::Metric => Figure::Metric(of(self.of)?),
            What::Share => Figure::Share(of(self.of)?),
            What::Amplification => Figure::Amplification(of(self.of)?),
            What::Ejected => Figure::Out(of(self.of)?),
            What::Goodput => Figure::Goodput,
        };
        let from = self.from.map_or(Duration::ZERO, Into::into);
        let mut expect = Expect::that(figure).within(from, self.to.map(Into::into));
        expect.at_least = self.at_least;
        expect.at_most = self.at_most;
        Ok(expect)
    }
}
