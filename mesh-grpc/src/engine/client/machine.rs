use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use super::Update;
use crate::{
    engine::{Limits, Violation, WILDCARD},
    pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Status},
};

/// gRPC's INVALID_ARGUMENT, the code of a refusal.
const INVALID_ARGUMENT: i32 = 3;

/// Bytes of a refusal's text that are sent.
const MAX_REASON: usize = 4_096;

#[derive(Debug, Default)]
struct Type {
    wanted: BTreeSet<Arc<str>>,
    wildcard: bool,
    /// Name to version, in force here. Kept over reconnects.
    held: BTreeMap<Arc<str>, Arc<str>>,
    /// Names that the server said do not exist.
    absent: BTreeSet<Arc<str>>,
    nack: Option<Arc<str>>,
    // Of the current stream:
    started: bool,
    subscribe: BTreeSet<Arc<str>>,
    unsubscribe: BTreeSet<Arc<str>>,
    answers: VecDeque<(String, Option<String>)>,
}

/// The client's machine for all types of one stream.
#[derive(Debug)]
pub struct Machine {
    node: Node,
    /// In order of appearance, which is the order of first requests.
    types: Vec<(Arc<str>, Type)>,
    limits: Limits,
    stream: u64,
    node_sent: bool,
}

impl Machine {
    /// A machine that wants and holds nothing.
    pub fn new(node: Node, limits: Limits) -> Self {
        Self {
            node,
            types: Vec::new(),
            limits,
            stream: 0,
            node_sent: false,
        }
    }

    // === What is wanted ===

    /// Adds a name; `"*"` is everything of the type.
    pub fn subscribe(&mut self, type_url: &str, name: &str) {
        let state = self.entry(type_url);
        if name == WILDCARD {
            if !std::mem::replace(&mut state.wildcard, true) {
                state.subscribe.insert(WILDCARD.into());
            }
            return;
        }
        let name: Arc<str> = name.into();
        if state.wanted.insert(name.clone()) {
            // Unsubscribed a moment ago? Both are sent, in that order: what was held is forgotten here and must come
            // again.
            state.subscribe.insert(name);
        }
    }

    /// Takes a name out, and forgets what is held of it.
    pub fn unsubscribe(&mut self, type_url: &str, name: &str) {
        let state = self.entry(type_url);
        if name == WILDCARD {
            if std::mem::replace(&mut state.wildcard, false) {
                state.subscribe.remove(WILDCARD);
                state.unsubscribe.insert(WILDCARD.into());
            }
            let wanted = &state.wanted;
            state.held.retain(|name, _| wanted.contains(name));
            state.absent.retain(|name| wanted.contains(name));
            return;
        }
        if !state.wanted.remove(name) {
            return;
        }
        if !state.wildcard {
            state.held.remove(name);
            state.absent.remove(name);
        }
        state.subscribe.remove(name);
        state.unsubscribe.insert(name.into());
    }

