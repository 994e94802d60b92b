use super::{TargetRef, choice, schema};

schema! {
    /// Who may call a service. What no rule allows is denied; health probes always pass.
    pub struct AccessPolicySpec {
        /// What the policy is attached to.
        target_refs: Vec<TargetRef> = "targetRefs" default;
        /// Whether a denial is carried out or only counted.
        mode: AccessMode = "mode";
        /// Any of these allows.
        allow: Vec<AccessRule> = "allow" default;
    }
}

choice! {
    /// Whether a denial is carried out.
    pub enum AccessMode {
        /// Calls that would be denied pass, and are counted and logged.
        Audit = "Audit",
        /// They are denied.
        Enforce = "Enforce",
    }
}

schema! {
    /// Callers, and what they may do.
    #[derive(Default)]
    pub struct AccessRule {
        /// The callers. Leaving this out is an error; an empty list is nobody.
        from: Option<Vec<PeerSelector>> = "from" default;
        /// What they may do; everything when left out.
        to: Vec<RequestSelector> = "to" default;
    }
}

schema! {
    /// Callers, by what their certificate proves: exactly one of the three.
    #[derive(Default)]
    pub struct PeerSelector {
        /// A service, `name` or `namespace/name`.
        service: Option<String> = "service" default;
        /// Every service of a namespace.
        namespace: Option<String> = "namespace" default;
        /// One SPIFFE id.
        identity: Option<String> = "identity" default;
    }
}

schema! {
    /// Requests; everything that is said must hold, any entry of a list will do.
    #[derive(Default)]
    pub struct RequestSelector {
        /// HTTP methods, in capitals.
        methods: Vec<String> = "methods" default;
        /// Paths: exact, or whole segments from the start with `/*` at the end.
        paths: Vec<String> = "paths" default;
        /// gRPC: `package.Service`, `package.Service/*` or `package.Service/Method`.
        grpc: Vec<String> = "grpc" default;
    }
}
