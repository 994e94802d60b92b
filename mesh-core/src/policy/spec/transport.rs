use super::{TargetRef, choice, schema};

schema! {
    /// How servers accept connections.
    #[derive(Default)]
    pub struct TransportPolicySpec {
        /// What the policy is attached to.
        target_refs: Vec<TargetRef> = "targetRefs" default;
        /// Whether callers must prove who they are.
        mtls: Option<MtlsMode> = "mtls" default;
        /// Least version of TLS, `1.2` when left out. A change counts for new handshakes only.
        min_tls_version: Option<TlsVersion> = "minTlsVersion" default;
        /// Trust domains whose callers are accepted; the own one when left out.
        trust_domains: Vec<String> = "trustDomains" default;
        /// Callers that may use plaintext although `mtls` is `Strict`, each until a date.
        exceptions: Vec<PlaintextException> = "exceptions" default;
    }
}

choice! {
    /// Whether callers must prove who they are.
    pub enum MtlsMode {
        /// Yes.
        Strict = "Strict",
        /// Those who can do; plaintext is accepted and counted.
        Permissive = "Permissive",
        /// No TLS.
        Disabled = "Disabled",
    }
}

choice! {
    /// A version of TLS.
    #[derive(PartialOrd, Ord)]
    pub enum TlsVersion {
        /// TLS 1.2.
        Tls12 = "1.2",
        /// TLS 1.3.
        Tls13 = "1.3",
    }
}

schema! {
    /// A caller that may use plaintext for a while.
    #[derive(Default)]
    pub struct PlaintextException {
        /// Its address, or a network like `10.0.0.0/8`; any when left out.
        source: Option<String> = "source" default;
        /// The port that it calls; any when left out.
        port: Option<u16> = "port" default;
        /// Last moment, `2026-12-31` (until the end of that day, UTC) or `2026-12-31T18:00:00Z`.
        expires: String = "expires";
        /// Why.
        reason: Option<String> = "reason" default;
    }
}
