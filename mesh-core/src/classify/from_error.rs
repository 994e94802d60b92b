use super::{Class, FailureKind};
use crate::error::{ErrorKind, MeshError};

/// The class of an attempt that ended without an answer.
pub fn error(error: &MeshError) -> Class {
    match error.kind() {
        // GOAWAY or a refused stream: nothing that the endpoint has failed at.
        ErrorKind::Connect if error.flags().refused => Class::Failure(FailureKind::Mesh),
        ErrorKind::Deadline | ErrorKind::AttemptTimeout => Class::Failure(FailureKind::Timeout),
        ErrorKind::Connect
        | ErrorKind::Dns
        | ErrorKind::Tls
        | ErrorKind::Identity
        | ErrorKind::Unreached
        | ErrorKind::Unanswered
        | ErrorKind::Protocol => Class::Failure(FailureKind::Transport),
        ErrorKind::Overloaded => Class::Failure(FailureKind::Overload),
        _ => Class::Failure(FailureKind::Mesh),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_itself_refused_is_not_held_against_an_endpoint() {
        for kind in ErrorKind::ALL {
            let class = error(&MeshError::new(kind, "x"));
            let local = matches!(
                kind,
                ErrorKind::NoRoute
                    | ErrorKind::NoEndpoints
                    | ErrorKind::Ejected
                    | ErrorKind::BreakerOpen
                    | ErrorKind::Ceiling
                    | ErrorKind::Throttled
                    | ErrorKind::RateLimited
                    | ErrorKind::BudgetEmpty
                    | ErrorKind::Denied
                    | ErrorKind::Policy
                    | ErrorKind::Draining
                    | ErrorKind::Internal
            );
            assert_eq!(class.is_endpoint_failure(), !local, "{kind}");
        }
    }
}
