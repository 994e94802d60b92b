use std::fmt;

use serde::{Deserialize, Serialize};

use super::{
    AccessPolicySpec, BackendPolicySpec, Decode, Describe, DirectResponseSpec, Encode, FaultSpec,
    GrpcRouteSpec, HttpRouteSpec, Metadata, Provenance, ServiceSpec, StickySplitSpec,
    TrafficPolicySpec, TrailerEditSpec, TransportPolicySpec, Types, choice,
};
use crate::policy::text::{Decoder, Node, Tree};

choice! {
    /// A kind of resource.
    #[derive(PartialOrd, Ord)]
    pub enum Kind {
        /// Named destination.
        Service = "Service",
        /// Routing of HTTP calls.
        HttpRoute = "HTTPRoute",
        /// Routing of gRPC calls.
        GrpcRoute = "GRPCRoute",
        /// How callers treat a service.
        BackendPolicy = "BackendPolicy",
        /// Who may call a service.
        AccessPolicy = "AccessPolicy",
        /// How servers accept connections.
        TransportPolicy = "TransportPolicy",
        /// What servers do with calls, and when callers hold back.
        TrafficPolicy = "TrafficPolicy",
        /// Faults that are made on purpose, for rules to refer to.
        Fault = "Fault",
        /// An answer, for rules to refer to.
        DirectResponse = "DirectResponse",
        /// What a split hashes, for rules to refer to.
        StickySplit = "StickySplit",
        /// Edits of trailers, for rules to refer to.
        TrailerEdit = "TrailerEdit",
    }
}

/// Identity of a resource, displayed as `HTTPRoute shop/reviews`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceId {
    /// Kind.
    pub kind: Kind,
    /// Namespace.
    pub namespace: String,
    /// Name within kind and namespace.
    pub name: String,
}

/// Any resource of the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "always behind an `Arc` of its own"
)]
pub enum Resource {
    /// Named destination.
    Service(Service),
    /// Routing of HTTP calls.
    #[serde(rename = "HTTPRoute")]
    HttpRoute(HttpRoute),
    /// Routing of gRPC calls.
    #[serde(rename = "GRPCRoute")]
    GrpcRoute(GrpcRoute),
    /// How callers treat a service.
    BackendPolicy(BackendPolicy),
    /// Who may call a service.
    AccessPolicy(AccessPolicy),
    /// How servers accept connections.
    TransportPolicy(TransportPolicy),
    /// What servers do with calls, and when callers hold back.
    TrafficPolicy(TrafficPolicy),
    /// Faults that are made on purpose, for rules to refer to.
    Fault(Fault),
    /// An answer, for rules to refer to.
    DirectResponse(DirectResponse),
    /// What a split hashes, for rules to refer to.
    StickySplit(StickySplit),
    /// Edits of trailers, for rules to refer to.
    TrailerEdit(TrailerEdit),
}

macro_rules! resources {
    ($( $(#[$meta:meta])* $name:ident($spec:ident) in $($group:literal)|+ ; )*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
            #[serde(deny_unknown_fields)]
            pub struct $name {
                /// Who it is.
                pub metadata: Metadata,
                /// What it says.
                pub spec: $spec,
                /// Where it was written, if that is known. Neither compared nor serialised.
                #[serde(skip)]
                pub provenance: Provenance,
            }

            impl $name {
                /// A resource that was written nowhere.
                pub fn new(metadata: Metadata, spec: $spec) -> Self {
                    Self { metadata, spec, provenance: Provenance::default() }
                }

                /// Its identity.
                pub fn id(&self) -> ResourceId {
                    ResourceId {
                        kind: Kind::$name,
                        namespace: self.metadata.namespace.clone(),
                        name: self.metadata.name.clone(),
                    }
                }
            }

            impl From<$name> for Resource {
                fn from(resource: $name) -> Self {
                    Self::$name(resource)
                }
            }
        )*

        impl Kind {
            /// The accepted values of `apiVersion`, the usual one first.
            pub fn api_versions(self) -> &'static [&'static str] {
                match self { $( Self::$name => &[$($group),+], )* }
            }
        }

        impl Resource {
            /// Its kind.
            pub fn kind(&self) -> Kind {
                match self { $( Self::$name(_) => Kind::$name, )* }
            }

            /// Who it is.
            pub fn metadata(&self) -> &Metadata {
                match self { $( Self::$name(r) => &r.metadata, )* }
            }

            /// Where it was written, if that is known.
            pub fn provenance(&self) -> &Provenance {
                match self { $( Self::$name(r) => &r.provenance, )* }
            }

            /// Notes where it was written.
            pub fn set_provenance(&mut self, provenance: Provenance) {
                match self { $( Self::$name(r) => r.provenance = provenance, )* }
            }

            pub(crate) fn decode_spec(
                kind: Kind,
                metadata: Metadata,
                spec: &Node,
                cx: &mut Decoder,
            ) -> Option<Self> {
                match kind {
                    $( Kind::$name => Some($name::new(metadata, $spec::decode(spec, cx)?).into()), )*
                }
            }

            /// What each kind's `spec` holds.
            pub(crate) fn describe_specs(types: &mut Types) -> Vec<(Kind, serde_json::Value)> {
                vec![$( (Kind::$name, <$spec as Describe>::describe(types)) ),*]
            }

            pub(crate) fn encode_spec(&self) -> Tree {
                match self { $( Self::$name(r) => r.spec.encode(), )* }
            }
        }
    };
}

resources! {
    /// A named destination.
    Service(ServiceSpec) in "v1" | "policy.mesh/v1alpha1";
    /// Routing of HTTP calls.
    HttpRoute(HttpRouteSpec) in "gateway.networking.k8s.io/v1";
    /// Routing of gRPC calls.
    GrpcRoute(GrpcRouteSpec) in "gateway.networking.k8s.io/v1";
    /// How callers treat a service.
    BackendPolicy(BackendPolicySpec) in "policy.mesh/v1alpha1";
    /// Who may call a service.
    AccessPolicy(AccessPolicySpec) in "policy.mesh/v1alpha1";
    /// How servers accept connections.
    TransportPolicy(TransportPolicySpec) in "policy.mesh/v1alpha1";
    /// What servers do with calls, and when callers hold back.
    TrafficPolicy(TrafficPolicySpec) in "policy.mesh/v1alpha1";
    /// Faults that are made on purpose, for rules to refer to.
    Fault(FaultSpec) in "policy.mesh/v1alpha1";
    /// An answer, for rules to refer to.
    DirectResponse(DirectResponseSpec) in "policy.mesh/v1alpha1";
    /// What a split hashes, for rules to refer to.
    StickySplit(StickySplitSpec) in "policy.mesh/v1alpha1";
    /// Edits of trailers, for rules to refer to.
    TrailerEdit(TrailerEditSpec) in "policy.mesh/v1alpha1";
}

// === impl ResourceId ===

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

// === impl Resource ===

impl Resource {
    /// Its identity.
    pub fn id(&self) -> ResourceId {
        let metadata = self.metadata();
        ResourceId {
            kind: self.kind(),
            namespace: metadata.namespace.clone(),
            name: metadata.name.clone(),
        }
    }
}

impl Encode for Resource {
    fn encode(&self) -> Tree {
        let kind = self.kind();
        Tree::Map(vec![
            (
                "apiVersion".into(),
                Tree::Str(kind.api_versions()[0].into()),
            ),
            ("kind".into(), Tree::Str(kind.as_str().into())),
            ("metadata".into(), self.metadata().encode()),
            ("spec".into(), self.encode_spec()),
        ])
    }
}
