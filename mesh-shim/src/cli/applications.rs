//! What the settings come to together: the applications that the shim speaks for.

use std::ffi::OsString;
use std::net::SocketAddr;

use super::flags::Flags;
use crate::config::{App, Application, Given, JoinOptions};
use crate::error::ShimError;
use crate::ingress::IngressConfig;

/// Settings of one application, which `--app` has keys for or does without.
const ONE: [&str; 12] = [
    "as",
    "port",
    "inbound",
    "advertise",
    "outbound",
    "upstream",
    "transparent",
    "sni",
    "ingress",
    "certificates",
    "https-redirect",
    "passthrough",
];

impl Flags {
    /// The one that `--as` names.
    pub(super) fn application(&self) -> Result<Application, ShimError> {
        let service = given(&self.service).ok_or_else(|| {
            ShimError::configuration(
                "the name of the service is missing",
                "give --as legacy-stock, or set MESH_SERVICE; `mesh-shim --help` shows all flags",
            )
        })?;
        if self.port == Some(0) {
            return Err(ShimError::configuration(
                "--port 0: the application's port must be known",
                "give the port that the application listens on; it is also set as PORT for it",
            ));
        }
        let app = self.port.map(|port| App {
            addr: SocketAddr::new(self.app_address, port),
            protocol: self.app_protocol,
            forwarded: self.forwarded,
            ready_within: self.app_ready,
        });
        let ingress = IngressConfig {
            listen: self.ingress.clone(),
            certificates: self.certificates.clone(),
            https_redirect: self.https_redirect.0,
            passthrough: self.passthrough.clone(),
        }
        .checked()?;
        let others = self.transparent.or(self.sni);
        if app.is_none()
            && self.outbound.0.is_none()
            && self.upstreams.is_empty()
            && others.is_none()
            && ingress.listen.is_empty()
        {
            return Err(ShimError::configuration(
                "nothing to do: no --port to take requests in, no outbound listener",
                "give --port, --outbound, --upstream or --ingress",
            ));
        }
        Ok(Application {
            app,
            inbound: self.inbound,
            advertise: self.advertise,
            outbound: self.outbound.0,
            upstreams: self.upstreams.clone(),
            transparent: self.transparent,
            sni: self.sni,
            ingress,
            join: self.join().of(&service),
            service,
        })
    }

    /// Those of `--app`.
    pub(super) fn applications(
        &self,
        command: &[OsString],
        said: &[(String, String)],
    ) -> Result<Vec<Application>, ShimError> {
        let next = "give each application what is its own in its --app, as in \
                    --app shop/web=9000,outbound=7150";
        if !command.is_empty() {
            let what = "--app with `run`: only one application is started";
            return Err(ShimError::configuration(what, next));
        }
        // Of one application, so of none in particular.
        if let Some((long, from)) = said.iter().find(|(long, _)| ONE.contains(&long.as_str())) {
            let what = format!("--{long} ({from}) with --app: whose is it?");
            return Err(ShimError::configuration(what, next));
        }
        for (variable, why) in [
            (
                "MESH_ADMIN",
                "each application would open it; --health and --metrics are there",
            ),
            (
                "OTEL_SERVICE_NAME",
                "the spans of all applications would have one name",
            ),
        ] {
            if std::env::var_os(variable).is_some_and(|value| !value.is_empty()) {
                return Err(ShimError::configuration(
                    format!("{variable} with --app: {why}"),
                    format!("unset {variable}"),
                ));
            }
        }
        Given {
            address: self.app_address,
            protocol: self.app_protocol,
            forwarded: self.forwarded,
            ready_within: self.app_ready,
            join: self.join(),
        }
        .applications(self.apps.clone())
    }

    fn join(&self) -> JoinOptions {
        JoinOptions {
            control: given(&self.control),
            identity: given(&self.identity),
            policy: given(&self.policy),
            state: given(&self.state),
        }
    }
}

/// An empty variable says nothing.
fn given(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}
