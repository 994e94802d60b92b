//! The way into the mesh: through a control server, or by files alone.

use std::sync::Arc;

use mesh_core::error::MeshError;
use mesh_grpc::Join;
use mesh_tower::Mesh;
use mesh_tower::transport::TcpConnect;

use crate::config::{Application, Config};
use crate::error::ShimError;

/// The label by which the series of several applications differ.
pub(crate) const APPLICATION: &str = "application";

/// What holds for every application of this process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    workers: usize,
    mark: Option<u32>,
    node: bool,
}

impl How {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            workers: config.workers.get(),
            mark: config.mark,
            node: config.node,
        }
    }
}

/// Joins as the flags say, and as the environment says where they say nothing. With neither a
/// control server nor a policy file there is no mesh to join.
pub(crate) async fn join(how: &How, application: &Application) -> Result<Mesh, ShimError> {
    let options = &application.join;
    let given = |flag: &Option<String>, variable| {
        flag.is_some() || std::env::var_os(variable).is_some_and(|value| !value.is_empty())
    };
    if !given(&options.control, "MESH_CONTROL") && !given(&options.policy, "MESH_POLICY") {
        return Err(ShimError::configuration(
            "no way into the mesh: neither a control server nor a policy file",
            "set MESH_CONTROL=https://host:7443 and MESH_IDENTITY=token:PATH, or give --policy FILE",
        ));
    }
    let How {
        workers,
        mark,
        node,
    } = *how;
    let name = node.then(|| application.name());
    let mut join = Join::builder()
        .service(&application.service)
        .adjust(move |mesh| {
            let mesh = mesh.workers(workers);
            let mesh = match name {
                Some(name) => mesh.metrics_label(APPLICATION, &name),
                None => mesh,
            };
            match mark {
                Some(mark) => mesh.connector(Arc::new(TcpConnect::new().with_mark(mark))),
                None => mesh,
            }
        });
    if let Some(control) = &options.control {
        join = join.control(control);
    }
    if let Some(identity) = &options.identity {
        join = join.identity(identity);
    }
    if let Some(policy) = &options.policy {
        join = join.policy(policy);
    }
    if let Some(state) = &options.state {
        join = join.state(state);
    }
    join.join().await.map_err(|error| match error.mesh_error() {
        Some(error) => of_mesh(&error),
        None => ShimError::plain(error.to_string(), "meshctl explain M1002"),
    })
}

/// An error of the mesh at start, with where to read on.
fn of_mesh(error: &MeshError) -> ShimError {
    let code = error.code().to_string();
    let text = error.to_string();
    // The text ends in its code already.
    let message = text
        .strip_suffix(&format!(" [{code}]"))
        .unwrap_or(&text)
        .to_owned();
    let next = format!("meshctl explain {code}");
    ShimError::new(code, message, next)
}
