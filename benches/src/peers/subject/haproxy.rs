//! haproxy, one thread; Debian's package `haproxy`.

use std::net::SocketAddr;

use super::{Missing, Places, Running, backend, installed};
use mesh_tower::testkit::free_port;

use crate::peers::cores;
use crate::peers::process::{self, Process};
use crate::peers::scenario::{Scenario, Traffic};

pub(super) fn start(scenario: Scenario, places: &Places<'_>) -> Result<Running, Missing> {
    let haproxy = installed("haproxy", "MESH_PEERS_HAPROXY")?;
    let mode = match scenario {
        Scenario::Tcp => "tcp",
        _ => "http",
    };
    let h2 = scenario.traffic() == Traffic::Grpc;
    let spawn = |name: &str, addr: SocketAddr, bind: &str, to: &[SocketAddr], server: &str| {
        let servers: String = to
            .iter()
            .enumerate()
            .map(|(ix, addr)| format!("  server s{ix} {addr} {server}\n"))
            .collect();
        let text = format!(
            "global\n  nbthread 1\n  maxconn 8000\n\
             defaults\n  mode {mode}\n  timeout connect 1s\n  timeout client 60s\n  timeout server 15s\n  timeout tunnel 60s\n\
             listen answers\n  bind {addr} {bind}\n  balance leastconn\n{servers}"
        );
        let path = places.files.write(&format!("{name}.cfg"), &text)?;
        let path = path.display().to_string();
        let log = places.files.path(&format!("{name}.log"));
        let mut one = process::start(cores::SUBJECT, &haproxy, ["-db", "-f", &path], &log)?;
        one.wait_for(addr)?;
        Ok::<Process, std::io::Error>(one)
    };
    let plain = if h2 { "proto h2" } else { "" };
    let backends = backend(scenario, places);
    let addr = free_port()?;
    let processes = if scenario.is_pair() {
        let between = free_port()?;
        let tls = |own: &str| {
            let path = |name: &str| places.files.path(&format!("{own}/{name}.pem"));
            format!(
                "ssl crt {} ca-file {} verify required alpn {}",
                path("both").display(),
                path("roots").display(),
                if h2 { "h2" } else { "http/1.1" }
            )
        };
        let second = spawn("haproxy-in", between, &tls("server"), &backends[..1], plain)?;
        let first = spawn("haproxy-out", addr, plain, &[between], &tls("client"))?;
        vec![first, second]
    } else {
        vec![spawn("haproxy", addr, plain, &backends, plain)?]
    };
    Ok(Running { addr, processes })
}
