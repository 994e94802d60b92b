use super::{Interval, choice, schema};

schema! {
    /// HTTP calls to the parents, and where they go (`gateway.networking.k8s.io/v1`).
    #[derive(Default)]
    pub struct HttpRouteSpec {
        /// The services whose callers this route serves.
        parent_refs: Vec<ParentRef> = "parentRefs" default;
        /// Hosts that the route is limited to, exact or with a leading `*.`; none means any.
        hostnames: Vec<String> = "hostnames" default;
        /// The rules. Which one serves a call is decided by the precedence of Gateway API.
        rules: Vec<HttpRouteRule> = "rules" default;
    }
}

schema! {
    /// gRPC calls to the parents, and where they go (`gateway.networking.k8s.io/v1`).
    #[derive(Default)]
    pub struct GrpcRouteSpec {
        /// The services whose callers this route serves.
        parent_refs: Vec<ParentRef> = "parentRefs" default;
        /// Hosts that the route is limited to, exact or with a leading `*.`; none means any.
        hostnames: Vec<String> = "hostnames" default;
        /// The rules.
        rules: Vec<GrpcRouteRule> = "rules" default;
    }
}

schema! {
    /// What a route is attached to: a `Service`.
    #[derive(Default)]
    pub struct ParentRef {
        /// API group; empty for a `Service`.
        group: Option<String> = "group" default;
        /// Kind: `Service`.
        kind: Option<String> = "kind" default;
        /// Namespace; the route's own when left out.
        namespace: Option<String> = "namespace" default;
        /// Name of the service.
        name: String = "name";
        /// Name of a section of the parent. Not used for services.
        section_name: Option<String> = "sectionName" default;
        /// One port of the service; all of them when left out.
        port: Option<u16> = "port" default;
    }
}

schema! {
    /// One rule of an HTTP route.
    #[derive(Default)]
    pub struct HttpRouteRule {
        /// Name of the rule, shown in metrics and explanations.
        name: Option<String> = "name" default;
        /// Any of these serves; none means every call.
        matches: Vec<HttpRouteMatch> = "matches" default;
        /// Changes on the way, in this order.
        filters: Vec<Filter> = "filters" default;
        /// Weighted targets.
        backend_refs: Vec<BackendRef> = "backendRefs" default;
        /// Time limits.
        timeouts: Option<Timeouts> = "timeouts" default;
        /// What is tried again.
        retry: Option<Retry> = "retry" default;
        /// Calls of one session go to one endpoint.
        session_persistence: Option<SessionPersistence> = "sessionPersistence" default;
    }
}

schema! {
    /// One rule of a gRPC route.
    #[derive(Default)]
    pub struct GrpcRouteRule {
        /// Name of the rule, shown in metrics and explanations.
        name: Option<String> = "name" default;
        /// Any of these serves; none means every call.
        matches: Vec<GrpcRouteMatch> = "matches" default;
        /// Changes on the way, in this order.
        filters: Vec<Filter> = "filters" default;
        /// Weighted targets.
        backend_refs: Vec<BackendRef> = "backendRefs" default;
        /// Time limits.
        timeouts: Option<Timeouts> = "timeouts" default;
        /// What is tried again.
        retry: Option<Retry> = "retry" default;
        /// Calls of one session go to one endpoint.
        session_persistence: Option<SessionPersistence> = "sessionPersistence" default;
    }
}

schema! {
    /// A condition on an HTTP request; everything that is said must hold.
    #[derive(Default)]
    pub struct HttpRouteMatch {
        /// The path.
        path: Option<PathMatch> = "path" default;
        /// Headers, each by its own name.
        headers: Vec<HeaderMatch> = "headers" default;
        /// Query parameters, each by its own name.
        query_params: Vec<QueryParamMatch> = "queryParams" default;
        /// The method, in capitals.
        method: Option<String> = "method" default;
    }
}

schema! {
    /// A condition on a gRPC request; everything that is said must hold.
    #[derive(Default)]
    pub struct GrpcRouteMatch {
        /// Service and method.
        method: Option<GrpcMethodMatch> = "method" default;
        /// Metadata, each by its own name.
        headers: Vec<HeaderMatch> = "headers" default;
    }
}

schema! {
    /// A condition on the path.
    #[derive(Default)]
    pub struct PathMatch {
        /// How to compare; `PathPrefix` when left out.
        kind: Option<PathMatchType> = "type" default;
        /// With what; `/` when left out.
        value: Option<String> = "value" default;
    }
}

choice! {
    /// How a path is compared.
    pub enum PathMatchType {
        /// The whole path, byte by byte.
        Exact = "Exact",
        /// Whole segments from the start: `/a` holds `/a` and `/a/b`, not `/ab`.
        PathPrefix = "PathPrefix",
        /// A regular expression over the whole path.
        RegularExpression = "RegularExpression",
    }
}

