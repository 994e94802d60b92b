//! The generated messages and stubs of `proto/`.
//!
//! Checked in under `src/gen`; `tests/generated.rs` writes them anew and fails when they are stale. The nesting is
//! that of the packages, because the generated code refers to its neighbours by relative paths; use the short names
//! [`policy`], [`control`], [`discovery`].

#![allow(missing_docs, unreachable_pub, clippy::all)]

mod tree {
    pub mod mesh {
        pub mod policy {
            pub mod v1 {
                include!("gen/mesh.policy.v1.rs");
            }
        }
        pub mod control {
            pub mod v1 {
                include!("gen/mesh.control.v1.rs");
            }
        }
    }
    pub mod envoy {
        pub mod service {
            pub mod discovery {
                pub mod v3 {
                    include!("gen/envoy.service.discovery.v3.rs");
                }
            }
        }
        pub mod config {
            pub mod core {
                pub mod v3 {
                    include!("gen/envoy.config.core.v3.rs");
                }
            }
        }
    }
    pub mod google {
        pub mod rpc {
            include!("gen/google.rpc.rs");
        }
    }
}

/// `mesh.control.v1`: what members and `meshctl` ask of the control server besides policy.
pub use tree::mesh::control::v1 as control;
/// `mesh.policy.v1`: the resources that members subscribe to.
pub use tree::mesh::policy::v1 as policy;

/// `envoy.service.discovery.v3` and the two messages that it refers to.
pub mod discovery {
    pub use super::tree::envoy::config::core::v3::{ControlPlane, Locality, Node};
    pub use super::tree::envoy::service::discovery::v3::*;
    pub use super::tree::google::rpc::Status;
}
