//! What a rule refers to by `ExtensionRef`: faults, answers, sticky splits, edits of trailers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, StatusCode};

use super::filters;
use super::findings::Findings;
use super::hash;
use super::index::Index;
use super::ranges::Ranges;
use super::transport::instant;
use crate::error::Code;
use crate::policy::defaults;
use crate::policy::model::{
    AbortStatus, DirectResponse, Fault, HashOn, HeaderEdit, WHOLE_PERCENT_MILLI,
};
use crate::policy::spec::{
    Abort, DirectResponseSpec, ExtensionRef, FaultSpec, HeaderFilter, Kind, Ratio, Resource,
    ResourceId,
};
use crate::policy::text::closest;

/// The group of our own kinds.
const GROUP: &str = "policy.mesh";

/// The kinds that a rule can refer to.
const KINDS: [Kind; 4] = [
    Kind::Fault,
    Kind::DirectResponse,
    Kind::StickySplit,
    Kind::TrailerEdit,
];

/// Longest delay of a fault.
const DELAY: Duration = Duration::from_secs(3600);

/// One of them, compiled.
#[derive(Clone)]
pub(super) enum Extension {
    Fault(Arc<Fault>),
    Direct(Arc<DirectResponse>),
    Sticky(Arc<[HashOn]>),
    Trailers(Arc<HeaderEdit>),
}

/// All of them, whether a rule refers to them or not.
pub(super) struct Extensions(BTreeMap<ResourceId, Extension>);

pub(super) fn compile(index: &Index<'_>, findings: &mut Findings) -> Extensions {
    let mut out = BTreeMap::new();
    for (id, resource) in &index.resources {
        let resource: &Resource = resource;
        let mut ranges = Ranges { resource, findings };
        let extension = match resource {
            Resource::Fault(fault) => {
                Extension::Fault(Arc::new(self::fault(&mut ranges, &fault.spec)))
            }
            Resource::DirectResponse(direct) => {
                Extension::Direct(Arc::new(self::direct(&mut ranges, &direct.spec)))
            }
            Resource::StickySplit(sticky) => {
                hash::check(&mut ranges, "hashOn", &sticky.spec.hash_on);
                if sticky.spec.hash_on.is_empty() {
                    let why = "field `hashOn` is missing: a hash of what?";
                    let finding = ranges.note("hashOn", Code::POLICY_MISSING_FIELD, why);
                    finding.help("such as hashOn: [{ header: x-user }]");
                }
                Extension::Sticky(hash::compile(&sticky.spec.hash_on))
            }
            Resource::TrailerEdit(edit) => {
                let edit = HeaderFilter {
                    set: edit.spec.set.clone(),
                    add: edit.spec.add.clone(),
                    remove: edit.spec.remove.clone(),
                };
                let edit = filters::headers(resource, "spec", &edit, findings);
                if edit == HeaderEdit::default() {
                    let message = "the edit changes nothing";
                    findings.warning(resource, "spec", Code::POLICY_UNUSED, message);
                }
                Extension::Trailers(Arc::new(edit))
            }
            _ => continue,
        };
        out.insert(id.clone(), extension);
    }
    Extensions(out)
}

impl Extensions {
    /// What a filter of `resource` refers to.
    pub(super) fn get(
        &self,
        resource: &Resource,
        at: &str,
        to: &ExtensionRef,
        index: &Index<'_>,
        findings: &mut Findings,
    ) -> Option<Extension> {
        let kind = KINDS.into_iter().find(|kind| kind.as_str() == to.kind);
        let (Some(kind), GROUP) = (kind, to.group.as_str()) else {
            let message = format!(
                "no extension `{}` of group `{}` is known",
                to.kind, to.group
            );
            let kinds = KINDS.map(Kind::as_str);
            let hint = match closest(&to.kind, kinds) {
                Some(near) if near != to.kind => format!("did you mean `{near}`?"),
                _ => format!("known of group {GROUP}: {}", kinds.join(", ")),
            };
            findings
                .error(
                    resource,
                    format!("{at}.kind"),
                    Code::POLICY_REFERENCE,
                    message,
                )
                .hint(hint);
            return None;
        };
        let id = ResourceId {
            kind,
            namespace: resource.metadata().namespace.clone(),
            name: to.name.clone(),
        };
        let found = self.0.get(&id);
        if found.is_none() && !index.options.is_partial() && !index.options.broken().contains(&id) {
            let known = self.0.keys();
            let known = known.filter(|r| r.kind == kind && r.namespace == id.namespace);
            let hint = closest(&id.name, known.map(|r| r.name.as_str()));
            findings
                .error(
                    resource,
                    format!("{at}.name"),
                    Code::POLICY_REFERENCE,
                    format!("{id} is not defined"),
                )
                .maybe_hint(hint.map(|near| format!("did you mean `{near}`?")));
        }
        found.cloned()
    }
}

