use std::path::PathBuf;

use mesh_core::{error::MeshError, name::ServiceName};
use mesh_tower::{Mesh, mesh::MeshBuilder};

use super::settings::{Settings, bad};
use crate::Error;

type Adjust = Box<dyn FnOnce(MeshBuilder) -> MeshBuilder + Send>;

/// Joins the mesh with more than a name. What is not given comes from the environment.
///
/// ```no_run
/// # async fn run() -> mesh_grpc::Result<()> {
/// let mesh = mesh_grpc::Join::builder()
///     .service("shop/reviews")
///     .label("version", "v2")
///     .join()
///     .await?;
/// # drop(mesh); Ok(()) }
/// ```
#[must_use = "a builder does nothing until join()"]
pub struct Join {
    settings: Settings,
    pub(super) namespace: Option<String>,
    pub(super) instance: Option<String>,
    from_env: bool,
    invalid: Option<MeshError>,
    pub(super) adjust: Option<Adjust>,
    /// What `MESH_SERVICE` says, whatever the program says.
    pub(super) env_service: Option<String>,
}

impl Join {
    /// Nothing said yet.
    pub fn builder() -> Self {
        Self {
            settings: Settings::default(),
            namespace: None,
            instance: None,
            from_env: true,
            invalid: None,
            adjust: None,
            env_service: None,
        }
    }

    /// The service that this process is: `"web"`, `"shop/web"`.
    pub fn service(mut self, service: &str) -> Self {
        self.settings.service = Some(service.to_owned());
        self
    }

    /// The namespace of names that are given without one; else that of the service, else `default`.
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// The control server, `https://host:7443`.
    pub fn control(mut self, url: &str) -> Self {
        self.settings.control = Some(url.to_owned());
        self
    }

    /// Where the identity comes from: `token:PATH`, `token-value:TEXT`, `dir:PATH`.
    pub fn identity(mut self, source: &str) -> Self {
        match source.parse() {
            Ok(source) => self.settings.identity = Some(source),
            Err(error) => self.invalid = Some(error),
        }
        self
    }

    /// A policy file.
    pub fn policy(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.policy = Some(path.into());
        self
    }

    /// Directory for identity and last good snapshot.
    pub fn state(mut self, dir: impl Into<PathBuf>) -> Self {
        self.settings.state = Some(dir.into());
        self
    }

    /// Name of this process in reports and tables; host name or process id by default.
    pub fn instance(mut self, name: &str) -> Self {
        self.instance = Some(name.to_owned());
        self
    }

    /// A label of what this process serves, for subsets.
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.settings
            .labels
            .insert(name.to_owned(), value.to_owned());
        self
    }

    /// The zone that this process runs in: `zone`, `region/zone` or `region/zone/subzone`. Its own
    /// calls stay there as far as no endpoint gets more than its share, and so do calls to it.
    pub fn zone(mut self, zone: &str) -> Self {
        self.settings.zone = Some(zone.to_owned());
        self
    }

    /// Share against the other instances of the service; 1 by default.
    pub fn weight(mut self, weight: u32) -> Self {
        self.settings.weight = Some(weight);
        self
    }

    /// Instances of a higher number (0 to 127) take calls when those before them fail; 0 by default.
    pub fn priority(mut self, priority: u32) -> Self {
        self.settings.priority = Some(priority);
        self
    }

    /// Passes over the environment: only what was said here counts.
    pub fn without_env(mut self) -> Self {
        self.from_env = false;
        self
    }

    /// Changes the mesh before it is built: layers, timeouts, another connector.
    pub fn adjust(
        mut self,
        adjust: impl FnOnce(MeshBuilder) -> MeshBuilder + Send + 'static,
    ) -> Self {
        self.adjust = Some(Box::new(adjust));
        self
    }

    /// Joins. Must be called inside a tokio runtime.
    pub async fn join(self) -> Result<Mesh, Error> {
        Ok(self.run().await?)
    }

    async fn run(mut self) -> Result<Mesh, MeshError> {
        let settings = self.settings()?;
        let admin = settings.admin;
        let mesh = self.start(settings).await?;
        if let Some(addr) = admin {
            let addr = mesh.serve_admin(addr).await?;
            tracing::info!(target: "mesh::join", %addr, "/livez, /readyz and /metrics");
        }
        Ok(mesh)
    }

    /// What the program said, then what the environment says.
    fn settings(&mut self) -> Result<Settings, MeshError> {
        if let Some(error) = self.invalid.take() {
            return Err(error);
        }
        let env = match self.from_env {
            true => Settings::from_env(std::env::vars_os().filter_map(|(name, value)| {
                // What is not Unicode is none of ours, unless its name is.
                Some((
                    name.into_string().ok()?,
                    value.to_string_lossy().into_owned(),
                ))
            }))?,
            false => Settings::default(),
        };
        self.env_service = env.service.clone();
        Ok(std::mem::take(&mut self.settings).or(env))
    }

    /// The service's name. The program names the service; the environment may add where it lives.
    pub(super) fn name(
        &self,
        given: Option<&str>,
        env: Option<&str>,
    ) -> Result<ServiceName, MeshError> {
        let given =
            given.ok_or_else(|| bad("which service is this? set MESH_SERVICE=namespace/name"))?;
        let default = self.namespace.as_deref();
        let from_env = || {
            let env = ServiceName::parse(env?, "default").ok()?;
            (env.name() == given).then(|| env.namespace().to_owned())
        };
        let namespace = default
            .map(str::to_owned)
            .or_else(from_env)
            .unwrap_or_else(|| "default".to_owned());
        ServiceName::parse(given, &namespace)
            .map_err(|error| bad(format!("`{given}` is not a service name: {error}")))
    }
}

impl std::fmt::Debug for Join {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Join")
            .field("service", &self.settings.service)
            .finish_non_exhaustive()
    }
}
