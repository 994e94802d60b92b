//! Exceptions from mutual TLS, by the wall clock that their dates are written in.
#![allow(clippy::print_stdout, reason = "figures")]

use std::time::{SystemTime, UNIX_EPOCH};

use super::secured::{Authority, apply, request, secured, start};
use super::*;

/// A moment as a policy writes it, in whole seconds.
fn written(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 1970 to a date of the Gregorian calendar, counted in years from March.
    let z = days + 719_468;
    let (era, doe) = (z / 146_097, z % 146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let (month, more) = if mp < 10 { (mp + 3, 0) } else { (mp - 9, 1) };
    format!(
        "{}-{month:02}-{:02}T{:02}:{:02}:{:02}Z",
        yoe + era * 400 + more,
        doy - (153 * mp + 2) / 5 + 1,
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

#[tokio::test]
async fn part13_an_expired_exception_admits_nobody_and_cuts_who_is_in() {
    let authority = Authority::new();
    let mesh = secured(&authority);
    let server = start(&mesh);
    let addr = server.local_addr();
    let ends = SystemTime::now() + Duration::from_secs(3);
    apply(
        &mesh,
        &format!(
            "service: shop/reviews\ntransport:\n  mtls: Strict\n  exceptions:\n  \
             - {{ source: 127.0.0.0/8, expires: '{}', reason: nightly batch }}\n",
            written(ends)
        ),
    );
    // Both: whoever proves itself, and the one that is excepted.
    let mut member = super::secured::h2(addr, &authority.credentials("web")).await;
    assert_eq!(member.send_request(request()).await.unwrap().status(), 200);
    let mut excepted = client1(addr).await;
    let answer = excepted.send_request(empty(get("/"))).await.unwrap();
    assert_eq!(text(answer).await, "nobody");
    let counted = mesh.report().plaintext_sources;
    assert_eq!((counted.len(), counted[0].calls), (1, 1), "{counted:?}");

    soon("its connection is cut at the date", async {
        while server.connections() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let late = SystemTime::now().duration_since(ends - Duration::from_secs(1));
    let late = late.expect("not before the date, which has whole seconds");
    let plain = raw(addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!plain.starts_with("HTTP"), "{plain}");
    assert_eq!(member.send_request(request()).await.unwrap().status(), 200);
    println!(
        "an exception that ended: cut {late:?} after the second before its date, \
         a new plaintext connection is refused, the member's goes on"
    );
}

#[tokio::test]
async fn an_exception_that_is_prolonged_keeps_the_connections_that_it_let_in() {
    let authority = Authority::new();
    let mesh = secured(&authority);
    let server = start(&mesh);
    let until = |seconds: u64| {
        let ends = SystemTime::now() + Duration::from_secs(seconds);
        apply(
            &mesh,
            &format!(
                "service: shop/reviews\ntransport:\n  mtls: Strict\n  exceptions:\n  \
                 - {{ source: 127.0.0.1, expires: '{}' }}\n",
                written(ends)
            ),
        );
        ends
    };
    let first = until(2);
    let mut excepted = client1(server.local_addr()).await;
    let answer = excepted.send_request(empty(get("/"))).await.unwrap();
    assert_eq!(text(answer).await, "nobody");
    until(3_600);
    // Until the first date by the clock on the wall, two seconds away at most.
    while SystemTime::now() < first {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = excepted.send_request(empty(get("/"))).await.unwrap();
    assert_eq!(text(answer).await, "nobody", "past the first date");
}
