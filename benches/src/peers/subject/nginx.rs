//! nginx, one worker; Debian's package `nginx`.

use std::net::SocketAddr;

use super::{Missing, Places, Running, backend, installed};
use mesh_tower::testkit::free_port;

use crate::peers::cores;
use crate::peers::process::{self, Process};
use crate::peers::scenario::{Scenario, Traffic};

pub(super) fn start(scenario: Scenario, places: &Places<'_>) -> Result<Running, Missing> {
    if scenario == Scenario::Tcp {
        return Err(Missing::CannotDo("its stream module is another package"));
    }
    let nginx = installed("nginx", "MESH_PEERS_NGINX")?;
    let grpc = scenario.traffic() == Traffic::Grpc;
    let spawn = |name: &str, addr: SocketAddr, own: Tls, to: &[SocketAddr], peer: Tls| {
        let text = configuration(name, places, grpc, addr, own, to, peer);
        let path = places.files.write(&format!("{name}.conf"), &text)?;
        let path = path.display().to_string();
        let log = places.files.path(&format!("{name}.log"));
        let mut one = process::start(cores::SUBJECT, &nginx, ["-c", &path], &log)?;
        one.wait_for(addr)?;
        Ok::<Process, std::io::Error>(one)
    };
    let backends = backend(scenario, places);
    let addr = free_port()?;
    let processes = if scenario.is_pair() {
        let between = free_port()?;
        let second = spawn("nginx-in", between, Tls::On, &backends[..1], Tls::Off)?;
        let first = spawn("nginx-out", addr, Tls::Off, &[between], Tls::On)?;
        vec![first, second]
    } else {
        vec![spawn("nginx", addr, Tls::Off, &backends, Tls::Off)?]
    };
    Ok(Running { addr, processes })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    On,
    Off,
}

fn configuration(
    name: &str,
    places: &Places<'_>,
    grpc: bool,
    addr: SocketAddr,
    own: Tls,
    to: &[SocketAddr],
    peer: Tls,
) -> String {
    let file = |own: &str, name: &str| {
        let path = places.files.path(&format!("{own}/{name}.pem"));
        path.display().to_string()
    };
    let listen = match (own, grpc) {
        (Tls::On, true) => "ssl http2",
        (Tls::On, false) => "ssl",
        (Tls::Off, true) => "http2",
        (Tls::Off, false) => "",
    };
    let server_tls = match own {
        Tls::On => format!(
            "ssl_protocols TLSv1.3; ssl_certificate {}; ssl_certificate_key {}; \
             ssl_client_certificate {}; ssl_verify_client on;",
            file("server", "cert"),
            file("server", "key"),
            file("server", "roots")
        ),
        Tls::Off => String::new(),
    };
    let word = if grpc { "grpc" } else { "proxy" };
    // It checks no URI name: the chain alone.
    let client_tls = match peer {
        Tls::On => format!(
            "{word}_ssl_protocols TLSv1.3; {word}_ssl_certificate {}; {word}_ssl_certificate_key {};",
            file("client", "cert"),
            file("client", "key")
        ),
        Tls::Off => String::new(),
    };
    let pass = match (grpc, peer) {
        (true, Tls::On) => "grpc_pass grpcs://answers;",
        (true, Tls::Off) => "grpc_pass grpc://answers;",
        (false, Tls::On) => "proxy_pass https://answers;",
        (false, Tls::Off) => "proxy_pass http://answers;",
    };
    let http1 = if grpc {
        ""
    } else {
        "proxy_http_version 1.1; proxy_set_header Host $host; \
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;"
    };
    let servers: String = to.iter().map(|addr| format!("server {addr}; ")).collect();
    let dir = places.files.path(name).display().to_string();
    format!(
        "worker_processes 1; daemon off; pid {dir}.pid; error_log {dir}.errors warn;
worker_rlimit_nofile 20000;
events {{ worker_connections 10000; }}
http {{
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path {dir}.body; proxy_temp_path {dir}.proxy; fastcgi_temp_path {dir}.fastcgi;
  uwsgi_temp_path {dir}.uwsgi; scgi_temp_path {dir}.scgi;
  map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}
  upstream answers {{ {servers} keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen {addr} {listen}; {server_tls}
    location / {{ {pass} {http1} {client_tls} }}
  }}
}}
"
    )
}