fn fault(ranges: &mut Ranges<'_, '_>, s: &FaultSpec) -> Fault {
    let id = ranges.resource.id();
    let mut out = Fault::new(format!("{}/{}", id.namespace, id.name));
    let whole = Ratio::from_milli(WHOLE_PERCENT_MILLI);
    if let Some(delay) = &s.delay {
        let range = Duration::from_millis(1)..=DELAY;
        ranges.duration("delay.duration", Some(delay.duration), range);
        ranges.ratio("delay.percent", delay.percent, 0..=WHOLE_PERCENT_MILLI);
        let percent = delay.percent.unwrap_or(whole).milli();
        out = out.with_delay(delay.duration.get(), percent);
    }
    if let Some(abort) = &s.abort {
        ranges.ratio("abort.percent", abort.percent, 0..=WHOLE_PERCENT_MILLI);
        let percent = abort.percent.unwrap_or(whole).milli();
        if let Some(status) = self::abort(ranges, abort) {
            out = out.with_abort(status, percent);
        }
    }
    if s.delay.is_none() && s.abort.is_none() {
        let why = "neither `delay` nor `abort` is given: which fault?";
        let finding = ranges.note("delay", Code::POLICY_MISSING_FIELD, why);
        finding.help("such as delay: { duration: 2s, percent: 10 } or abort: { status: 503 }");
    }
    if let Some(header) = &s.header {
        hash::header(ranges, "header.name", &header.name);
        let value = header.value.as_deref().map(HeaderValue::from_str);
        if matches!(value, Some(Err(_))) {
            ranges.note(
                "header.value",
                Code::POLICY_NAME,
                "this is no value of a header",
            );
        }
        if let Ok(name) = header.name.parse() {
            out = out.with_header(name, value.and_then(Result::ok));
        }
    }
    ranges.at_least_one("maxActive", s.max_active);
    if let Some(max) = s.max_active {
        out = out.with_max_active(max);
    }
    match &s.expires {
        None => {
            let why = "the fault has no end";
            let finding = ranges.warn("expires", Code::POLICY_ENDLESS, why);
            finding.help("say when it is over, such as expires: 2026-12-31T18:00:00Z");
        }
        Some(text) => {
            let end = instant(text);
            if end.is_none() {
                let finding = ranges.refuse("expires", format!("`{text}` is no date"));
                finding.help("such as 2026-12-31 or 2026-12-31T18:00:00Z");
            }
            out = out.with_expires(end);
        }
    }
    out.with_seed(s.seed.map(Into::into))
}

fn abort(ranges: &mut Ranges<'_, '_>, s: &Abort) -> Option<AbortStatus> {
    match (s.status, s.grpc) {
        (Some(status), None) => status_of(ranges, "abort.status", status).map(AbortStatus::Http),
        (None, Some(code)) => Some(AbortStatus::Grpc(code.number())),
        (None, None) => {
            let why = "neither `status` nor `grpc` is given: which error?";
            let finding = ranges.note("abort", Code::POLICY_MISSING_FIELD, why);
            finding.help("such as status: 503 or grpc: UNAVAILABLE");
            None
        }
        (Some(_), Some(_)) => {
            let why = "an error is either an HTTP status or a gRPC code";
            ranges.refuse("abort", why);
            None
        }
    }
}

fn status_of(ranges: &mut Ranges<'_, '_>, at: &str, status: u16) -> Option<StatusCode> {
    ranges.number(at, Some(status.into()), 200..=599);
    StatusCode::from_u16(status).ok()
}

fn direct(ranges: &mut Ranges<'_, '_>, s: &DirectResponseSpec) -> DirectResponse {
    let status = status_of(ranges, "status", s.status).unwrap_or(StatusCode::OK);
    let body = s.body.as_deref().unwrap_or_default();
    if body.len() > defaults::DIRECT_RESPONSE_BODY {
        let why = format!(
            "a body of {} bytes; at most {}",
            body.len(),
            defaults::DIRECT_RESPONSE_BODY
        );
        ranges.refuse("body", why);
    }
    if matches!(s.status, 204 | 205 | 304) && !body.is_empty() {
        ranges.refuse(
            "body",
            format!("an answer with status {} has no body", s.status),
        );
    }
    if body.is_empty() && s.content_type.is_some() {
        let why = "`contentType` has no effect without `body`";
        ranges.warn("contentType", Code::POLICY_UNUSED, why);
    }
    let usual = (!body.is_empty()).then(|| HeaderValue::from_static("text/plain; charset=utf-8"));
    let kind = match s.content_type.as_deref().map(HeaderValue::from_str) {
        Some(Err(_)) => {
            ranges.note(
                "contentType",
                Code::POLICY_NAME,
                "this is no value of a header",
            );
            usual
        }
        Some(Ok(kind)) => Some(kind),
        None => usual,
    };
    DirectResponse::new(status).with_body(body, kind)
}
