use std::fmt;

use http::StatusCode;

use super::Code;

/// What went wrong, in the categories that an operator acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No route of the service matched, or the service is not known.
    NoRoute,
    /// The service has no endpoint at all.
    NoEndpoints,
    /// Endpoints exist, but none could serve the call.
    Ejected,
    /// The breaker is open.
    BreakerOpen,
    /// A ceiling on connections, pending calls, calls or retries was reached.
    Ceiling,
    /// The client holds back because the service refuses most calls.
    Throttled,
    /// A rate limit was reached.
    RateLimited,
    /// The deadline of the whole call passed.
    Deadline,
    /// One attempt took longer than its own limit.
    AttemptTimeout,
    /// No connection could be made.
    Connect,
    /// A name could not be resolved.
    Dns,
    /// A TLS handshake failed.
    Tls,
    /// The peer's identity is not the one expected, or there is none.
    Identity,
    /// An access policy refused the call.
    Denied,
    /// The service sheds load.
    Overloaded,
    /// The retry budget is empty.
    BudgetEmpty,
    /// The peer broke its protocol: reset, malformed answer, connection lost mid-flight.
    Protocol,
    /// No usable policy.
    Policy,
    /// This process is shutting down.
    Draining,
    /// The application behind a shim did not take the request.
    Unreached,
    /// The application behind a shim ended the connection before its answer.
    Unanswered,
    /// A defect or an unexpected state of the mesh itself.
    Internal,
}

/// One row of the table.
struct Row {
    code: Code,
    http: StatusCode,
    grpc: u32,
    label: &'static str,
}

impl ErrorKind {
    /// Every kind, in the order of its definition.
    pub const ALL: [Self; 22] = [
        Self::NoRoute,
        Self::NoEndpoints,
        Self::Ejected,
        Self::BreakerOpen,
        Self::Ceiling,
        Self::Throttled,
        Self::RateLimited,
        Self::Deadline,
        Self::AttemptTimeout,
        Self::Connect,
        Self::Dns,
        Self::Tls,
        Self::Identity,
        Self::Denied,
        Self::Overloaded,
        Self::BudgetEmpty,
        Self::Protocol,
        Self::Policy,
        Self::Draining,
        Self::Unreached,
        Self::Unanswered,
        Self::Internal,
    ];

    /// The one table: kind to code, HTTP status, gRPC status and metric label. gRPC numbers:
    /// 4 DEADLINE_EXCEEDED, 7 PERMISSION_DENIED, 8 RESOURCE_EXHAUSTED, 12 UNIMPLEMENTED,
    /// 13 INTERNAL, 14 UNAVAILABLE.
    const fn row(self) -> Row {
        const fn row(code: Code, http: StatusCode, grpc: u32, label: &'static str) -> Row {
            Row {
                code,
                http,
                grpc,
                label,
            }
        }
        const UNAVAILABLE: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        const LATE: StatusCode = StatusCode::GATEWAY_TIMEOUT;
        match self {
            Self::NoRoute => row(Code::NO_ROUTE, StatusCode::NOT_FOUND, 12, "no_route"),
            Self::NoEndpoints => row(Code::NO_ENDPOINTS, UNAVAILABLE, 14, "no_endpoints"),
            Self::Ejected => row(Code::EJECTED, UNAVAILABLE, 14, "ejected"),
            Self::BreakerOpen => row(Code::BREAKER_OPEN, UNAVAILABLE, 14, "breaker_open"),
            Self::Ceiling => row(Code::CEILING, UNAVAILABLE, 14, "ceiling"),
            Self::Throttled => row(Code::THROTTLED, UNAVAILABLE, 14, "throttled"),
            Self::RateLimited => row(
                Code::RATE_LIMITED,
                StatusCode::TOO_MANY_REQUESTS,
                8,
                "rate_limited",
            ),
            Self::Deadline => row(Code::DEADLINE, LATE, 4, "deadline"),
            Self::AttemptTimeout => row(Code::ATTEMPT_TIMEOUT, LATE, 4, "attempt_timeout"),
            Self::Connect => row(Code::CONNECT, UNAVAILABLE, 14, "connect"),
            Self::Dns => row(Code::DNS, UNAVAILABLE, 14, "dns"),
            Self::Tls => row(Code::TLS, UNAVAILABLE, 14, "tls"),
            Self::Identity => row(Code::IDENTITY, UNAVAILABLE, 14, "identity"),
            Self::Denied => row(Code::DENIED, StatusCode::FORBIDDEN, 7, "denied"),
            Self::Overloaded => row(Code::OVERLOADED, UNAVAILABLE, 14, "overloaded"),
            Self::BudgetEmpty => row(Code::BUDGET_EMPTY, UNAVAILABLE, 14, "budget_empty"),
            Self::Protocol => row(Code::PROTOCOL, StatusCode::BAD_GATEWAY, 13, "protocol"),
            Self::Policy => row(Code::POLICY, UNAVAILABLE, 14, "policy"),
            Self::Draining => row(Code::DRAINING, UNAVAILABLE, 14, "draining"),
            Self::Unreached => row(Code::UNREACHED, UNAVAILABLE, 14, "unreached"),
            Self::Unanswered => row(Code::UNANSWERED, StatusCode::BAD_GATEWAY, 14, "unanswered"),
            Self::Internal => row(
                Code::INTERNAL,
                StatusCode::INTERNAL_SERVER_ERROR,
                13,
                "internal",
            ),
        }
    }

