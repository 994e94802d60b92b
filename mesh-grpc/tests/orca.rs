//! ORCA (gRFC A51, A58) over real sockets: servers of tonic report their load without a line of the
//! application, and the client shifts weight by it.

#![allow(clippy::print_stdout, reason = "the figures are what the tests show")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use mesh_tower::load_report::LoadReports;
use mesh_tower::{Mesh, MeshBody, server::ServerHandle};
use support::{
    SOON,
    echo::{
        Echo,
        pb::{Say, echo_client::EchoClient, echo_server::EchoServer},
    },
    soon,
};

/// Weights by load, known after a second.
const POLICY: &str = "service: shop/echo
backend:
  loadBalancing: { algorithm: ClientWeighted, orca: { blackout: 1s, period: 100ms } }
";

fn say() -> Say {
    Say {
        text: "hello".into(),
        count: 0,
    }
}

#[tokio::test]
async fn a58_a_tonic_server_reports_its_load_without_application_code() {
    let mesh = Mesh::builder("shop/echo").build().unwrap();
    let server = mesh.server().bind("127.0.0.1:0").unwrap();
    let server = server.serve(EchoServer::new(Echo)).unwrap();
    let web = |policy: &str| {
        let web = Mesh::builder("shop/web").policy_text(policy);
        web.endpoints("echo.shop", [server.local_addr()])
            .build()
            .unwrap()
    };
    // It is the client's balancer that asks; who does not balance by load pays nothing.
    for (policy, asked) in [(POLICY, true), ("", false)] {
        let web = web(policy);
        let mut client = EchoClient::new(web.client("echo.shop"));
        let start = std::time::Instant::now();
        // Rates are those of the last second: nothing to tell in the first.
        let (answer, report) = loop {
            let answer = soon("answer", client.unary(say())).await.unwrap();
            let report = answer.metadata().get_bin("endpoint-load-metrics-bin");
            let report = report.map(|value| value.to_bytes().unwrap());
            if report.as_ref().is_none_or(|bytes| !bytes.is_empty()) {
                break (answer, report);
            }
            assert!(start.elapsed() < SOON, "only empty reports");
        };
        println!("asked {asked}: {report:?}");
        assert_eq!(report.is_some(), asked, "{:?}", answer.metadata());
    }
}

/// A tonic server on a machine on which a call costs so much of its capacity.
struct Machine {
    server: ServerHandle,
    calls: Arc<AtomicU64>,
    _load: tokio::task::JoinHandle<()>,
}

/// Counts before the application.
#[derive(Clone)]
struct Counting(EchoServer<Echo>, Arc<AtomicU64>);

impl tower_service::Service<Request<MeshBody>> for Counting {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = <EchoServer<Echo> as tower_service::Service<Request<MeshBody>>>::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<MeshBody>) -> Self::Future {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.call(request)
    }
}

fn machine(cost: f64) -> Machine {
    let mesh = Mesh::builder("shop/echo").build().unwrap();
    let (reports, calls) = (LoadReports::new(), Arc::<AtomicU64>::default());
    let server = mesh.server().load_reports(reports.clone());
    let server = server.bind("127.0.0.1:0").unwrap();
    let service = Counting(EchoServer::new(Echo), calls.clone());
    let server = server.serve(service).unwrap();
    // All servers of this test share their processors: what differs is told by the machine.
    let counted = calls.clone();
    let load = tokio::spawn(async move {
        let (mut before, mut rate) = (0, 0.0_f64);
        loop {
            // How often the load is measured.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let now = counted.load(Ordering::Relaxed);
            rate = rate * 0.9 + (now - before) as f64;
            before = now;
            reports.set_application_utilization((rate * cost).max(0.001));
        }
    });
    Machine {
        server,
        calls,
        _load: load,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a58_a_machine_on_which_calls_cost_three_times_as_much_gets_a_quarter() {
    let machines = [machine(0.0002), machine(0.0006)];
    let web = Mesh::builder("shop/web").policy_text(POLICY);
    let web = web.endpoints(
        "echo.shop",
        machines.iter().map(|one| one.server.local_addr()),
    );
    let web = web.build().unwrap();
    let mut client = EchoClient::new(web.client("echo.shop"));
    let counts = || {
        machines
            .each_ref()
            .map(|one| one.calls.load(Ordering::Relaxed))
    };
    let start = std::time::Instant::now();
    let share = loop {
        let before = counts();
        for _ in 0..400 {
            soon("answer", client.unary(say())).await.unwrap();
        }
        let after = counts();
        let share = (after[0] - before[0]) as f64 / 4.0;
        // Three quarters; what is measured in a second on a busy machine is not exact.
        if (68.0..82.0).contains(&share) {
            break share;
        }
        assert!(start.elapsed() < 3 * SOON, "{share} % at the cheaper one");
    };
    let took = start.elapsed();
    println!("{share:.1} % of calls at the machine with a third of the cost, after {took:.1?}");
    assert!(
        took >= Duration::from_secs(1),
        "not before the blackout is over"
    );
}
