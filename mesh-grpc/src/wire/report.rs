//! What processes measure.

use mesh_core::report::{
    EdgeReport, EndpointHealth, EndpointReport, Histogram, InboundReport, PlaintextSource, Report,
};

use super::WireError;
use crate::pb::control as pb;

/// A report as it travels; who reports, when and what it holds is for the caller to add.
pub fn report_to_proto(report: &Report) -> pb::ReportRequest {
    pb::ReportRequest {
        edges: report.edges.iter().map(edge_to_proto).collect(),
        endpoints: report
            .endpoints
            .iter()
            .map(endpoint_report_to_proto)
            .collect(),
        inbound: report.inbound.iter().map(inbound_to_proto).collect(),
        plaintext_peers: report.plaintext_peers,
        plaintext_sources: report
            .plaintext_sources
            .iter()
            .map(source_to_proto)
            .collect(),
        ..Default::default()
    }
}

/// A report that arrived.
pub fn report_from_proto(wire: pb::ReportRequest) -> Result<Report, WireError> {
    Ok(Report {
        edges: wire.edges.into_iter().map(edge_from_proto).collect(),
        endpoints: wire
            .endpoints
            .into_iter()
            .map(endpoint_report_from_proto)
            .collect::<Result<_, _>>()?,
        inbound: wire.inbound.into_iter().map(inbound_from_proto).collect(),
        plaintext_peers: wire.plaintext_peers,
        plaintext_sources: wire
            .plaintext_sources
            .into_iter()
            .map(source_from_proto)
            .collect::<Result<_, _>>()?,
    })
}

/// An edge as it travels.
pub fn edge_to_proto(edge: &EdgeReport) -> pb::EdgeReport {
    let (index, count) = edge
        .latency
        .filled()
        .map(|(ix, n)| (u32::try_from(ix).unwrap_or(u32::MAX), n))
        .unzip();
    pb::EdgeReport {
        to: edge.to.clone(),
        route: edge.route.clone(),
        calls: edge.calls,
        failures: edge.failures,
        retries: edge.retries,
        rescued: edge.rescued,
        codes: edge.codes.clone(),
        latency: Some(pb::Histogram { index, count }),
        mtls: edge.mtls,
    }
}

/// An edge that arrived. Buckets that do not exist are dropped.
pub fn edge_from_proto(wire: pb::EdgeReport) -> EdgeReport {
    let latency = wire.latency.unwrap_or_default();
    let filled = latency
        .index
        .into_iter()
        .map(|ix| ix as usize)
        .zip(latency.count);
    EdgeReport {
        to: wire.to,
        route: wire.route,
        calls: wire.calls,
        failures: wire.failures,
        retries: wire.retries,
        rescued: wire.rescued,
        codes: wire.codes,
        latency: Histogram::from_filled(filled),
        mtls: wire.mtls,
    }
}

/// An endpoint's state as it travels.
pub fn endpoint_report_to_proto(endpoint: &EndpointReport) -> pb::EndpointReport {
    let state = match endpoint.state {
        EndpointHealth::Available => pb::EndpointHealth::Available,
        EndpointHealth::Ejected => pb::EndpointHealth::Ejected,
        EndpointHealth::Probing => pb::EndpointHealth::Probing,
        EndpointHealth::Unreachable => pb::EndpointHealth::Unreachable,
        EndpointHealth::Unhealthy => pb::EndpointHealth::Unhealthy,
    };
    pb::EndpointReport {
        service: endpoint.service.clone(),
        addr: endpoint.addr.to_string(),
        state: state.into(),
        reason: endpoint.reason.clone().unwrap_or_default(),
        in_flight: endpoint.in_flight,
        ewma_us: endpoint.ewma_us,
        calls: endpoint.calls,
        failures: endpoint.failures,
        last_code: endpoint.last_code.clone().unwrap_or_default(),
    }
}

/// An endpoint's state that arrived.
pub fn endpoint_report_from_proto(wire: pb::EndpointReport) -> Result<EndpointReport, WireError> {
    let bad = || WireError::new(format!("`{}` is no address", wire.addr)).at("endpoints.addr");
    let state = match wire.state() {
        pb::EndpointHealth::Available => EndpointHealth::Available,
        pb::EndpointHealth::Ejected => EndpointHealth::Ejected,
        pb::EndpointHealth::Probing => EndpointHealth::Probing,
        pb::EndpointHealth::Unreachable => EndpointHealth::Unreachable,
        pb::EndpointHealth::Unhealthy => EndpointHealth::Unhealthy,
    };
    Ok(EndpointReport {
        addr: wire.addr.parse().map_err(|_| bad())?,
        service: wire.service,
        state,
        reason: (!wire.reason.is_empty()).then_some(wire.reason),
        in_flight: wire.in_flight,
        ewma_us: wire.ewma_us,
        calls: wire.calls,
        failures: wire.failures,
        last_code: (!wire.last_code.is_empty()).then_some(wire.last_code),
    })
}

fn inbound_to_proto(inbound: &InboundReport) -> pb::InboundReport {
    pb::InboundReport {
        from: inbound.from.clone(),
        calls: inbound.calls,
        failures: inbound.failures,
        denied: inbound.denied,
        codes: inbound.codes.clone(),
        routed: inbound.routed.clone(),
        unrouted: inbound.unrouted,
    }
}

fn source_to_proto(source: &PlaintextSource) -> pb::PlaintextSource {
    pb::PlaintextSource {
        source: source.source.to_string(),
        connections: source.connections,
        calls: source.calls,
    }
}

fn inbound_from_proto(wire: pb::InboundReport) -> InboundReport {
    InboundReport {
        from: wire.from,
        calls: wire.calls,
        failures: wire.failures,
        denied: wire.denied,
        codes: wire.codes,
        routed: wire.routed,
        unrouted: wire.unrouted,
    }
}

fn source_from_proto(wire: pb::PlaintextSource) -> Result<PlaintextSource, WireError> {
    let bad =
        |_: std::net::AddrParseError| WireError::new(format!("`{}` is no address", wire.source));
    Ok(PlaintextSource {
        source: wire
            .source
            .parse()
            .map_err(|error| bad(error).at("plaintext_sources.source"))?,
        connections: wire.connections,
        calls: wire.calls,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_report_survives_the_wire() {
        let mut latency = Histogram::default();
        for ms in [1, 5, 5, 900] {
            latency.record(Duration::from_millis(ms));
        }
        let report = Report {
            edges: vec![EdgeReport {
                to: "shop/reviews".into(),
                route: "reviews".into(),
                calls: 4,
                failures: 1,
                retries: 2,
                rescued: 1,
                codes: [("M2003".to_owned(), 1)].into(),
                latency,
                mtls: true,
            }],
            endpoints: vec![EndpointReport {
                service: "shop/reviews".into(),
                addr: ([127, 0, 0, 1], 8080).into(),
                state: EndpointHealth::Ejected,
                reason: Some("5 errors in a row".into()),
                in_flight: 1,
                ewma_us: 1500,
                calls: 9,
                failures: 5,
                last_code: Some("503".into()),
            }],
            inbound: vec![InboundReport {
                from: "plaintext".into(),
                calls: 3,
                denied: 1,
                routed: [("shop/a;route=b;backend=c".into(), 2)].into(),
                unrouted: 1,
                ..Default::default()
            }],
            plaintext_sources: vec![PlaintextSource {
                source: [10, 0, 0, 7].into(),
                connections: 1,
                calls: 2,
            }],
            plaintext_peers: 2,
        };
        assert_eq!(report_from_proto(report_to_proto(&report)), Ok(report));
    }
}
