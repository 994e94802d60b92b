//! A client machine and a server machine over a simulated network: whatever is lost, late, refused or restarted, in
//! the end the client holds exactly what is published.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::{
    Limits, Version, WILDCARD,
    client::{Machine, Update},
    server::{Config, ConnectionId, Engine},
};
use crate::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node};

const TYPES: [&str; 3] = ["test/Trust", "test/Endpoints", "test/Policy"];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[derive(Debug, Clone)]
enum Step {
    /// Publish content `1` (0: take back). Content 9 is one that the client refuses.
    Publish(usize, usize, u8),
    Subscribe(usize, usize),
    Unsubscribe(usize, usize),
    Wildcard(usize, bool),
    /// The next request arrives.
    ToServer,
    /// The next response arrives; refusals keep the good parts or nothing.
    ToClient {
        keep_good: bool,
    },
    /// An update is put into force only after later steps.
    ToClientSlowly,
    Applied {
        keep_good: bool,
    },
    /// The connection breaks; everything under way is lost.
    Break,
    /// Another server with the same content.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let (ty, name) = (0..TYPES.len(), 0..NAMES.len());
    prop_oneof![
        4 => (ty.clone(), name.clone(), prop_oneof![4 => 0..4u8, 1 => Just(9u8)])
            .prop_map(|(t, n, c)| Step::Publish(t, n, c)),
        3 => (ty.clone(), name.clone()).prop_map(|(t, n)| Step::Subscribe(t, n)),
        2 => (ty.clone(), name).prop_map(|(t, n)| Step::Unsubscribe(t, n)),
        1 => (ty, any::<bool>()).prop_map(|(t, on)| Step::Wildcard(t, on)),
        6 => Just(Step::ToServer),
        5 => any::<bool>().prop_map(|keep_good| Step::ToClient { keep_good }),
        1 => Just(Step::ToClientSlowly),
        1 => any::<bool>().prop_map(|keep_good| Step::Applied { keep_good }),
        1 => Just(Step::Break),
        1 => Just(Step::Restart),
    ]
}

struct Pair {
    engine: Engine,
    connection: ConnectionId,
    machine: Machine,
    requests: VecDeque<DeltaDiscoveryRequest>,
    responses: VecDeque<DeltaDiscoveryResponse>,
    slow: VecDeque<Update>,
    published: BTreeMap<(usize, usize), u8>,
    wanted: [BTreeSet<usize>; TYPES.len()],
    wildcard: [bool; TYPES.len()],
    /// What the client has in force, kept as an application would.
    in_force: BTreeMap<(String, String), Vec<u8>>,
    messages: usize,
}

impl Pair {
    fn new() -> Self {
        let mut engine = Self::engine();
        let connection = engine.connect();
        let mut machine = Machine::new(
            Node::default(),
            Limits {
                names_per_request: 6,
                ..Limits::default()
            },
        );
        machine.reconnect();
        Self {
            engine,
            connection,
            machine,
            requests: VecDeque::new(),
            responses: VecDeque::new(),
            slow: VecDeque::new(),
            published: BTreeMap::new(),
            wanted: Default::default(),
            wildcard: Default::default(),
            in_force: BTreeMap::new(),
            messages: 0,
        }
    }

    fn engine() -> Engine {
        let limits = Limits {
            response_bytes: 8,
            ..Limits::default()
        };
        Engine::new(Config {
            order: TYPES.map(String::from).to_vec(),
            limits,
            ..Config::default()
        })
    }

