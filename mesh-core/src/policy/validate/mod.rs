//! From what is written to what is in force: the only code with opinions.
//!
//! [`validate`] takes all resources at once, because most mistakes lie between two of them, and
//! reports every problem with its code, field path and place. What an earlier snapshot already
//! holds in the same form is taken from there, so an update of one service leaves the `Arc`s of
//! all others as they are.
//!
//! | module | decides |
//! | --- | --- |
//! | `index` | which resources there are, and that names are unique |
//! | `attach` | which policy holds for what: mesh < namespace < service < subset < route, per top-level field |
//! | `services` | ports, endpoints, subsets |
//! | `tunables` | the values of BackendPolicies |
//! | `backends` | the list of backends |
//! | `routes`, `matches`, `filters`, `attempts` | rules of routes |
//! | `overlap` | rules that can never serve, routes that contend for one parent |
//! | `extensions`, `session` | what rules refer to |
//! | `access`, `transport`, `traffic` | who may call, how, and how much |
//! | `build` | the snapshot, with the parts of the one before |

mod access;
mod attach;
mod attempts;
mod backends;
mod build;
mod extensions;
mod filters;
mod findings;
mod hash;
mod index;
mod matches;
mod options;
mod overlap;
mod ranges;
mod references;
mod revision;
mod routes;
mod rules;
mod services;
mod session;
mod traffic;
mod transport;
mod tunables;

pub use options::Options;
pub use revision::{resource_revision, revision};

use std::sync::Arc;

use super::error::{PolicyError, PolicyErrors};
use super::model::Snapshot;
use super::spec::Resource;
use super::text::limits;
use crate::error::Code;
use findings::Findings;

/// Checks `resources` as a whole and builds the snapshot they mean.
///
/// `previous` lends its parts; it has no influence on the result otherwise. Besides the snapshot
/// come the warnings; an error comes with the warnings as well, each marked by its severity.
pub fn validate(
    resources: &[Arc<Resource>],
    options: &Options,
    previous: Option<&Snapshot>,
) -> Result<(Snapshot, Vec<PolicyError>), PolicyErrors> {
    if resources.len() > limits::RESOURCES {
        let message = format!(
            "{} resources; at most {} are accepted",
            resources.len(),
            limits::RESOURCES
        );
        return Err(PolicyError::new(Code::POLICY_TOO_LARGE, message).into());
    }
    let mut findings = Findings::default();
    let index = index::Index::new(resources, options, &mut findings);
    let attached = attach::Attachments::new(&index, &mut findings);
    let built = build::build(&index, &attached, previous, &mut findings);
    let problems = findings.into_problems();
    if problems.iter().any(PolicyError::is_error) {
        return Err(PolicyErrors(problems));
    }
    let snapshot = Snapshot {
        version: previous.map_or(0, |p| p.version) + 1,
        revision: revision(resources),
        outbound: Arc::new(built.outbound),
        inbound: Arc::new(built.inbound),
        warnings: problems.clone().into(),
    };
    Ok((snapshot, problems))
}
