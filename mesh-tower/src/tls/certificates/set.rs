//! The certificates in force, found by name.

use std::collections::HashMap;
use std::sync::Arc;

use super::pair::Served;

/// The pair that is shown to clients that ask for no name.
const DEFAULT: &str = "default";

/// What handshakes look at; replaced as a whole.
#[derive(Debug, Default)]
pub(super) struct Set {
    exact: HashMap<Box<str>, Arc<Served>>,
    /// By what follows `*.`.
    wildcards: HashMap<Box<str>, Arc<Served>>,
    default: Option<Arc<Served>>,
    len: usize,
}

/// The certificate for a name.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) served: Arc<Served>,
    /// Found by the very name, not by a wildcard.
    pub(crate) exact: bool,
}

// === impl Set ===

impl Set {
    /// From pairs with the names of their files.
    pub(super) fn new<'a>(pairs: impl Iterator<Item = (&'a str, &'a Arc<Served>)>) -> Self {
        let mut set = Self::default();
        for (name, served) in pairs {
            set.len += 1;
            if name == DEFAULT {
                set.default = Some(served.clone());
            }
            for name in &served.names().exact {
                keep_longest(&mut set.exact, name, served);
            }
            for name in &served.names().wildcards {
                keep_longest(&mut set.wildcards, name, served);
            }
        }
        set
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn find(&self, name: Option<&str>) -> Option<Found> {
        let found = |served: &Arc<Served>, exact| Found {
            served: served.clone(),
            exact,
        };
        let Some(name) = name else {
            return self.default.as_ref().map(|served| found(served, false));
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if let Some(served) = self.exact.get(name.as_str()) {
            return Some(found(served, true));
        }
        let (label, rest) = name.split_once('.')?;
        let served = self.wildcards.get(rest).filter(|_| !label.is_empty())?;
        Some(found(served, false))
    }
}

fn keep_longest(map: &mut HashMap<Box<str>, Arc<Served>>, name: &str, served: &Arc<Served>) {
    let known = map.entry(name.into()).or_insert_with(|| served.clone());
    if known.not_after() < served.not_after() {
        *known = served.clone();
    }
}
