//! `mesh-shim`, one worker, with a policy from a file.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Missing, Places, Running, backend};
use crate::peers::files::SERVER;
use mesh_tower::testkit::free_port;

use crate::peers::cores;
use crate::peers::process::{self, Process};
use crate::peers::scenario::{Scenario, Traffic};

/// Retries, timeouts and ejection as the compared proxies have them; the rest by default.
const POLICY: &str = "\
service: bench/answers:8080
route:
- timeout: 15s
  retry: { attempts: 1, codes: [502, 503, 504] }
backend:
  outlierDetection: { consecutiveErrors: 5 }
access:
  mode: Enforce
  allow: [{ from: web }]
";

pub(super) fn start(scenario: Scenario, places: &Places<'_>) -> Result<Running, Missing> {
    let shim = places
        .own
        .parent()
        .map(|dir| dir.join("mesh-shim"))
        .filter(|path| path.is_file())
        .ok_or(Missing::NotInstalled)?;
    let backends = backend(scenario, places);
    if !scenario.is_pair() {
        let addr = free_port()?;
        let policy = policy(places, "outbound", &backends, None)?;
        let scheme = match scenario.traffic() {
            Traffic::Tcp => "tcp://",
            _ => "",
        };
        let upstream = format!("{scheme}answers.bench:8080={addr}");
        let own = ["--as", "bench/web", "--upstream", &upstream];
        let mut one = spawn(&shim, places, "outbound", &own, policy)?;
        one.wait_for(addr)?;
        return Ok(Running {
            addr,
            processes: vec![one],
        });
    }
    let (addr, between) = (free_port()?, free_port()?);
    let identity = |name| format!("dir:{}", places.files.path(name).display());

    let listen = between.to_string();
    let port = backends[0].port().to_string();
    let protocol = match scenario.traffic() {
        Traffic::Grpc => "grpc",
        _ => "http",
    };
    let server = identity("server");
    let own = [
        "--as",
        "bench/answers",
        "--identity",
        &server,
        "--port",
        &port,
        "--app-protocol",
        protocol,
        "--inbound",
        &listen,
    ];
    let inbound = policy(places, "inbound", &[], None)?;
    let mut second = spawn(&shim, places, "inbound", &own, inbound)?;
    second.wait_for(between)?;

    let client = identity("client");
    let upstream = format!("answers.bench:8080={addr}");
    let own = [
        "--as",
        "bench/web",
        "--identity",
        &client,
        "--upstream",
        &upstream,
    ];
    let outbound = policy(places, "outbound", &[between], Some(SERVER))?;
    let mut first = spawn(&shim, places, "outbound", &own, outbound)?;
    first.wait_for(addr)?;
    Ok(Running {
        addr,
        processes: vec![first, second],
    })
}

fn policy(
    places: &Places<'_>,
    name: &str,
    endpoints: &[SocketAddr],
    identity: Option<&str>,
) -> std::io::Result<PathBuf> {
    let identity = identity.map_or(String::new(), |id| format!(", identity: \"{id}\""));
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|addr| format!("{{ address: \"{addr}\"{identity} }}"))
        .collect();
    let endpoints = format!("endpoints: {{ static: [{}] }}\n", endpoints.join(", "));
    let text = format!("{POLICY}{endpoints}---\nservice: bench/web\n");
    places.files.write(&format!("shim-{name}.yaml"), &text)
}

fn spawn(
    shim: &std::path::Path,
    places: &Places<'_>,
    name: &str,
    own: &[&str],
    policy: PathBuf,
) -> std::io::Result<Process> {
    let mut args: Vec<String> = own.iter().map(|&arg| arg.to_owned()).collect();
    for (flag, value) in [
        ("--policy", policy.display().to_string()),
        ("--outbound", "off".to_owned()),
        ("--health", "0".to_owned()),
        ("--metrics", "0".to_owned()),
        ("--workers", "1".to_owned()),
        ("--drain-unready", "0s".to_owned()),
        ("--drain-in-flight", "1s".to_owned()),
    ] {
        args.extend([flag.to_owned(), value]);
    }
    process::start(
        cores::SUBJECT,
        shim,
        args,
        &places.files.path(&format!("shim-{name}.log")),
    )
}
