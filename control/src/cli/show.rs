//! `meshctl stat`, `endpoints`, `clients` and `events`: tables of what the server answers.

use std::collections::BTreeSet;
use std::time::SystemTime;

use mesh_grpc::pb::control as pb;
use serde::Serialize;

use super::args::{Format, Stat};
use super::connect;
use super::failure::Failure;
use super::output::Output;
use super::table::{Align, Table, micros, share, span};
use crate::events::unix_seconds;
use crate::view::{Client, Edge, Endpoint};

use Align::{Left, Right};

pub(super) async fn stat(
    control: &str,
    ask: &Stat,
    format: Format,
    out: &mut Output,
) -> Result<u8, Failure> {
    let mut admin = connect::admin(control).await?;
    let request = pb::StatRequest {
        from: ask.from.clone().unwrap_or_default(),
        to: ask.to.clone().unwrap_or_default(),
    };
    let answer = connect::ask(admin.stat(request)).await?;
    let window = answer.window_seconds;
    let edges: Vec<Edge> = answer
        .rows
        .into_iter()
        .map(|row| Edge::new(row, window))
        .collect();
    match format {
        Format::Json => out.json(&edges),
        Format::Text => out.text(&edge_table(&edges, ask.to.is_some())),
    }
    Ok(0)
}

/// Edges; the destination has no column when only one was asked for.
pub(super) fn edge_table(edges: &[Edge], one_destination: bool) -> String {
    if edges.is_empty() {
        return "no calls in the last 10s\n".to_owned();
    }
    let mut heads = vec![
        ("FROM", Left),
        ("TO", Left),
        ("ROUTE", Left),
        ("CALLS/S", Right),
    ];
    heads.extend(
        [
            "SUCCESS", "P50", "P95", "P99", "RETRIED", "RESCUED", "EJECTED",
        ]
        .map(|h| (h, Right)),
    );
    heads.push(("mTLS", Left));
    if one_destination {
        heads.remove(1);
    }
    let short = Names::of(
        edges
            .iter()
            .flat_map(|edge| [edge.from.as_str(), edge.to.as_str()]),
    );
    let mut table = Table::new(&heads);
    let (mut calls, mut failures, mut rescued) = (0, 0, 0);
    for edge in edges {
        calls += edge.calls;
        failures += edge.failures;
        rescued += edge.rescued;
        let latency = |us: Option<u64>| us.map_or_else(|| "-".to_owned(), micros);
        let mut cells = vec![short.name(&edge.from)];
        if !one_destination {
            cells.push(short.name(&edge.to));
        }
        cells.extend([
            if edge.route.is_empty() {
                "(none)".to_owned()
            } else {
                edge.route.clone()
            },
            format!("{:.1}", edge.calls_per_second),
            share(edge.calls.saturating_sub(edge.failures), edge.calls, 2),
            latency(edge.p50_us),
            latency(edge.p95_us),
            latency(edge.p99_us),
            share(edge.retries, edge.calls, 1),
            if edge.retries == 0 {
                "-".to_owned()
            } else {
                share(edge.rescued, edge.calls, 1)
            },
            format!("{}/{}", edge.ejected, edge.endpoints),
            if edge.mtls { "yes" } else { "NO" }.to_owned(),
        ]);
        table.row(cells);
    }
    let mut text = table.render();
    if rescued > 0 {
        let without = calls.saturating_sub(failures).saturating_sub(rescued);
        text.push_str(&format!(
            "\"rescued\" = failed at least once, then succeeded. Without retries success would be {}.\n",
            share(without, calls, 2)
        ));
    }
    text
}

pub(super) async fn endpoints(
    control: &str,
    service: &str,
    format: Format,
    out: &mut Output,
) -> Result<u8, Failure> {
    let mut admin = connect::admin(control).await?;
    let request = pb::EndpointsRequest {
        service: service.to_owned(),
    };
    let answer = connect::ask(admin.endpoints(request)).await?;
    let rows: Vec<Endpoint> = answer.rows.into_iter().map(Endpoint::from).collect();
    match format {
        Format::Json => out.json(&rows),
        Format::Text if rows.is_empty() && !service.is_empty() => {
            return Err(Failure::findings(
                format!("no live endpoint of {service}, and no client that uses one"),
                "meshctl endpoints lists all; an instance appears when it has joined and serves",
            ));
        }
        Format::Text => out.text(&endpoint_table(&rows)),
    }
    Ok(0)
}

