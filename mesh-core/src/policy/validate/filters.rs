//! Changes on the way of a call.

use std::sync::Arc;

use http::{HeaderValue, StatusCode};

use super::backends::Backends;
use super::extensions::Extension;
use super::findings::Findings;
use super::matches::{check_path, header_name};
use super::references::RuleCx;
use super::services::host;
use crate::error::Code;
use crate::policy::defaults;
use crate::policy::model::{
    DirectResponse, Fault, Filter, HashOn, HeaderEdit, Mirror, PathEdit, PathMatch, Redirect,
    Rewrite, RouteMatch, WHOLE_PERCENT_MILLI,
};
use crate::policy::spec::{
    self, ExtensionRef, FilterType, HeaderFilter, MirrorFilter, PathModifier, PathModifierType,
    RedirectFilter, Resource, RewriteFilter,
};

/// What filters do.
#[derive(Default)]
pub(super) struct Compiled {
    pub(super) filters: Vec<Filter>,
    pub(super) mirrors: Vec<Mirror>,
    pub(super) direct: Option<Arc<DirectResponse>>,
    pub(super) fault: Option<Arc<Fault>>,
    pub(super) sticky: Option<Arc<[HashOn]>>,
    pub(super) trailers: Option<Arc<HeaderEdit>>,
}

