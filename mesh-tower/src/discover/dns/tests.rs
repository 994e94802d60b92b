//! Against a small DNS server on loopback.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, SRV};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

use super::{Dns, Resolver};
use crate::discover::Discover;
use crate::runtime::AbortOnDrop;

type Zone = Arc<Mutex<Vec<(&'static str, u32, RData)>>>;

struct Server {
    zone: Zone,
    resolver: Resolver,
    _task: AbortOnDrop,
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn a(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(10, 0, 0, last)))
}

fn at(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], port))
}

async fn server(records: Vec<(&'static str, u32, RData)>) -> Server {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let resolver = Resolver::with_server(socket.local_addr().expect("an address"));
    let zone = Arc::new(Mutex::new(records));
    let known = zone.clone();
    let task = AbortOnDrop::spawn(async move {
        let mut buffer = [0; 4096];
        while let Ok((n, from)) = socket.recv_from(&mut buffer).await {
            let Ok(query) = Message::from_vec(&buffer[..n]) else {
                continue;
            };
            let _ = socket.send_to(&answer(&query, &known), from).await;
        }
    });
    Server {
        zone,
        resolver: resolver.expect("a resolver"),
        _task: task,
    }
}

fn answer(query: &Message, zone: &Zone) -> Vec<u8> {
    let mut answer = Message::response(query.metadata.id, query.metadata.op_code);
    answer.metadata.recursion_desired = true;
    answer.metadata.recursion_available = true;
    answer.metadata.response_code = ResponseCode::NXDomain;
    for asked in &query.queries {
        answer.add_query(asked.clone());
        for (owner, ttl, data) in zone.lock().expect("a lock").iter() {
            if name(owner) != *asked.name() {
                continue;
            }
            answer.metadata.response_code = ResponseCode::NoError;
            let wanted =
                asked.query_type() == RecordType::ANY || asked.query_type() == data.record_type();
            if wanted {
                answer.add_answer(Record::from_rdata(name(owner), *ttl, data.clone()));
            }
        }
    }
    answer.to_vec().expect("an answer")
}

fn addrs(endpoints: &[mesh_core::balance::EndpointInfo]) -> Vec<SocketAddr> {
    endpoints.iter().map(|endpoint| endpoint.addr).collect()
}

#[tokio::test]
async fn addresses_come_sorted_and_with_the_port() {
    let server = server(vec![
        ("reviews.shop.", 60, a(2)),
        ("reviews.shop.", 60, a(1)),
        ("reviews.shop.", 60, RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
        ("six.shop.", 60, RData::AAAA(AAAA(Ipv6Addr::LOCALHOST))),
    ])
    .await;
    let dns = Dns::addresses("reviews.shop.", 80).with_resolver(server.resolver.clone());
    let (found, _) = dns.lookup().await.expect("found");
    assert_eq!(addrs(&found), [at(1, 80), at(2, 80)]);
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 80));
    let alternates: Vec<_> = found.iter().map(|endpoint| endpoint.alternate).collect();
    assert_eq!(
        alternates,
        [Some(six), None],
        "RFC 8305: one endpoint has both"
    );
    let dns = Dns::addresses("six.shop.", 80).with_resolver(server.resolver.clone());
    let (found, _) = dns.lookup().await.expect("found");
    assert_eq!((addrs(&found), found[0].alternate), (vec![six], None));
}

#[tokio::test]
async fn services_bring_ports_and_weights_of_the_first_priority() {
    let srv =
        |priority, weight, port, target| RData::SRV(SRV::new(priority, weight, port, name(target)));
    let server = server(vec![
        ("_http._tcp.reviews.shop.", 60, srv(1, 3, 8081, "one.shop.")),
        ("_http._tcp.reviews.shop.", 60, srv(1, 0, 8082, "two.shop.")),
        (
            "_http._tcp.reviews.shop.",
            60,
            srv(2, 9, 8083, "spare.shop."),
        ),
        ("one.shop.", 60, a(1)),
        ("two.shop.", 60, a(2)),
        ("spare.shop.", 60, a(3)),
    ])
    .await;
    let dns = Dns::services("_http._tcp.reviews.shop.").with_resolver(server.resolver.clone());
    let (found, _) = dns.lookup().await.expect("found");
    assert_eq!(addrs(&found), [at(1, 8081), at(2, 8082)]);
    assert_eq!(
        found
            .iter()
            .map(|endpoint| endpoint.weight)
            .collect::<Vec<_>>(),
        [3, 1]
    );
}

/// The life of a record is on the wall clock (at least 1 s): this waits for the event, bounded.
#[tokio::test]
async fn changes_are_found_when_the_records_end_and_failures_keep_the_last_answer() {
    let server = server(vec![("reviews.shop.", 1, a(1))]).await;
    let dns = Dns::addresses("reviews.shop.", 80).with_resolver(server.resolver.clone());
    let mut answers = dns.watch();
    let mut next = async || {
        let change = tokio::time::timeout(Duration::from_secs(20), answers.changed());
        change.await.expect("in time").expect("alive");
        addrs(answers.borrow_and_update().as_deref().expect("an answer"))
    };
    assert_eq!(next().await, [at(1, 80)]);
    // Gone altogether: the last answer stays, then the next good one takes over.
    server.zone.lock().expect("a lock").clear();
    let lookup = Dns::addresses("reviews.shop.", 80).with_resolver(server.resolver.clone());
    assert_eq!(
        lookup.lookup().await.expect_err("gone").code().to_string(),
        "M2011"
    );
    server
        .zone
        .lock()
        .expect("a lock")
        .push(("reviews.shop.", 1, a(2)));
    assert_eq!(next().await, [at(2, 80)]);
}

#[tokio::test]
async fn an_address_needs_no_server() {
    let (found, _) = Dns::addresses("10.0.0.9", 80)
        .lookup()
        .await
        .expect("found");
    assert_eq!(addrs(&found), [at(9, 80)]);
}

#[test]
fn a_missing_configuration_is_a_clear_error() {
    let error = super::no_configuration("No such file or directory");
    assert_eq!(error.code().to_string(), "M2011");
    assert!(error.to_string().contains("/etc/resolv.conf"), "{error}");
}