    fn publish(&mut self, ty: usize, name: usize, content: u8) {
        if content == 0 {
            self.published.remove(&(ty, name));
        } else {
            self.published.insert((ty, name), content);
        }
        self.engine.update(
            TYPES[ty],
            NAMES[name],
            (content != 0).then(|| vec![content].into()),
        );
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Publish(ty, name, content) => self.publish(ty, name, content),
            Step::Subscribe(ty, name) => {
                self.wanted[ty].insert(name);
                self.machine.subscribe(TYPES[ty], NAMES[name]);
            }
            Step::Unsubscribe(ty, name) => {
                self.wanted[ty].remove(&name);
                self.machine.unsubscribe(TYPES[ty], NAMES[name]);
                self.drop_unwanted();
            }
            Step::Wildcard(ty, on) => {
                self.wildcard[ty] = on;
                if on {
                    self.machine.subscribe(TYPES[ty], WILDCARD);
                } else {
                    self.machine.unsubscribe(TYPES[ty], WILDCARD);
                    self.drop_unwanted();
                }
            }
            Step::ToServer => {
                self.requests
                    .extend(std::iter::from_fn(|| self.machine.poll_request()));
                if let Some(request) = self.requests.pop_front() {
                    self.engine
                        .on_request(self.connection, &request)
                        .expect("our own client is polite");
                    self.messages += 1;
                }
            }
            Step::ToClient { keep_good } => {
                if let Some(update) = self.receive() {
                    self.apply(&update, keep_good);
                }
            }
            Step::ToClientSlowly => {
                let update = self.receive();
                self.slow.extend(update);
            }
            Step::Applied { keep_good } => {
                if let Some(update) = self.slow.pop_front() {
                    self.apply(&update, keep_good);
                }
            }
            Step::Break => {
                self.engine.disconnect(self.connection);
                self.reconnect();
            }
            Step::Restart => {
                self.engine = Self::engine();
                for ((ty, name), content) in self.published.clone() {
                    self.publish(ty, name, content);
                }
                self.reconnect();
            }
        }
    }

    fn reconnect(&mut self) {
        self.requests.clear();
        self.responses.clear();
        self.slow.clear(); // As join() does: an update is put into force before the stream is read on.
        self.connection = self.engine.connect();
        self.machine.reconnect();
    }

    fn receive(&mut self) -> Option<Update> {
        // Order within a stream is kept, so a response cannot overtake one that is still being applied.
        if !self.slow.is_empty() {
            return None;
        }
        self.responses
            .extend(std::iter::from_fn(|| self.engine.poll(self.connection)));
        let response = self.responses.pop_front()?;
        self.messages += 1;
        Some(
            self.machine
                .on_response(response)
                .expect("our own server is polite"),
        )
    }

    fn apply(&mut self, update: &Update, keep_good: bool) {
        let ty = update.type_url.to_string();
        let bad = |content: &[u8]| content == [9];
        let any_bad = update.resources.iter().any(|(.., content)| bad(content));
        if any_bad && !keep_good {
            return self.machine.refuse(update, "bad", &BTreeSet::new());
        }
        let mut kept = BTreeSet::new();
        for (name, _, content) in update
            .resources
            .iter()
            .filter(|(.., content)| !bad(content))
        {
            self.in_force
                .insert((ty.clone(), name.to_string()), content.to_vec());
            kept.insert(name.clone());
        }
        for name in &update.removed {
            self.in_force.remove(&(ty.clone(), name.to_string()));
            kept.insert(name.clone());
        }
        if any_bad {
            self.machine.refuse(update, "bad", &kept);
        } else {
            self.machine.accept(update);
        }
        self.drop_unwanted();
    }

    fn drop_unwanted(&mut self) {
        let (wanted, wildcard) = (&self.wanted, &self.wildcard);
        self.in_force.retain(|(ty, name), _| {
            let ty = TYPES.iter().position(|url| url == ty).unwrap();
            wildcard[ty] || wanted[ty].iter().any(|ix| NAMES[*ix] == name)
        });
    }

    /// Delivers everything until both sides are silent.
    fn settle(&mut self, keep_good: bool) {
        for _ in 0..1_000 {
            let before = self.messages;
            while !self.slow.is_empty() {
                self.step(&Step::Applied { keep_good });
            }
            self.step(&Step::ToServer);
            self.step(&Step::ToClient { keep_good });
            if self.messages == before {
                return;
            }
        }
        panic!("still talking after 1000 rounds");
    }

    fn should_hold(&self) -> BTreeMap<(String, String), Vec<u8>> {
        let wants = |ty: usize, name: usize| self.wildcard[ty] || self.wanted[ty].contains(&name);
        self.published
            .iter()
            .filter(|((ty, name), _)| wants(*ty, *name))
            .map(|((ty, name), content)| ((TYPES[*ty].into(), NAMES[*name].into()), vec![*content]))
            .collect()
    }

    fn check_converged(&self) {
        assert_eq!(self.in_force, self.should_hold());
        for ty in TYPES {
            for (name, version) in self.machine.held(ty) {
                let content = &self.in_force[&(ty.into(), name.to_string())];
                assert_eq!(**version, Version::of(content).to_string());
            }
        }
        let view = self.engine.connection(self.connection).unwrap();
        assert!(!view.behind, "{view:?}");
        assert!(view.types.iter().all(|t| t.nack.is_none()), "{view:?}");
    }
}

