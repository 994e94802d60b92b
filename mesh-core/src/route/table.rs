use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use http::{HeaderMap, Method, Uri, request};

use super::matcher::{accepts_rest, host};
use crate::policy::model::{Hostname, PathMatch, Pattern, Route, RouteMatch};

/// The compiled routes of a service.
#[derive(Clone, Default)]
pub struct RouteTable {
    routes: Arc<[Arc<Route>]>,
    /// Most specific host first; the last group is for any host.
    groups: Vec<Group>,
}

/// One condition of the table, at its place in the order in which [`RouteTable::find`] tries them.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The host that the request must have; `None` is any.
    pub host: Option<&'a Hostname>,
    /// What the request must be like.
    pub condition: &'a RouteMatch,
    /// The route that serves it then.
    pub route: &'a Arc<Route>,
}

/// What [`RouteTable::find_match`] found.
#[derive(Clone, Copy, Debug)]
pub struct Matched<'a> {
    /// The route.
    pub route: &'a Arc<Route>,
    /// Which of its conditions held.
    pub condition: &'a RouteMatch,
}

/// The matches for one host, by kind of path.
#[derive(Clone)]
struct Group {
    host: Option<Hostname>,
    exact: HashMap<Arc<str>, Vec<Entry>>,
    prefixes: HashMap<Arc<str>, Vec<Entry>>,
    /// Length of the longest prefix: no need to look further into a path.
    longest_prefix: usize,
    patterns: Vec<(Pattern, Entry)>,
    rest: Vec<Entry>,
}

/// One match of one route; in a list, the first that accepts wins.
#[derive(Clone)]
struct Entry {
    route: usize,
    condition: RouteMatch,
}

// === impl RouteTable ===

impl RouteTable {
    /// Compiles routes. Their order decides between matches that are otherwise equal.
    pub fn new(routes: impl IntoIterator<Item = Arc<Route>>) -> Self {
        let routes: Arc<[Arc<Route>]> = routes.into_iter().collect();
        let mut groups: Vec<Group> = Vec::new();
        for (at, route) in routes.iter().enumerate() {
            let hosts = route.hostnames().iter().map(|host| Some(host.clone()));
            let any = route.hostnames().is_empty().then_some(None);
            for host in hosts.chain(any) {
                let group = match groups.iter().position(|g| g.host == host) {
                    Some(found) => found,
                    None => {
                        groups.push(Group::new(host));
                        groups.len() - 1
                    }
                };
                for condition in route.matches() {
                    groups[group].insert(Entry {
                        route: at,
                        condition: condition.clone(),
                    });
                }
            }
        }
        groups.iter_mut().for_each(Group::sort);
        groups.sort_by_key(|group| match &group.host {
            Some(Hostname::Exact(_)) => (0, Reverse(0)),
            Some(Hostname::Suffix(text)) => (1, Reverse(text.len())),
            None => (2, Reverse(0)),
        });
        Self { routes, groups }
    }

    /// The route of a request; `None` when nothing matches.
    pub fn find(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<&Arc<Route>> {
        self.find_match(method, uri, headers)
            .map(|found| found.route)
    }

    /// The route of a request, and the condition of it that held.
    pub fn find_match(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<Matched<'_>> {
        // Most tables have no host conditions: then the host is not even looked for.
        let needs_host = self.groups.iter().any(|group| group.host.is_some());
        let host = if needs_host { host(uri, headers) } else { "" };
        self.groups
            .iter()
            .filter(|group| group.host.as_ref().is_none_or(|h| h.is_match(host)))
            .find_map(|group| group.find(method, uri, headers))
            .and_then(|entry| {
                Some(Matched {
                    route: self.routes.get(entry.route)?,
                    condition: &entry.condition,
                })
            })
    }

    /// [`RouteTable::find`] for the head of a request.
    pub fn find_parts(&self, parts: &request::Parts) -> Option<&Arc<Route>> {
        self.find(&parts.method, &parts.uri, &parts.headers)
    }

    /// Every condition in the order in which they are tried; the first that holds serves. For
    /// people: [`RouteTable::find`] looks most of them up by hash.
    pub fn steps(&self) -> impl Iterator<Item = Step<'_>> {
        self.groups.iter().flat_map(move |group| {
            let steps = group.in_order().into_iter();
            steps.filter_map(move |entry| {
                Some(Step {
                    host: group.host.as_ref(),
                    condition: &entry.condition,
                    route: self.routes.get(entry.route)?,
                })
            })
        })
    }

