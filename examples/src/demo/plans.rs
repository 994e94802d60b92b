//! How each process of the shop is started.

use std::path::PathBuf;

use super::process::Plan;
use super::scratch::Scratch;
use super::shop::Shop;

impl Shop {
    pub(super) fn reviews_plan(&self, name: &str, version: &str) -> Plan {
        let seed = self.seed.to_string();
        self.plan(
            name,
            &[
                "reviews",
                "--name",
                name,
                "--release",
                version,
                "--seed",
                &seed,
            ],
        )
    }

    pub(super) fn legacy_plan(&self) -> Plan {
        let port = self.legacy_port.to_string();
        let script = self.scratch.path().join("stock.py");
        let script = script.to_string_lossy();
        self.plan(
            "legacy-stock",
            &["legacy", "--port", &port, "--script", &script],
        )
    }

    pub(super) fn plan(&self, name: &str, args: &[&str]) -> Plan {
        let state = self.scratch.path().join("state").join(name);
        Plan {
            name: name.to_owned(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env: vec![
                ("MESH_CONTROL", format!("https://{}", self.control_addr)),
                ("MESH_IDENTITY", format!("token:{}", self.token)),
                ("MESH_STATE", state.to_string_lossy().into_owned()),
            ],
            run: self.run.clone(),
            logs: self.scratch.path().join("logs"),
        }
    }
}

pub(super) fn control_plan(
    run: &str,
    scratch: &Scratch,
    logs: &std::path::Path,
    listen: u16,
    page: u16,
) -> Plan {
    let state: PathBuf = scratch.path().join("control");
    let args = ["control", "--state", &state.to_string_lossy()].map(str::to_owned);
    let ports = [
        "--listen".to_owned(),
        listen.to_string(),
        "--page".to_owned(),
        page.to_string(),
    ];
    Plan {
        name: "control".to_owned(),
        args: args.into_iter().chain(ports).collect(),
        env: Vec::new(),
        run: run.to_owned(),
        logs: logs.to_owned(),
    }
}

/// The unchanged application takes its port from `PORT` and cannot say which one it got.
pub(super) fn free_port() -> Result<u16, String> {
    mesh_tower::testkit::free_port()
        .map(|addr| addr.port())
        .map_err(|error| format!("no free port: {error}"))
}

/// Whether the legacy application can be the Python one.
pub(crate) fn has_python() -> bool {
    let run = std::process::Command::new("python3")
        .args(["-c", "import http.server, urllib.request"])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status();
    run.is_ok_and(|status| status.success())
}