choice! {
    /// How a header or a query parameter is compared.
    pub enum ValueMatchType {
        /// The whole value.
        Exact = "Exact",
        /// A regular expression over the whole value.
        RegularExpression = "RegularExpression",
    }
}

choice! {
    /// How a gRPC service or method is compared.
    pub enum GrpcMatchType {
        /// The whole name.
        Exact = "Exact",
        /// A regular expression over the whole name.
        RegularExpression = "RegularExpression",
    }
}

schema! {
    /// A condition on a header.
    #[derive(Default)]
    pub struct HeaderMatch {
        /// How to compare; `Exact` when left out.
        kind: Option<ValueMatchType> = "type" default;
        /// Name, in any case.
        name: String = "name";
        /// With what.
        value: String = "value";
    }
}

schema! {
    /// A condition on a query parameter.
    #[derive(Default)]
    pub struct QueryParamMatch {
        /// How to compare; `Exact` when left out.
        kind: Option<ValueMatchType> = "type" default;
        /// Name, in its case.
        name: String = "name";
        /// With what.
        value: String = "value";
    }
}

schema! {
    /// A condition on a gRPC method. At least one of `service` and `method` is needed.
    #[derive(Default)]
    pub struct GrpcMethodMatch {
        /// How to compare; `Exact` when left out.
        kind: Option<GrpcMatchType> = "type" default;
        /// Full name of the service, such as `shop.v1.Reviews`.
        service: Option<String> = "service" default;
        /// Name of the method, such as `Get`.
        method: Option<String> = "method" default;
    }
}

schema! {
    /// One weighted target of a rule.
    #[derive(Default)]
    pub struct BackendRef {
        /// API group; empty for a `Service`.
        group: Option<String> = "group" default;
        /// Kind: `Service`.
        kind: Option<String> = "kind" default;
        /// Name of the service.
        name: String = "name";
        /// Namespace; the route's own when left out.
        namespace: Option<String> = "namespace" default;
        /// Port of the service; its only or first one when left out.
        port: Option<u16> = "port" default;
        /// Its part of the calls is weight / sum of weights; 1 when left out, 0 takes none.
        weight: Option<u32> = "weight" default;
        /// Changes on the way to this target only, after those of the rule.
        filters: Vec<Filter> = "filters" default;
    }
}

choice! {
    /// What a filter does.
    pub enum FilterType {
        /// Edits headers of the request.
        RequestHeaderModifier = "RequestHeaderModifier",
        /// Edits headers of the response.
        ResponseHeaderModifier = "ResponseHeaderModifier",
        /// Answers with a redirect.
        RequestRedirect = "RequestRedirect",
        /// Changes host or path before the call is sent.
        UrlRewrite = "URLRewrite",
        /// Sends a copy elsewhere and ignores its answer.
        RequestMirror = "RequestMirror",
        /// Something that Gateway API does not name.
        ExtensionRef = "ExtensionRef",
    }
}

schema! {
    /// One filter: a type, and the settings under the name of that type.
    pub struct Filter {
        /// What it does.
        kind: FilterType = "type";
        /// Settings of `RequestHeaderModifier`.
        request_header_modifier: Option<HeaderFilter> = "requestHeaderModifier" default;
        /// Settings of `ResponseHeaderModifier`.
        response_header_modifier: Option<HeaderFilter> = "responseHeaderModifier" default;
        /// Settings of `RequestRedirect`.
        request_redirect: Option<RedirectFilter> = "requestRedirect" default;
        /// Settings of `URLRewrite`.
        url_rewrite: Option<RewriteFilter> = "urlRewrite" default;
        /// Settings of `RequestMirror`.
        request_mirror: Option<MirrorFilter> = "requestMirror" default;
        /// Settings of `ExtensionRef`.
        extension_ref: Option<ExtensionRef> = "extensionRef" default;
    }
}

schema! {
    /// Edits of headers, applied in the order set, add, remove.
    #[derive(Default)]
    pub struct HeaderFilter {
        /// Replaced, or added when absent.
        set: Vec<HeaderValue> = "set" default;
        /// Added beside what is there.
        add: Vec<HeaderValue> = "add" default;
        /// Removed, by name.
        remove: Vec<String> = "remove" default;
    }
}

schema! {
    /// A header with its value.
    #[derive(Default)]
    pub struct HeaderValue {
        /// Name, in any case.
        name: String = "name";
        /// Value.
        value: String = "value";
    }
}

schema! {
    /// Where a redirect points. What is left out stays as in the request.
    #[derive(Default)]
    pub struct RedirectFilter {
        /// `http` or `https`.
        scheme: Option<String> = "scheme" default;
        /// Host.
        hostname: Option<String> = "hostname" default;
        /// Path.
        path: Option<PathModifier> = "path" default;
        /// Port.
        port: Option<u16> = "port" default;
        /// 301, 302 (when left out), 303, 307 or 308.
        status_code: Option<u16> = "statusCode" default;
    }
}

