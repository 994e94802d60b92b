use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;

fn path() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("mesh-takeover-{}-{next}", std::process::id()))
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[tokio::test]
async fn a_connection_that_waits_is_accepted_by_the_successor() {
    let (path, shared, own) = (path(), Shared::default(), listener());
    let addr = own.local_addr().unwrap();
    shared.keep("inbound", 0, &own).unwrap();
    let mut giving = Giving::start(&path, shared.clone()).unwrap();
    // Completed by the kernel, and accepted by nobody.
    let mut client = TcpStream::connect(addr).unwrap();
    client.write_all(b"hello").unwrap();

    let mut taken = take(&path).unwrap();
    assert!(taken.is_any());
    let got = taken.listener("inbound", 0, addr).unwrap().unwrap();
    // A further worker has the same queue; another name or address has none.
    assert!(taken.listener("inbound", 1, addr).unwrap().is_some());
    assert!(taken.listener("outbound", 0, addr).unwrap().is_none());
    let other = "127.0.0.1:1".parse().unwrap();
    assert!(taken.listener("inbound", 0, other).unwrap().is_none());
    taken.forget_rest();
    taken.ready().unwrap();
    let used = tokio::time::timeout(Duration::from_secs(10), giving.handed_over())
        .await
        .unwrap();
    assert_eq!(Vec::from_iter(used), ["inbound"], "outbound was not there");
    drop((own, giving));

    let (mut stream, _) = got.accept().unwrap();
    let mut text = [0; 5];
    stream.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello");
    // Its own socket has the name by now, or would have: the old one left it alone.
    assert!(path.exists());
    let _ = std::fs::remove_file(path);
}

#[tokio::test]
async fn a_successor_that_dies_changes_nothing() {
    let (path, shared, own) = (path(), Shared::default(), listener());
    shared.keep("inbound", 0, &own).unwrap();
    let mut giving = Giving::start(&path, shared).unwrap();
    drop(take(&path).unwrap());
    // The next one is served.
    let mut taken = take(&path).unwrap();
    taken.ready().unwrap();
    tokio::time::timeout(Duration::from_secs(10), giving.handed_over())
        .await
        .unwrap();
    let _ = std::fs::remove_file(path);
}

#[test]
fn without_a_predecessor_there_is_nothing_to_take() {
    let path = path();
    assert!(!take(&path).unwrap().is_any());
    // Left behind by one that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(!take(&path).unwrap().is_any());
    let _ = std::fs::remove_file(path);
}

#[test]
fn many_listeners_arrive_in_their_order() {
    let (path, shared) = (path(), Shared::default());
    let own = listener();
    for worker in 0..150 {
        shared.keep("inbound", worker, &own).unwrap();
    }
    let _giving = Giving::start(&path, shared).unwrap();
    let mut taken = take(&path).unwrap();
    assert_eq!(taken.workers_left(), None, "nobody has asked for that name");
    let addr = own.local_addr().unwrap();
    assert!(taken.listener("inbound", 0, addr).unwrap().is_some());
    assert_eq!(taken.workers_left(), Some(150));
}