    /// The routes, in the order of the policy.
    pub fn routes(&self) -> &[Arc<Route>] {
        &self.routes
    }
}

impl fmt::Debug for RouteTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.routes.iter().map(|route| route.name()))
            .finish()
    }
}

// === impl Matched ===

impl<'a> Matched<'a> {
    /// The prefix that matched, for [`PathEdit::Prefix`](crate::policy::model::PathEdit::Prefix):
    /// that of the condition that held, not of another one of the same rule.
    pub fn prefix(&self) -> &'a str {
        match self.condition.path() {
            Some(PathMatch::Prefix(text)) => text,
            _ => "",
        }
    }
}

// === impl Group ===

impl Group {
    fn new(host: Option<Hostname>) -> Self {
        Self {
            host,
            exact: HashMap::new(),
            prefixes: HashMap::new(),
            longest_prefix: 0,
            patterns: Vec::new(),
            rest: Vec::new(),
        }
    }

    fn insert(&mut self, entry: Entry) {
        match entry.condition.path() {
            Some(PathMatch::Exact(text)) => {
                let text = Arc::clone(text);
                self.exact.entry(text).or_default().push(entry);
            }
            Some(PathMatch::Prefix(text)) if !text.is_empty() => {
                let text = Arc::clone(text);
                self.longest_prefix = self.longest_prefix.max(text.len());
                self.prefixes.entry(text).or_default().push(entry);
            }
            Some(PathMatch::Regex(pattern)) => self.patterns.push((pattern.clone(), entry)),
            Some(PathMatch::Prefix(_)) | None => self.rest.push(entry),
        }
    }

    /// Brings each list into the order of precedence.
    fn sort(&mut self) {
        let lists = self.exact.values_mut().chain(self.prefixes.values_mut());
        for list in lists.chain([&mut self.rest]) {
            list.sort_by_key(Entry::rank);
        }
        self.patterns
            .sort_by_key(|(pattern, entry)| (Reverse(pattern.as_str().len()), entry.rank()));
    }

    /// The order of [`find`](Self::find). Two paths of one kind and length exclude each other, so
    /// any order of these will do; it is that of the alphabet.
    fn in_order(&self) -> Vec<&Entry> {
        let by_path = |map| {
            let map: &HashMap<Arc<str>, Vec<Entry>> = map;
            let mut lists: Vec<_> = map.iter().collect();
            lists.sort_by_key(|(path, _)| (Reverse(path.len()), Arc::clone(path)));
            lists.into_iter().flat_map(|(_, list)| list)
        };
        let hashed = by_path(&self.exact).chain(by_path(&self.prefixes));
        let patterns = self.patterns.iter().map(|(_, entry)| entry);
        hashed.chain(patterns).chain(&self.rest).collect()
    }

    fn find(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<&Entry> {
        let path = uri.path();
        let by_hash = self.exact.get(path).into_iter().chain(
            segment_ends(path, self.longest_prefix)
                .filter_map(|end| self.prefixes.get(path.get(..end)?)),
        );
        let accepts = |entry: &&Entry| accepts_rest(&entry.condition, method, uri, headers);
        by_hash
            .filter_map(|list| list.iter().find(accepts))
            .next()
            .or_else(|| {
                let found = self
                    .patterns
                    .iter()
                    .find(|(pattern, entry)| accepts(&entry) && pattern.is_match(path));
                found.map(|(_, entry)| entry)
            })
            .or_else(|| self.rest.iter().find(accepts))
    }
}

/// Where the segments of `path` end, the last first, up to `longest`.
fn segment_ends(path: &str, longest: usize) -> impl Iterator<Item = usize> + '_ {
    let bytes = path.as_bytes();
    let whole = (path.len() <= longest).then_some(path.len());
    let inner = (1..path.len().min(longest + 1))
        .rev()
        .filter(move |at| bytes.get(*at) == Some(&b'/'));
    whole.into_iter().chain(inner)
}

// === impl Entry ===

impl Entry {
    /// Sorts what precedes first.
    fn rank(&self) -> (bool, Reverse<usize>, Reverse<usize>, usize) {
        (
            self.condition.method().is_none(),
            Reverse(self.condition.headers().len()),
            Reverse(self.condition.query().len()),
            self.route,
        )
    }
}