    /// Makes `names` all that is wanted by name of a type.
    pub fn want<'a>(&mut self, type_url: &str, names: impl IntoIterator<Item = &'a str>) {
        let names: BTreeSet<&str> = names.into_iter().collect();
        let state = self.entry(type_url);
        let gone: Vec<Arc<str>> = state
            .wanted
            .iter()
            .filter(|name| !names.contains(&***name))
            .cloned()
            .collect();
        for name in gone {
            self.unsubscribe(type_url, &name);
        }
        for name in names {
            self.subscribe(type_url, name);
        }
    }

    /// Something that is in force from an earlier run, before the first stream.
    pub fn restore(&mut self, type_url: &str, name: &str, version: &str) {
        self.entry(type_url)
            .held
            .insert(name.into(), version.into());
    }

    // === The stream ===

    /// A new stream was opened: everything wanted is asked for once more, with the versions held.
    pub fn reconnect(&mut self) {
        self.stream += 1;
        self.node_sent = false;
        for (_, state) in &mut self.types {
            state.started = false;
            state.answers.clear();
            state.unsubscribe.clear();
            state.subscribe.clone_from(&state.wanted);
            if state.wildcard {
                state.subscribe.insert(WILDCARD.into());
            }
        }
    }

    /// The next request to send; to be called until it returns `None`.
    pub fn poll_request(&mut self) -> Option<DeltaDiscoveryRequest> {
        let half = (self.limits.names_per_request / 2).max(1);
        for (type_url, state) in &mut self.types {
            let mut request = DeltaDiscoveryRequest {
                type_url: type_url.to_string(),
                ..Default::default()
            };
            if let Some((nonce, refusal)) = state.answers.pop_front() {
                request.response_nonce = nonce;
                request.error_detail = refusal.map(|message| Status {
                    code: INVALID_ARGUMENT,
                    message,
                    details: Vec::new(),
                });
            } else if state.started && state.unsubscribe.remove(WILDCARD) {
                request.resource_names_unsubscribe.push(WILDCARD.into());
            } else if state.started && state.subscribe.remove(WILDCARD) {
                // Before the names that are let go: a server that does not know that everything is wanted forgets
                // them, and would never say that one is gone.
                request.resource_names_subscribe.push(WILDCARD.into());
            } else if state.started && !state.unsubscribe.is_empty() {
                while request.resource_names_unsubscribe.len() < half {
                    let Some(name) = state.unsubscribe.pop_first() else {
                        break;
                    };
                    request.resource_names_unsubscribe.push(name.to_string());
                }
            } else if !state.subscribe.is_empty() {
                // At most half of a request's names here: the other half may be needed for their versions. What is
                // held goes first, because only the first request of a type can say so.
                let mut first: Vec<Arc<str>> = Vec::new();
                if !state.started {
                    state.unsubscribe.clear();
                    let everything = state.subscribe.get(WILDCARD).into_iter();
                    let held = state
                        .held
                        .keys()
                        .filter(|name| state.subscribe.contains(*name));
                    first.extend(everything.chain(held).take(half).cloned());
                }
                for name in first {
                    state.subscribe.remove(&name);
                    request.resource_names_subscribe.push(name.to_string());
                }
                while request.resource_names_subscribe.len() < half {
                    let Some(name) = state.subscribe.pop_first() else {
                        break;
                    };
                    request.resource_names_subscribe.push(name.to_string());
                }
                if !std::mem::replace(&mut state.started, true) {
                    let asked: BTreeSet<&str> = request
                        .resource_names_subscribe
                        .iter()
                        .map(String::as_str)
                        .collect();
                    request.initial_resource_versions = state
                        .held
                        .iter()
                        .filter(|(name, _)| state.wildcard || asked.contains(&***name))
                        .take(half)
                        .map(|(name, version)| (name.to_string(), version.to_string()))
                        .collect();
                    // Of what there was no room to say, the server would not say that it is gone. Asked for by name
                    // it does.
                    let said = &request.initial_resource_versions;
                    let unsaid = state
                        .held
                        .keys()
                        .filter(|name| !said.contains_key(&***name));
                    if state.wildcard {
                        state.subscribe.extend(unsaid.cloned());
                    }
                }
            } else {
                continue;
            }
            if !std::mem::replace(&mut self.node_sent, true) {
                request.node = Some(self.node.clone());
            }
            return Some(request);
        }
        None
    }

    /// Takes in a response. An error means that the stream should end.
    pub fn on_response(&mut self, response: DeltaDiscoveryResponse) -> Result<Update, Violation> {
        let names = response.resources.len() + response.removed_resources.len();
        if names > self.limits.names_per_request {
            return Err(Violation::NamesPerRequest(names));
        }
        let longest = response
            .resources
            .iter()
            .flat_map(|resource| [resource.name.len(), resource.version.len()])
            .chain(response.removed_resources.iter().map(String::len))
            .chain([response.nonce.len(), response.system_version_info.len()])
            .max()
            .unwrap_or(0);
        if longest > self.limits.name_bytes {
            return Err(Violation::NameBytes(longest));
        }
        let stream = self.stream;
        let known = self
            .types
            .iter()
            .find(|(url, _)| **url == *response.type_url);
        let (type_url, state) = known.ok_or(Violation::NoType)?;
        let wanted = |name: &str| state.wildcard || state.wanted.contains(name);
        let resources = response
            .resources
            .into_iter()
            .filter(|resource| wanted(&resource.name))
            .map(|resource| {
                let content = resource.resource.map(|any| any.value).unwrap_or_default();
                (
                    resource.name.into(),
                    resource.version.into(),
                    content.into(),
                )
            })
            .collect();
        Ok(Update {
            type_url: type_url.clone(),
            revision: response.system_version_info.into(),
            resources,
            removed: response
                .removed_resources
                .iter()
                .filter(|n| wanted(n))
                .map(|n| n.as_str().into())
                .collect(),
            nonce: response.nonce,
            stream,
        })
    }

    /// The update is in force.
    pub fn accept(&mut self, update: &Update) {
        self.hold(update, |_| true);
        let stream = self.stream;
        let state = self.entry(&update.type_url);
        state.nack = None;
        if update.stream == stream {
            state.answers.push_back((update.nonce.clone(), None));
        }
    }

    /// The update is not in force, except for the names in `kept`.
    pub fn refuse(&mut self, update: &Update, reason: &str, kept: &BTreeSet<Arc<str>>) {
        self.hold(update, |name| kept.contains(name));
        let stream = self.stream;
        let state = self.entry(&update.type_url);
        let mut end = reason.len().min(MAX_REASON);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        state.nack = Some(reason[..end].into());
        if update.stream == stream {
            state
                .answers
                .push_back((update.nonce.clone(), Some(reason[..end].to_owned())));
        }
    }

    fn hold(&mut self, update: &Update, kept: impl Fn(&str) -> bool) {
        let state = self.entry(&update.type_url);
        for (name, version, _) in &update.resources {
            // Unsubscribed meanwhile: nobody would tell when it changes.
            if kept(name) && (state.wildcard || state.wanted.contains(name)) {
                state.held.insert(name.clone(), version.clone());
                state.absent.remove(name);
            }
        }
        for name in &update.removed {
            if kept(name) {
                state.held.remove(name);
                if state.wanted.contains(name) {
                    state.absent.insert(name.clone());
                }
            }
        }
    }

    // === What can be seen ===

    /// Name to version of what is in force of a type.
    pub fn held(&self, type_url: &str) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.get(type_url).into_iter().flat_map(|state| &state.held)
    }

    /// All types and why the last update of each was refused, if it was.
    pub fn types(&self) -> impl Iterator<Item = (&Arc<str>, Option<&Arc<str>>)> {
        self.types
            .iter()
            .map(|(url, state)| (url, state.nack.as_ref()))
    }

    /// The server said that this wanted name does not exist.
    pub fn is_absent(&self, type_url: &str, name: &str) -> bool {
        self.get(type_url)
            .is_some_and(|state| state.absent.contains(name))
    }

    fn get(&self, type_url: &str) -> Option<&Type> {
        self.types
            .iter()
            .find(|(url, _)| **url == *type_url)
            .map(|(_, state)| state)
    }

    fn entry(&mut self, type_url: &str) -> &mut Type {
        let ix = self
            .types
            .iter()
            .position(|(url, _)| **url == *type_url)
            .unwrap_or_else(|| {
                self.types.push((type_url.into(), Type::default()));
                self.types.len() - 1
            });
        &mut self.types[ix].1
    }
}
