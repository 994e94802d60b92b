//! One finding.

use std::time::Duration;

use mesh_grpc::pb::control as pb;

use crate::cli::table::span;

pub(super) fn ok(subject: &str, message: String) -> pb::Finding {
    finding(pb::Severity::Ok, "", subject, message, "")
}

pub(super) fn warning(code: &str, subject: &str, message: String, next: &str) -> pb::Finding {
    finding(pb::Severity::Warning, code, subject, message, next)
}

pub(super) fn error(code: &str, subject: &str, message: String, next: &str) -> pb::Finding {
    finding(pb::Severity::Error, code, subject, message, next)
}

fn finding(
    severity: pb::Severity,
    code: &str,
    subject: &str,
    message: String,
    next: &str,
) -> pb::Finding {
    pb::Finding {
        code: code.to_owned(),
        subject: subject.to_owned(),
        message,
        next: next.to_owned(),
        severity: severity.into(),
    }
}

pub(super) fn seconds(time: Duration) -> String {
    span(time.as_secs())
}

/// `shop/reviews` as it is typed: `reviews.shop`.
pub(super) fn host(service: &str) -> String {
    match service.split_once('/') {
        Some((namespace, name)) => format!("{name}.{namespace}"),
        None => service.to_owned(),
    }
}
