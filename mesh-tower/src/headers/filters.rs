//! What a route's filters do to a request and its response.

use std::sync::Arc;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderValue, Request, Response, Uri, header};
use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::policy::model::{Filter, PathEdit, Redirect, Rewrite, Route, Target};

use crate::body::MeshBody;

/// The edits that wait for the response.
#[derive(Clone, Debug)]
pub(crate) struct ResponseEdits {
    route: Arc<Route>,
    target: Option<Target>,
}

// === impl ResponseEdits ===

impl ResponseEdits {
    /// `None` when no filter touches the response, which is the rule.
    pub(crate) fn of(route: &Arc<Route>, target: Option<&Target>) -> Option<Self> {
        let edits = |filters: &[Filter]| {
            filters
                .iter()
                .any(|filter| matches!(filter, Filter::ResponseHeaders(_)))
        };
        let by_target = target.filter(|target| edits(target.filters()));
        (edits(route.filters()) || by_target.is_some()).then(|| Self {
            route: route.clone(),
            target: by_target.cloned(),
        })
    }

    pub(crate) fn apply(&self, headers: &mut HeaderMap) {
        let of_target = self.target.as_ref().map_or(&[][..], Target::filters);
        for filter in self.route.filters().iter().chain(of_target) {
            if let Filter::ResponseHeaders(edit) = filter {
                edit.apply(headers);
            }
        }
    }
}

/// Applies the edits of request headers among `filters`.
pub(crate) fn edit_request(filters: &[Filter], headers: &mut HeaderMap) {
    for filter in filters {
        if let Filter::RequestHeaders(edit) = filter {
            edit.apply(headers);
        }
    }
}

/// Changes host and path of a request. `prefix` is the one that matched.
pub(crate) fn rewrite<B>(
    prefix: &str,
    rewrite: &Rewrite,
    request: &mut Request<B>,
) -> Result<(), MeshError> {
    let mut uri = std::mem::take(request.uri_mut()).into_parts();
    if let Some(path) = rewrite.path() {
        uri.path_and_query = Some(edited(prefix, path, uri.path_and_query.as_ref())?);
    }
    if let Some(host) = rewrite.host() {
        if uri.authority.is_some() {
            let authority: Authority = host.parse().map_err(|_| bad("host", host))?;
            uri.authority = Some(authority);
        }
        let value = HeaderValue::from_str(host).map_err(|_| bad("host", host))?;
        if request.headers().contains_key(header::HOST) || uri.authority.is_none() {
            request.headers_mut().insert(header::HOST, value);
        }
    }
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| bad("path", "the rewritten one"))?;
    Ok(())
}

/// The answer of a redirect. `prefix` is the one that matched; `port` the one that was called, where
/// the request does not say.
pub(crate) fn redirect<B>(
    prefix: &str,
    redirect: &Redirect,
    port: Option<u16>,
    request: &Request<B>,
) -> Result<Response<MeshBody>, MeshError> {
    let scheme = redirect
        .scheme()
        .or_else(|| request.uri().scheme().map(Scheme::as_str))
        .unwrap_or("http");
    let original = request
        .uri()
        .authority()
        .map(Authority::as_str)
        .or_else(|| request.headers().get(header::HOST)?.to_str().ok())
        .and_then(|text| text.parse::<Authority>().ok());
    let host = redirect
        .host()
        .or_else(|| original.as_ref().map(Authority::host))
        .unwrap_or_default();
    // Gateway API: a changed scheme without a port means the scheme's own port; neither means the
    // port that the request came for.
    let called = port;
    let port = redirect.port().or_else(|| match redirect.scheme() {
        Some(_) => None,
        None => original.as_ref().and_then(Authority::port_u16).or(called),
    });
    let default = match scheme {
        "https" => 443,
        _ => 80,
    };
    let port = port.filter(|port| *port != default);
    let path = match redirect.path() {
        Some(path) => edited(prefix, path, request.uri().path_and_query())?.to_string(),
        None => request
            .uri()
            .path_and_query()
            .map_or("/", PathAndQuery::as_str)
            .to_owned(),
    };
    let location = match port {
        Some(port) => format!("{scheme}://{host}:{port}{path}"),
        None => format!("{scheme}://{host}{path}"),
    };
    let mut response = Response::new(MeshBody::empty());
    *response.status_mut() = redirect.status();
    let location = HeaderValue::from_str(&location).map_err(|_| bad("location", &location))?;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

fn edited(
    prefix: &str,
    edit: &PathEdit,
    old: Option<&PathAndQuery>,
) -> Result<PathAndQuery, MeshError> {
    let path = old.map_or("/", PathAndQuery::path);
    let mut new = edit.apply(path, Some(prefix));
    if let Some(query) = old.and_then(PathAndQuery::query) {
        new.push('?');
        new.push_str(query);
    }
    new.parse().map_err(|_| bad("path", &new))
}

fn bad(what: &str, value: &str) -> MeshError {
    let message = format!("the route's filter makes a {what} that cannot be sent: {value:?}");
    MeshError::new(ErrorKind::Policy, message)
}
