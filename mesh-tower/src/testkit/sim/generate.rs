//! Makes the calls of a load.

use std::sync::Arc;
use std::time::Duration;

use http::Request;
use http_body_util::BodyExt;
use tokio::sync::watch;
use tower_service::Service as _;

use super::Load;
use super::outcome::Call;
use super::record::Record;
use super::run::LOOK;
use crate::body::MeshBody;
use crate::client::MeshClient;

/// Makes the calls of one load until `end`, and waits for them.
pub(super) async fn generate(
    record: Arc<Record>,
    index: usize,
    load: Load,
    clients: Vec<(String, MeshClient)>,
    rate: watch::Receiver<f64>,
    end: Duration,
    mut rng: fastrand::Rng,
) {
    let mut calls = tokio::task::JoinSet::new();
    // Exact, so that a rate that is no whole number of milliseconds is kept on the average.
    let mut next = load.between.0;
    let mut turn = 0_usize;
    while next < end {
        tokio::time::sleep_until(record.start + next).await;
        let now = *rate.borrow();
        if now <= 0.0 {
            next += LOOK;
            continue;
        }
        next += load.gap(now, &mut rng);
        while calls.try_join_next().is_some() {}
        if calls.len() >= load.most {
            record.line("load generator: too many calls in flight, one left out");
            continue;
        }
        let (from, client) = &clients[turn % clients.len()];
        turn += 1;
        let call = call(
            record.clone(),
            index,
            load.clone(),
            from.clone(),
            client.clone(),
        );
        calls.spawn(call);
    }
    while calls.join_next().await.is_some() {}
}

async fn call(record: Arc<Record>, index: usize, load: Load, from: String, mut client: MeshClient) {
    let at = record.now();
    let mut request = Request::new(MeshBody::empty());
    *request.method_mut() = load.method.clone();
    if let Ok(uri) = load.path.parse() {
        *request.uri_mut() = uri;
    }
    for (name, value) in &load.headers {
        request.headers_mut().append(name, value.clone());
    }
    let (end, good) = match client.call(request).await {
        Ok(response) => {
            let status = response.status();
            match response.into_body().collect().await {
                Ok(_) => (status.as_u16().to_string(), !status.is_server_error()),
                Err(_) => ("broken".to_owned(), false),
            }
        }
        Err(error) => (error.code().to_string(), false),
    };
    let took = record.now().saturating_sub(at);
    record.line(&format!(
        "{from} {} {} {end} {took:?}",
        load.method, load.path
    ));
    record.seen().calls.push(Call {
        at,
        took,
        load: index,
        end,
        good,
    });
}
