//! Protocol detection (the failure case of a client that never speaks first): a server of the mesh
//! speaks HTTP, so what is told apart by first bytes (TLS, the version of HTTP) is always something
//! that the client says first. Nothing else waits for it, and a client that says nothing is let go.
#![allow(clippy::print_stdout, reason = "figures")]

use tower::service_fn;

use super::secured::{Authority, secured};
use super::*;
use crate::server::{Limits, ServerHandle, TlsChoice};

/// What the failure case allows a detection to take.
const BOUND: Duration = Duration::from_secs(1);

fn serving(authority: &Authority, choice: TlsChoice) -> ServerHandle {
    let server = secured(authority).server().tls(choice);
    let server = server.bind("127.0.0.1:0").unwrap();
    server.serve(service_fn(echo)).unwrap()
}

#[tokio::test]
async fn part13_protocol_detection_answers_within_a_second_and_waits_for_no_silent_client() {
    let authority = Authority::new();
    for choice in [TlsChoice::Disabled, TlsChoice::Permissive] {
        let server = serving(&authority, choice);
        let addr = server.local_addr();
        let silent = TcpStream::connect(addr).await.unwrap();
        // Beside one that says nothing: both versions of HTTP, told apart by their first bytes.
        let began = std::time::Instant::now();
        let mut one = client1(addr).await;
        assert_eq!(
            one.send_request(empty(get("/1"))).await.unwrap().status(),
            200
        );
        let mut two = client2(addr).await;
        let request = empty(Request::get("http://reviews.shop/2"));
        assert_eq!(two.send_request(request).await.unwrap().status(), 200);
        let took = began.elapsed();
        println!(
            "{choice:?}: HTTP/1 and HTTP/2 told apart and answered in {took:?} (bound {BOUND:?} each)"
        );
        assert!(took < 2 * BOUND, "{took:?}");
        drop(silent);
    }
}

#[tokio::test(start_paused = true)]
async fn part13_protocol_detection_lets_a_client_go_that_never_speaks() {
    let authority = Authority::new();
    let limit = Limits::default().handshake;
    for choice in [
        TlsChoice::Disabled,
        TlsChoice::Permissive,
        TlsChoice::Strict,
    ] {
        // Nothing at all, and the beginning of what both HTTP/2 and TLS could be told by.
        for said in ["", "PRI * HT"] {
            let server = serving(&authority, choice);
            let began = tokio::time::Instant::now();
            let _ = raw(server.local_addr(), said).await;
            let held = began.elapsed();
            println!("{choice:?}, {said:?} and then silence: held for {held:?}, bound {limit:?}");
            assert!(held <= limit + Duration::from_millis(10), "{held:?}");
        }
    }
}