schema! {
    /// Host and path of the request that is sent. What is left out stays.
    #[derive(Default)]
    pub struct RewriteFilter {
        /// Host.
        hostname: Option<String> = "hostname" default;
        /// Path.
        path: Option<PathModifier> = "path" default;
    }
}

choice! {
    /// Which part of the path is replaced.
    pub enum PathModifierType {
        /// All of it.
        ReplaceFullPath = "ReplaceFullPath",
        /// The prefix that the rule matched.
        ReplacePrefixMatch = "ReplacePrefixMatch",
    }
}

schema! {
    /// A change of the path.
    pub struct PathModifier {
        /// Which part.
        kind: PathModifierType = "type";
        /// The new path, for `ReplaceFullPath`.
        replace_full_path: Option<String> = "replaceFullPath" default;
        /// The new prefix, for `ReplacePrefixMatch`.
        replace_prefix_match: Option<String> = "replacePrefixMatch" default;
    }
}

schema! {
    /// Where copies go.
    pub struct MirrorFilter {
        /// The service that receives them.
        backend_ref: BackendRef = "backendRef";
        /// How many of 100 calls; all when nothing is said.
        percent: Option<u32> = "percent" default;
        /// How many calls, as a fraction.
        fraction: Option<MirrorFraction> = "fraction" default;
    }
}

schema! {
    /// A part of the calls.
    #[derive(Default)]
    pub struct MirrorFraction {
        /// Above the line.
        numerator: u32 = "numerator";
        /// Below the line; 100 when left out.
        denominator: Option<u32> = "denominator" default;
    }
}

schema! {
    /// Something that Gateway API does not name.
    #[derive(Default)]
    pub struct ExtensionRef {
        /// API group.
        group: String = "group";
        /// Kind.
        kind: String = "kind";
        /// Name.
        name: String = "name";
    }
}

schema! {
    /// Time limits of a rule.
    #[derive(Default)]
    pub struct Timeouts {
        /// The whole call with all its attempts, up to the head of the answer; `0s` means none. While the request's
        /// body is on its way it counts from the last piece.
        request: Option<Interval> = "request" default;
        /// One attempt, by the same rule; not longer than `request`.
        backend_request: Option<Interval> = "backendRequest" default;
    }
}

choice! {
    /// What a rule may try again when the method is not idempotent.
    pub enum NonIdempotent {
        /// Only what provably was not processed.
        Never = "Never",
        /// The same as for other methods. The callee must cope with a repetition.
        Allow = "Allow",
    }
}

schema! {
    /// What is tried again.
    #[derive(Default)]
    pub struct Retry {
        /// HTTP status codes (400 to 599) that are tried again.
        codes: Vec<u16> = "codes" default;
        /// Attempts after the first one.
        attempts: Option<u32> = "attempts" default;
        /// Least pause before another attempt.
        backoff: Option<Interval> = "backoff" default;
        /// Methods that are not idempotent: `Never` when left out.
        non_idempotent: Option<NonIdempotent> = "nonIdempotent" default;
    }
}

choice! {
    /// What carries the session.
    pub enum SessionType {
        /// A cookie.
        Cookie = "Cookie",
        /// A header.
        Header = "Header",
    }
}

choice! {
    /// How long a session's cookie lives.
    pub enum SessionLifetime {
        /// As long as the caller's own session.
        Session = "Session",
        /// Until `absoluteTimeout` has passed.
        Permanent = "Permanent",
    }
}

schema! {
    /// Calls of one session go to one endpoint.
    #[derive(Default)]
    pub struct SessionPersistence {
        /// Name of the cookie or header.
        session_name: Option<String> = "sessionName" default;
        /// Longest life of a session.
        absolute_timeout: Option<Interval> = "absoluteTimeout" default;
        /// Longest pause within a session.
        idle_timeout: Option<Interval> = "idleTimeout" default;
        /// What carries the session; a cookie when left out.
        kind: Option<SessionType> = "type" default;
        /// How long the cookie lives (Cookie).
        cookie_config: Option<CookieConfig> = "cookieConfig" default;
    }
}

schema! {
    /// How long a session's cookie lives.
    #[derive(Default)]
    pub struct CookieConfig {
        /// `Session` when left out. `Permanent` needs `absoluteTimeout`.
        lifetime_type: Option<SessionLifetime> = "lifetimeType" default;
    }
}

impl Filter {
    /// A filter of that type without settings.
    pub fn new(kind: FilterType) -> Self {
        Self {
            kind,
            request_header_modifier: None,
            response_header_modifier: None,
            request_redirect: None,
            url_rewrite: None,
            request_mirror: None,
            extension_ref: None,
        }
    }
}