/// Compiles filters of a rule, or of one of its targets. `matches` are those of the rule, for the
/// replacement of a prefix.
pub(super) fn compile(
    cx: &RuleCx<'_>,
    at: &str,
    filters: &[spec::Filter],
    matches: &[RouteMatch],
    of_target: bool,
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Compiled {
    let resource = cx.resource;
    let mut compiled = Compiled::default();
    for (n, filter) in filters.iter().enumerate() {
        let out = &mut compiled.filters;
        let at = format!("{at}.filters[{n}]");
        settings(resource, &at, filter, findings);
        if filters[..n].iter().any(|f| f.kind == filter.kind)
            && filter.kind != FilterType::RequestMirror
            && filter.kind != FilterType::ExtensionRef
        {
            let message = format!("{} is given twice in one rule", filter.kind);
            findings.error(
                resource,
                format!("{at}.type"),
                Code::POLICY_DUPLICATE_NAME,
                message,
            );
        }
        match filter.kind {
            FilterType::RequestHeaderModifier => {
                let at = format!("{at}.requestHeaderModifier");
                let edit = filter.request_header_modifier.as_ref();
                let edit = edit.map(|e| headers(resource, &at, e, findings));
                out.extend(edit.map(Filter::RequestHeaders));
            }
            FilterType::ResponseHeaderModifier => {
                let at = format!("{at}.responseHeaderModifier");
                let edit = filter.response_header_modifier.as_ref();
                let edit = edit.map(|e| headers(resource, &at, e, findings));
                out.extend(edit.map(Filter::ResponseHeaders));
            }
            FilterType::RequestRedirect => {
                let at = format!("{at}.requestRedirect");
                let redirect = filter.request_redirect.as_ref();
                let redirect =
                    redirect.map(|r| self::redirect(resource, &at, r, matches, findings));
                out.extend(redirect.map(Filter::Redirect));
            }
            FilterType::UrlRewrite => {
                let at = format!("{at}.urlRewrite");
                let rewrite = filter.url_rewrite.as_ref();
                let rewrite = rewrite.map(|r| self::rewrite(resource, &at, r, matches, findings));
                out.extend(rewrite.map(Filter::Rewrite));
            }
            FilterType::RequestMirror => {
                let at = format!("{at}.requestMirror");
                let mirror = filter.request_mirror.as_ref();
                let mirror = mirror.and_then(|m| self::mirror(cx, &at, m, backends, findings));
                compiled.mirrors.extend(mirror);
            }
            FilterType::ExtensionRef => {
                if let Some(to) = &filter.extension_ref {
                    let at = format!("{at}.extensionRef");
                    extension(cx, &at, to, of_target, &mut compiled, findings);
                }
            }
        }
    }
    let has = |kind| filters.iter().any(|f| f.kind == kind);
    if has(FilterType::RequestRedirect) && has(FilterType::UrlRewrite) {
        let message = "RequestRedirect and URLRewrite cannot stand in one rule";
        findings.error(
            resource,
            format!("{at}.filters"),
            Code::POLICY_RANGE,
            message,
        );
    }
    compiled
}

fn extension(
    cx: &RuleCx<'_>,
    at: &str,
    to: &ExtensionRef,
    of_target: bool,
    compiled: &mut Compiled,
    findings: &mut Findings,
) {
    let found = cx.extensions.get(cx.resource, at, to, cx.index, findings);
    let Some(found) = found else { return };
    if of_target {
        let message = format!("{} is for a rule, not for one of its targets", to.kind);
        findings
            .error(cx.resource, at, Code::POLICY_RANGE, message)
            .help("move it to the `filters` of the rule");
        return;
    }
    let twice = match found {
        Extension::Fault(fault) => compiled.fault.replace(fault).is_some(),
        Extension::Direct(direct) => compiled.direct.replace(direct).is_some(),
        Extension::Sticky(sticky) => compiled.sticky.replace(sticky).is_some(),
        Extension::Trailers(edit) => compiled.trailers.replace(edit).is_some(),
    };
    if twice {
        let message = format!("{} is given twice in one rule", to.kind);
        let at = format!("{at}.kind");
        findings.error(cx.resource, at, Code::POLICY_DUPLICATE_NAME, message);
    }
}

/// Each type has its settings under its own name, and no others.
fn settings(resource: &Resource, at: &str, filter: &spec::Filter, findings: &mut Findings) {
    for (kind, name, given) in [
        (
            FilterType::RequestHeaderModifier,
            "requestHeaderModifier",
            filter.request_header_modifier.is_some(),
        ),
        (
            FilterType::ResponseHeaderModifier,
            "responseHeaderModifier",
            filter.response_header_modifier.is_some(),
        ),
        (
            FilterType::RequestRedirect,
            "requestRedirect",
            filter.request_redirect.is_some(),
        ),
        (
            FilterType::UrlRewrite,
            "urlRewrite",
            filter.url_rewrite.is_some(),
        ),
        (
            FilterType::RequestMirror,
            "requestMirror",
            filter.request_mirror.is_some(),
        ),
        (
            FilterType::ExtensionRef,
            "extensionRef",
            filter.extension_ref.is_some(),
        ),
    ] {
        if (kind == filter.kind) == given {
            continue;
        }
        let (code, message) = if given {
            let message = format!("`{name}` is not for the type {}", filter.kind);
            (Code::POLICY_RANGE, message)
        } else {
            let message = format!("field `{name}` is missing");
            (Code::POLICY_MISSING_FIELD, message)
        };
        findings.error(resource, format!("{at}.{name}"), code, message);
    }
}

pub(super) fn headers(
    resource: &Resource,
    at: &str,
    filter: &HeaderFilter,
    findings: &mut Findings,
) -> HeaderEdit {
    let mut list = |field: &str, values: &[spec::HeaderValue]| {
        let mut out = Vec::new();
        for (n, header) in values.iter().enumerate() {
            let at = format!("{at}.{field}[{n}]");
            let name = header_name(resource, &format!("{at}.name"), &header.name, findings);
            let Ok(value) = HeaderValue::from_str(&header.value) else {
                let message = format!("`{}` cannot be the value of a header", header.value);
                findings.error(resource, format!("{at}.value"), Code::POLICY_RANGE, message);
                continue;
            };
            out.extend(name.map(|name| (name, value)));
        }
        out
    };
    let (set, add) = (list("set", &filter.set), list("add", &filter.add));
    let remove = filter.remove.iter().enumerate();
    let edit = HeaderEdit {
        set,
        add,
        remove: remove
            .filter_map(|(n, name)| {
                header_name(resource, &format!("{at}.remove[{n}]"), name, findings)
            })
            .collect(),
    };
    // Gateway API: only one action for a given header is permitted.
    let named = edit.set.iter().chain(&edit.add).map(|(name, _)| name);
    let mut seen = std::collections::HashSet::new();
    for name in named.chain(&edit.remove) {
        if !seen.insert(name) {
            let message = format!("`{name}` is edited twice by one filter");
            findings
                .error(resource, at, Code::POLICY_DUPLICATE_NAME, message)
                .help("several values of one header are one value with commas");
        }
    }
    edit
}

fn redirect(
    resource: &Resource,
    at: &str,
    filter: &RedirectFilter,
    matches: &[RouteMatch],
    findings: &mut Findings,
) -> Redirect {
    if let Some(scheme) = filter.scheme.as_deref()
        && !matches!(scheme, "http" | "https")
    {
        let message = format!("`{scheme}` is neither http nor https");
        findings.error(
            resource,
            format!("{at}.scheme"),
            Code::POLICY_RANGE,
            message,
        );
    }
    if let Some(name) = &filter.hostname {
        host(resource, &format!("{at}.hostname"), name, findings);
    }
    let code = filter.status_code.unwrap_or(defaults::REDIRECT_STATUS);
    if !matches!(code, 301 | 302 | 303 | 307 | 308) {
        let message = format!("{code} is no redirect; use 301, 302, 303, 307 or 308");
        findings.error(
            resource,
            format!("{at}.statusCode"),
            Code::POLICY_RANGE,
            message,
        );
    }
    let path = filter.path.as_ref();
    Redirect {
        scheme: filter.scheme.as_deref().map(Into::into),
        host: filter.hostname.as_deref().map(Into::into),
        path: path.and_then(|p| path_edit(resource, at, p, matches, findings)),
        port: filter.port,
        status: StatusCode::from_u16(code).unwrap_or(StatusCode::FOUND),
    }
}

fn rewrite(
    resource: &Resource,
    at: &str,
    filter: &RewriteFilter,
    matches: &[RouteMatch],
    findings: &mut Findings,
) -> Rewrite {
    if let Some(name) = &filter.hostname {
        host(resource, &format!("{at}.hostname"), name, findings);
    }
    let path = filter.path.as_ref();
    Rewrite {
        host: filter.hostname.as_deref().map(Into::into),
        path: path.and_then(|p| path_edit(resource, at, p, matches, findings)),
    }
}

fn path_edit(
    resource: &Resource,
    at: &str,
    path: &PathModifier,
    matches: &[RouteMatch],
    findings: &mut Findings,
) -> Option<PathEdit> {
    let at = format!("{at}.path");
    let (field, value) = match path.kind {
        PathModifierType::ReplaceFullPath => ("replaceFullPath", &path.replace_full_path),
        PathModifierType::ReplacePrefixMatch => ("replacePrefixMatch", &path.replace_prefix_match),
    };
    let Some(value) = value else {
        let message = format!("field `{field}` is missing");
        findings.error(
            resource,
            format!("{at}.{field}"),
            Code::POLICY_MISSING_FIELD,
            message,
        );
        return None;
    };
    if !value.is_empty() {
        check_path(resource, &format!("{at}.{field}"), value, findings);
    }
    if path.kind == PathModifierType::ReplaceFullPath {
        return Some(PathEdit::Full(value.as_str().into()));
    }
    let prefix = |m: &RouteMatch| matches!(m.path(), None | Some(PathMatch::Prefix(_)));
    if !matches.iter().all(prefix) {
        let message = "only a prefix can be replaced, and not every match of the rule has one";
        findings
            .error(resource, format!("{at}.type"), Code::POLICY_RANGE, message)
            .help("use matches of type PathPrefix only, or ReplaceFullPath");
    }
    Some(PathEdit::Prefix(value.as_str().into()))
}

fn mirror(
    cx: &RuleCx<'_>,
    at: &str,
    mirror: &MirrorFilter,
    backends: &mut Backends<'_>,
    findings: &mut Findings,
) -> Option<Mirror> {
    let part = match (&mirror.percent, &mirror.fraction) {
        (None, None) => WHOLE_PERCENT_MILLI.into(),
        (Some(percent), None) if *percent <= 100 => u64::from(*percent) * 1000,
        (None, Some(fraction)) => {
            let below = u64::from(fraction.denominator.unwrap_or(100));
            let above = u64::from(fraction.numerator);
            if below == 0 || above > below {
                let message = format!("{above}/{below} is not a part of the calls");
                findings.error(
                    cx.resource,
                    format!("{at}.fraction"),
                    Code::POLICY_RANGE,
                    message,
                );
                return None;
            }
            // A part that is too small to count here is not none.
            let part = above * u64::from(WHOLE_PERCENT_MILLI) / below;
            part.max(u64::from(above > 0))
        }
        (Some(_), Some(_)) => {
            let message = "`percent` and `fraction` are two ways to say one thing";
            findings.error(
                cx.resource,
                format!("{at}.fraction"),
                Code::POLICY_RANGE,
                message,
            );
            return None;
        }
        (Some(percent), None) => {
            let message = format!("{percent} is not in the range 0 to 100");
            findings.error(
                cx.resource,
                format!("{at}.percent"),
                Code::POLICY_RANGE,
                message,
            );
            return None;
        }
    };
    let at = format!("{at}.backendRef");
    let (service, port) = cx.reference(&at, &mirror.backend_ref, backends, findings)?;
    let part = u32::try_from(part).unwrap_or(WHOLE_PERCENT_MILLI);
    Some(Mirror::new(backends.get(&service, port, None)).with_percent_milli(part))
}
