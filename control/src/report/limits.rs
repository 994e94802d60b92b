//! Limits on what reports can make the server keep.

use std::fmt;
use std::net::SocketAddr;

use mesh_core::name::ServiceName;
use mesh_grpc::pb::control as pb;

/// Largest report that is read.
pub(crate) const MAX_REPORT_BYTES: usize = 1 << 20;
/// Edges kept: those of 200 services with three callers each. An edge with an hour of slots is at
/// most 250 KiB, so all are below 150 MiB; a usual one is a tenth of that.
pub(super) const MAX_EDGES: usize = 600;
/// Endpoint views kept (endpoint times client process), about 500 bytes each.
pub(super) const MAX_VIEWS: usize = 20_000;
/// Triples of service, process and caller kept, about 1 KiB each.
pub(super) const MAX_INBOUND: usize = 10_000;
/// Stamps kept of one of these in one second; a process tells 64 apart, and the rest.
pub(super) const MAX_STAMPS: usize = 66;
/// Pairs of service and address kept of plaintext.
pub(super) const MAX_STRANGERS: usize = 2_000;
/// Processes kept.
pub(super) const MAX_PROCESSES: usize = 5_000;
/// Codes kept of an edge.
pub(super) const MAX_CODES: usize = 32;
/// Entries of one list of one report.
const MAX_ENTRIES: usize = 1_000;
/// Longest name; a SPIFFE id may be longer.
const MAX_NAME: usize = 253;
const MAX_TEXT: usize = 2_048;

/// Why a report was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReportError(&'static str);

impl fmt::Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the report was not taken: {}", self.0)
    }
}

impl std::error::Error for ReportError {}

/// Whether a report has bounded size and names things that can be.
pub(crate) fn check(report: &pb::ReportRequest) -> Result<(), ReportError> {
    let counts = [
        report.edges.len(),
        report.endpoints.len(),
        report.inbound.len(),
        report.plaintext_sources.len(),
    ];
    if counts.iter().any(|count| *count > MAX_ENTRIES) {
        return Err(ReportError("more than 1000 entries in one list"));
    }
    let name = |text: &str| text.len() <= MAX_NAME && !text.chars().any(char::is_control);
    let text = |text: &str| text.len() <= MAX_TEXT;
    let service = |text: &str| ServiceName::parse(text, "default").is_ok();
    let stamps = |each: &pb::InboundReport| {
        each.routed.len() <= MAX_STAMPS && each.routed.keys().all(|stamp| text(stamp))
    };
    if !name(&report.instance) {
        return Err(ReportError("the name of the process is too long"));
    }
    for edge in &report.edges {
        if !service(&edge.to) || !name(&edge.route) {
            return Err(ReportError("an edge has no usable name"));
        }
        if edge.codes.len() > MAX_CODES || edge.codes.keys().any(|code| !name(code)) {
            return Err(ReportError("too many or too long codes"));
        }
        if edge
            .latency
            .as_ref()
            .is_some_and(|latency| latency.index.len() > MAX_ENTRIES)
        {
            return Err(ReportError("a histogram has more than 1000 buckets"));
        }
    }
    for endpoint in &report.endpoints {
        if !service(&endpoint.service) || endpoint.addr.parse::<SocketAddr>().is_err() {
            return Err(ReportError("an endpoint has no usable name or address"));
        }
        if !text(&endpoint.reason) || !name(&endpoint.last_code) {
            return Err(ReportError("an endpoint's reason is too long"));
        }
    }
    if report
        .inbound
        .iter()
        .any(|each| !text(&each.from) || each.codes.len() > MAX_CODES || !stamps(each))
    {
        return Err(ReportError("a caller's id is too long"));
    }
    Ok(())
}
