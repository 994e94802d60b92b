//! What happens, and when: `traces/mixed.trace` and the policies that it names.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request};
use mesh_tower::body::MeshBody;
use mesh_tower::testkit::Reply;

const EVENTS: &str = include_str!("../../../traces/mixed.trace");
const POLICIES: &str = include_str!("../../../traces/policies.yaml");

pub(super) struct Trace {
    pub(super) events: Vec<(Duration, Event)>,
}

pub(super) enum Event {
    /// Policy text is put in force.
    Policy(String),
    /// An endpoint behaves so from now on.
    Endpoint(char, Behaviour),
    /// A call of the application.
    Call(Call),
}

#[derive(Clone)]
pub(super) enum Behaviour {
    Reply(Reply),
    Refuse,
}

/// A request, as often as it is needed.
#[derive(Clone, Debug)]
pub(super) struct Call {
    method: String,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: usize,
}

// === impl Trace ===

impl Trace {
    pub(super) fn mixed() -> Self {
        let policies: BTreeMap<_, _> = POLICIES
            .split("---\n")
            .map(|text| {
                let name = text.lines().next().and_then(|line| line.strip_prefix("# "));
                (name.expect("a name"), text)
            })
            .collect();
        let lines = EVENTS.lines().filter(|line| !line.starts_with('#'));
        let events = lines.map(|line| {
            let (at, what) = line.split_once(' ').expect("a time");
            let at = Duration::from_millis(at.parse().expect("milliseconds"));
            (at, Event::parse(what, &policies))
        });
        Self {
            events: events.collect(),
        }
    }

    pub(super) fn calls(&self) -> usize {
        let calls = self.events.iter();
        calls
            .filter(|(_, event)| matches!(event, Event::Call(_)))
            .count()
    }
}

// === impl Event ===

impl Event {
    fn parse(text: &str, policies: &BTreeMap<&str, &str>) -> Self {
        let words: Vec<_> = text.split(' ').collect();
        match words[..] {
            ["policy", name] => Self::Policy(policies[name].to_owned()),
            ["endpoint", name, ref how @ ..] => {
                Self::Endpoint(name.chars().next().expect("a name"), Behaviour::parse(how))
            }
            ["call", method, path, ref rest @ ..] => Self::Call(Call::parse(method, path, rest)),
            _ => panic!("{text}"),
        }
    }
}

// === impl Behaviour ===

impl Behaviour {
    fn parse(how: &[&str]) -> Self {
        let number = |text: &str| text.parse::<u32>().expect("a number");
        Self::Reply(match how {
            ["refuse"] => return Self::Refuse,
            ["ok"] => Reply::new(200, "stars"),
            ["hang"] => Reply::hang(),
            ["reset"] => Reply::reset(),
            ["slow", ms] => {
                let slow = Duration::from_millis(number(ms).into());
                Reply::new(200, "stars").after(slow)
            }
            ["grpc", code] => Reply::grpc(number(code)),
            ["grpc-late", code] => Reply::grpc_late(number(code)),
            ["grpc-only", code] => Reply::grpc_only(number(code)),
            [status] => Reply::new(status.parse().expect("a status"), "failed"),
            _ => panic!("{how:?}"),
        })
    }
}

// === impl Call ===

impl Call {
    fn parse(method: &str, path: &str, rest: &[&str]) -> Self {
        let mut call = Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: 0,
        };
        for word in rest {
            match word.split_once('=') {
                None if *word == "grpc" => {
                    call.headers
                        .push(("content-type", "application/grpc".into()));
                    call.headers.push(("te", "trailers".into()));
                    call.body = 5;
                }
                Some(("user", name)) => call.headers.push(("x-user", name.into())),
                Some(("criticality", level)) => {
                    call.headers.push(("x-mesh-criticality", level.into()));
                }
                Some(("deadline", ms)) => call.headers.push(("grpc-timeout", format!("{ms}m"))),
                Some(("body", length)) => call.body = length.parse().expect("a length"),
                _ => panic!("{word}"),
            }
        }
        call
    }

    pub(super) fn request(&self) -> Request<MeshBody> {
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(format!("http://reviews.shop{}", self.path))
            .body(MeshBody::full(vec![0; self.body]))
            .unwrap();
        for (name, value) in &self.headers {
            let value = HeaderValue::from_str(value).unwrap();
            request
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
        request
    }
}
