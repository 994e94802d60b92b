//! Exceptions from mutual TLS that end.

use mesh_grpc::pb::control as pb;

use super::finding::warning;
use super::{Excepted, Observed, some_of};
use crate::cli::table::span;

/// An exception that ends within this time is told about, in seconds: a week to move a caller.
const SOON: i64 = 7 * 24 * 3600;

/// Those that end soon cut their callers off then; those that have ended already have.
pub(super) fn ending(seen: &Observed, found: &mut Vec<pb::Finding>) {
    for each in &seen.exceptions {
        let left = each.expires.saturating_sub(seen.now_unix);
        if left >= SOON {
            continue;
        }
        let ends = span(left.unsigned_abs());
        let text = match left > 0 {
            true => format!(
                "the exception {} ends in {ends}: {}",
                what(each),
                users(each)
            ),
            false => format!(
                "the exception {} ended {ends} ago: {}",
                what(each),
                users(each)
            ),
        };
        let next = match each.users.is_empty() {
            true => "take the exception out of the policy; meshctl policy apply FILE",
            false => "start them in the mesh, or set a later date; meshctl explain M5013",
        };
        found.push(warning("M5013", &each.policy, text, next));
    }
}

/// `for 10.1.0.0/16 on port 8080 (nightly batch)`.
fn what(each: &Excepted) -> String {
    let mut text = match &each.source {
        Some(source) => format!("for {source}"),
        None => "for everyone".to_owned(),
    };
    if let Some(port) = each.port {
        text.push_str(&format!(" on port {port}"));
    }
    if let Some(reason) = &each.reason {
        text.push_str(&format!(" ({reason})"));
    }
    text
}

fn users(each: &Excepted) -> String {
    if each.users.is_empty() {
        return "nobody has used it in the last hour".to_owned();
    }
    format!("used by {}", some_of(&each.users, ToString::to_string))
}