pub(super) fn endpoint_table(rows: &[Endpoint]) -> String {
    if rows.is_empty() {
        return "no live endpoints\n".to_owned();
    }
    let short = Names::of(rows.iter().map(|row| row.service.as_str()));
    let mut table = Table::new(&[
        ("SERVICE", Left),
        ("ADDRESS", Left),
        ("INSTANCE", Left),
        ("LABELS", Left),
        ("STATE", Left),
        ("CALLS", Right),
        ("FAILED", Right),
        ("LATENCY", Right),
        ("LEASE", Right),
        ("WHY", Left),
    ]);
    for row in rows {
        let labels: Vec<_> = row
            .labels
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let calls = row.views.iter().map(|view| view.calls).sum();
        let failures = row.views.iter().map(|view| view.failures).sum();
        let latency = row
            .views
            .iter()
            .map(|view| view.latency_us)
            .max()
            .filter(|us| *us > 0);
        table.row([
            short.name(&row.service),
            row.addr.clone(),
            row.instance.clone(),
            labels.join(","),
            row.state(),
            calls_text(calls),
            share(failures, calls, 1),
            latency.map_or_else(|| "-".to_owned(), micros),
            row.lease_left_seconds
                .map_or_else(|| "-".to_owned(), |left| span(left.into())),
            row.why(),
        ]);
    }
    table.render()
}

pub(super) async fn clients(
    control: &str,
    format: Format,
    out: &mut Output,
) -> Result<u8, Failure> {
    #[derive(Serialize)]
    struct Answer {
        revision: String,
        clients: Vec<Client>,
    }
    let mut admin = connect::admin(control).await?;
    let answer = connect::ask(admin.clients(pb::ClientsRequest::default())).await?;
    let clients = answer.rows.into_iter().map(Client::from).collect();
    let answer = Answer {
        revision: answer.revision,
        clients,
    };
    match format {
        Format::Json => out.json(&answer),
        Format::Text => {
            let now = unix_seconds(SystemTime::now());
            out.text(&client_table(&answer.clients, &answer.revision, now));
        }
    }
    Ok(0)
}

pub(super) fn client_table(clients: &[Client], revision: &str, now_unix: i64) -> String {
    let mut text = if clients.is_empty() {
        "no clients connected\n".to_owned()
    } else {
        let short = Names::of(clients.iter().map(|client| client.service.as_str()));
        let mut table = Table::new(&[
            ("SERVICE", Left),
            ("INSTANCE", Left),
            ("ADDRESS", Left),
            ("CONNECTED", Right),
            ("REVISION", Left),
            ("STATE", Left),
        ]);
        for client in clients {
            let age = u64::try_from(now_unix - client.connected_since_unix).unwrap_or(0);
            table.row([
                short.name(&client.service),
                client.instance.clone(),
                client.addr.clone(),
                span(age),
                if client.revision.is_empty() {
                    "-".to_owned()
                } else {
                    client.revision.clone()
                },
                client.state().to_owned(),
            ]);
        }
        table.render()
    };
    for client in clients {
        for refusal in &client.refused {
            let error: String = refusal
                .error
                .chars()
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            text.push_str(&format!(
                "{} {} refused {}: {error} [M5002]\n",
                client.service, client.instance, refusal.kind
            ));
        }
    }
    text.push_str(&format!("revision in force: {revision}\n"));
    text
}

pub(super) async fn events(
    control: &str,
    limit: u32,
    format: Format,
    out: &mut Output,
) -> Result<u8, Failure> {
    #[derive(Serialize)]
    struct Row {
        number: u64,
        at_unix_ms: i64,
        kind: String,
        subject: String,
        message: String,
        code: String,
    }
    let mut admin = connect::admin(control).await?;
    let answer = connect::ask(admin.events(pb::EventsRequest { after: 0, limit })).await?;
    let rows: Vec<Row> = answer
        .events
        .into_iter()
        .map(|event| Row {
            number: event.number,
            at_unix_ms: event.at_unix_ms,
            kind: event.kind,
            subject: event.subject,
            message: event.message,
            code: event.code,
        })
        .collect();
    if format == Format::Json {
        out.json(&rows);
        return Ok(0);
    }
    let now = unix_seconds(SystemTime::now());
    let mut table = Table::new(&[
        ("AGO", Right),
        ("KIND", Left),
        ("CODE", Left),
        ("SUBJECT", Left),
        ("WHAT", Left),
    ]);
    for row in rows {
        let age = span(u64::try_from(now - row.at_unix_ms / 1000).unwrap_or(0));
        table.row([age, row.kind, row.code, row.subject, row.message]);
    }
    out.text(&table.render());
    Ok(0)
}

fn calls_text(calls: u64) -> String {
    if calls == 0 {
        "-".to_owned()
    } else {
        calls.to_string()
    }
}

/// How services are written in one table: bare names while all are of one namespace.
struct Names {
    bare: bool,
}

impl Names {
    fn of<'a>(services: impl Iterator<Item = &'a str>) -> Self {
        let namespaces: BTreeSet<&str> = services
            .filter_map(|name| name.split_once('/'))
            .map(|(namespace, _)| namespace)
            .collect();
        Self {
            bare: namespaces.len() <= 1,
        }
    }

    fn name(&self, service: &str) -> String {
        match service.split_once('/') {
            Some((_, name)) if self.bare => name.to_owned(),
            Some((namespace, name)) => format!("{name}.{namespace}"),
            None => service.to_owned(),
        }
    }
}
