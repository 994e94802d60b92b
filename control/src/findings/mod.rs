//! What `meshctl check` says: each finding names the fault, its code and the next step.
//!
//! A pure function of what was observed ([`Observed`]), so that each rule is a test.
//!
//! | module | tells about |
//! | --- | --- |
//! | `state` | the policy, clients that are behind or refuse, instances that are gone |
//! | `certificates` | those that end or are refused |
//! | `traffic` | denied calls, and edges that lose calls |
//! | `routing` | splits that calls come past, callers that are not in the mesh |
//! | `exceptions` | exceptions from mutual TLS that end |
//! | `endpoints` | those that stand out from their peers |

mod certificates;
mod endpoints;
mod exceptions;
mod finding;
mod observed;
mod routing;
mod state;
mod traffic;

#[cfg(test)]
mod tests;

pub(crate) use observed::{Client, Excepted, Gone, Observed, Share, Split};

use mesh_grpc::pb::control as pb;

/// Fewest calls for which a share means something.
const FEW_CALLS: u64 = 10;

/// Names that a finding lists; of the others it gives the number.
const NAMED: usize = 8;

/// `a, b, 3 more`.
fn some_of<T>(all: &[T], name: impl Fn(&T) -> String) -> String {
    let mut listed: Vec<_> = all.iter().take(NAMED).map(name).collect();
    if all.len() > NAMED {
        listed.push(format!("{} more", all.len() - NAMED));
    }
    listed.join(", ")
}

/// All findings, worst first; what is well comes last.
pub(crate) fn findings(seen: &Observed) -> Vec<pb::Finding> {
    let mut found = Vec::new();
    state::policy(seen, &mut found);
    state::clients(seen, &mut found);
    state::registry(seen, &mut found);
    certificates::ending(seen, &mut found);
    let faulty = certificates::refused(seen, &mut found);
    traffic::denied(seen, &mut found);
    routing::splits(seen, &mut found);
    routing::strangers(seen, &mut found);
    exceptions::ending(seen, &mut found);
    endpoints::outliers(seen, &faulty, &mut found);
    traffic::failing(seen, &mut found);
    found.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    found
}