#[test]
fn a_name_that_is_let_go_as_everything_is_wanted_is_taken_back() {
    // Everything is wanted for the first time, or was, was not, and is again.
    for again in [false, true] {
        let mut pair = Pair::new();
        if again {
            pair.step(&Step::Wildcard(0, true));
        }
        pair.step(&Step::Subscribe(0, 1));
        pair.publish(0, 1, 1);
        pair.settle(false);
        pair.publish(0, 1, 0);
        if again {
            pair.step(&Step::Wildcard(0, false));
        }
        pair.step(&Step::Wildcard(0, true));
        pair.step(&Step::Unsubscribe(0, 1));
        pair.settle(false);
        pair.check_converged();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_pair_converges(
        steps in proptest::collection::vec(step(), 0..80),
        keep_good in any::<bool>(),
    ) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
        }
        pair.settle(keep_good);
        // What is bad is never in force; what is good is, unless it came together with something bad.
        for (key, content) in pair.should_hold() {
            if content == [9] {
                prop_assert_ne!(pair.in_force.get(&key), Some(&content));
            }
        }
        // The configuration is repaired: everything converges without a reconnect.
        for ((ty, name), content) in pair.published.clone() {
            if content == 9 {
                pair.publish(ty, name, 1);
            }
        }
        pair.settle(keep_good);
        pair.check_converged();
        // And a reconnect to another server costs no content.
        pair.step(&Step::Restart);
        let mut sent = 0;
        for _ in 0..200 {
            pair.step(&Step::ToServer);
            pair.responses.extend(std::iter::from_fn(|| pair.engine.poll(pair.connection)));
            sent += pair.responses.iter().map(|response| response.resources.len()).sum::<usize>();
            pair.step(&Step::ToClient { keep_good });
        }
        // A request's bound may cut off versions; then that content comes again.
        if pair.in_force.len() <= 2 {
            prop_assert_eq!(sent, 0);
        }
        pair.check_converged();
    }

    #[test]
    fn arbitrary_requests_never_break_the_server(
        requests in proptest::collection::vec(
            (
                0..4usize,
                proptest::collection::vec("[a-c*]{0,3}", 0..5),
                proptest::collection::vec("[a-c*]{0,3}", 0..5),
                proptest::collection::btree_map("[a-c]{1}", "[0-9a-f]{0,16}", 0..3),
                prop_oneof![Just(String::new()), "[0-9]-[0-9]"],
                any::<bool>(),
            ),
            0..40,
        ),
    ) {
        let mut engine = Pair::engine();
        engine.update(TYPES[0], "a", Some("1".into()));
        let id = engine.connect();
        for (ty, subscribe, unsubscribe, held, nonce, refuse) in requests {
            let request = DeltaDiscoveryRequest {
                type_url: TYPES.get(ty).copied().unwrap_or("").into(),
                resource_names_subscribe: subscribe,
                resource_names_unsubscribe: unsubscribe,
                initial_resource_versions: held,
                response_nonce: nonce,
                error_detail: refuse.then(Default::default),
                ..Default::default()
            };
            let _ = engine.on_request(id, &request);
            for _ in 0..10 {
                if engine.poll(id).is_none() {
                    break;
                }
            }
            prop_assert_eq!(engine.poll(id), None);
        }
        engine.disconnect(id);
    }
}
