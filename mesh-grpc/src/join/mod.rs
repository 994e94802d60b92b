//! [`join()`]: a process becomes a member of the mesh.
//!
//! ```text
//! environment, Join ──> Settings
//!   identity    join token + CSR, renewed at 70 % of its life; or a directory that somebody else keeps
//!   subscribe   what clients want and what this service must know to be called, by delta
//!   register    what the mesh serves; a lease with a beat every 5 s
//!   report      the 1 s aggregates
//!   disk        identity and the last good snapshot, to start without a control server
//! ```
//!
//! Each line is a task of the `Mesh` and ends with it. None of them is needed to serve: without the control server
//! the last good state stays in force without limit, also over a restart when there is a state directory.
//!
//! | variable | meaning |
//! | --- | --- |
//! | `MESH_SERVICE` | the service, when the program does not name it; also gives the namespace of the name it does |
//! | `MESH_CONTROL` | control server, `https://host:7443`; without it there is none |
//! | `MESH_IDENTITY` | `token:PATH`, `token-value:TEXT` or `dir:PATH` with `cert.pem`, `key.pem` and `roots.pem` |
//! | `MESH_TOKEN` | the same as `MESH_IDENTITY=token-value:` |
//! | `MESH_POLICY` | a policy file |
//! | `MESH_STATE` | directory for identity and last good snapshot, made with mode 0700 |
//!
//! An unknown `MESH_*` is an error (M1001): a misspelt variable must not mean "no control server".

mod backoff;
mod builder;
mod disk;
mod identity;
mod member;
mod registration;
mod reports;
mod settings;
mod start;
mod subscription;

#[cfg(test)]
mod interleavings;

pub use builder::Join;

use mesh_tower::Mesh;

use crate::Result;

/// Joins the mesh as `service` (`"web"`, `"shop/web"`), with everything else from the environment.
///
/// Returns when the process has its identity and knows who may call it, from the control server or from disk. Without
/// a control server it needs neither.
pub async fn join(service: &str) -> Result<Mesh> {
    Join::builder().service(service).join().await
}