    /// The code of this kind's page.
    pub const fn code(self) -> Code {
        self.row().code
    }

    /// The HTTP status that a caller without the mesh sees.
    pub const fn http_status(self) -> StatusCode {
        self.row().http
    }

    /// The gRPC status that a gRPC caller sees.
    pub const fn grpc_code(self) -> u32 {
        self.row().grpc
    }

    /// The word used in metrics (`error.type`), logs and spans.
    pub const fn label(self) -> &'static str {
        self.row().label
    }

    /// The kind whose code is `code`; `None` for codes of policy diagnostics and findings.
    pub fn from_code(code: Code) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_kind_has_its_own_code_and_label() {
        let codes: BTreeSet<_> = ErrorKind::ALL.iter().map(|k| k.code()).collect();
        let labels: BTreeSet<_> = ErrorKind::ALL.iter().map(|k| k.label()).collect();
        assert_eq!(codes.len(), ErrorKind::ALL.len());
        assert_eq!(labels.len(), ErrorKind::ALL.len());
        for kind in ErrorKind::ALL {
            assert_eq!(ErrorKind::from_code(kind.code()), Some(kind));
        }
    }

    #[test]
    fn the_numbers_are_the_published_ones() {
        for (kind, code, http, grpc) in [
            (ErrorKind::NoRoute, "M2001", 404, 12),
            (ErrorKind::NoEndpoints, "M2002", 503, 14),
            (ErrorKind::Ejected, "M2003", 503, 14),
            (ErrorKind::BreakerOpen, "M2004", 503, 14),
            (ErrorKind::Ceiling, "M2005", 503, 14),
            (ErrorKind::Throttled, "M2006", 503, 14),
            (ErrorKind::RateLimited, "M2007", 429, 8),
            (ErrorKind::Deadline, "M2008", 504, 4),
            (ErrorKind::AttemptTimeout, "M2009", 504, 4),
            (ErrorKind::Connect, "M2010", 503, 14),
            (ErrorKind::Dns, "M2011", 503, 14),
            (ErrorKind::Protocol, "M2012", 502, 13),
            (ErrorKind::BudgetEmpty, "M2013", 503, 14),
            (ErrorKind::Overloaded, "M2014", 503, 14),
            (ErrorKind::Draining, "M2015", 503, 14),
            (ErrorKind::Unreached, "M2016", 503, 14),
            (ErrorKind::Unanswered, "M2017", 502, 14),
            (ErrorKind::Internal, "M2099", 500, 13),
            (ErrorKind::Policy, "M3000", 503, 14),
            (ErrorKind::Denied, "M4001", 403, 7),
            (ErrorKind::Tls, "M4002", 503, 14),
            (ErrorKind::Identity, "M4003", 503, 14),
        ] {
            assert_eq!(kind.code().to_string(), code);
            assert_eq!(kind.http_status().as_u16(), http, "{code}");
            assert_eq!(kind.grpc_code(), grpc, "{code}");
        }
    }
}
