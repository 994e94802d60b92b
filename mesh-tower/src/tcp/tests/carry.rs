//! Bytes on their way: order, ends, resets, back-pressure, time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use socket2::SockRef;

use super::*;

/// Both meshes, with the address of the caller's local listener.
async fn pair(app: SocketAddr) -> (Mesh, Mesh, ServerHandle, SocketAddr) {
    let authority = Authority::new();
    let (server, client) = (mesh(&authority, "redis"), mesh(&authority, "web"));
    let handle = serve(&server, app);
    apply(&client, &redis(&[handle.local_addr()], true));
    let local = listen(&client).await;
    (server, client, handle, local)
}

#[tokio::test]
async fn bytes_pass_over_mutual_tls_and_are_counted_on_both_sides() {
    let (server, client, _handle, local) = pair(echo().await).await;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| n as u8).collect();
    let all = ask(local, &sent).await.unwrap();
    assert!(all == sent, "{} of {} came back", all.len(), sent.len());
    for (mesh, direction) in [(&client, "outbound"), (&server, "inbound")] {
        let labels = format!("direction=\"{direction}\",service=\"shop/redis\"");
        let sum = format!("mesh_tcp_bytes_total{{{labels},way=\"received\"}} 3000000");
        until(&sum, || mesh.metrics_text().contains(&sum)).await;
        let opened = format!("mesh_tcp_connections_total{{{labels},result=\"opened\"}} 1");
        assert!(mesh.metrics_text().contains(&opened));
        let open = format!("mesh_tcp_open{{{labels}}} 0");
        assert!(mesh.metrics_text().contains(&open));
    }
    println!("3,000,000 bytes there and back over mutual TLS");
}

#[tokio::test]
async fn a_server_may_speak_first() {
    let (_server, _client, _handle, local) = pair(
        app(|mut io| async move {
            io.write_all(b"220 ready\r\n").await.unwrap();
            let mut line = [0; 6];
            io.read_exact(&mut line).await.unwrap();
            io.write_all(&line).await.unwrap();
        })
        .await,
    )
    .await;
    let mut io = TcpStream::connect(local).await.unwrap();
    let mut greeting = [0; 11];
    soon("the greeting", io.read_exact(&mut greeting))
        .await
        .unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");
    io.write_all(b"HELO\r\n").await.unwrap();
    let mut rest = Vec::new();
    soon("the end", io.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"HELO\r\n");
}

#[tokio::test]
async fn each_half_ends_by_itself() {
    // The client's half first: the answer still comes.
    let (_s, _c, _h, local) = pair(
        app(|mut io| async move {
            let mut all = Vec::new();
            io.read_to_end(&mut all).await.unwrap();
            let answer = format!("got {}", all.len());
            io.write_all(answer.as_bytes()).await.unwrap();
        })
        .await,
    )
    .await;
    assert_eq!(ask(local, b"12345").await.unwrap(), b"got 5");

    // The server's half first: the client still sends.
    let heard = Arc::new(AtomicUsize::new(0));
    let hears = heard.clone();
    let (_s, _c, _h, local) = pair(
        app(move |mut io| {
            let hears = hears.clone();
            async move {
                io.write_all(b"bye").await.unwrap();
                io.shutdown().await.unwrap();
                let mut all = Vec::new();
                io.read_to_end(&mut all).await.unwrap();
                hears.store(all.len(), SeqCst);
            }
        })
        .await,
    )
    .await;
    let mut io = TcpStream::connect(local).await.unwrap();
    let mut all = Vec::new();
    soon("the server's end", io.read_to_end(&mut all))
        .await
        .unwrap();
    assert_eq!(all, b"bye");
    // For what must not happen: a side that lingers after an end, two seconds at most, and throws away
    // what it reads, would have lost this. Nothing depends on it passing.
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    io.write_all(b"still here").await.unwrap();
    io.shutdown().await.unwrap();
    until("all that was sent", || heard.load(SeqCst) == 10).await;
}

#[tokio::test]
async fn a_reset_stays_a_reset_both_ways() {
    // By the application.
    let (_s, _c, _h, local) = pair(
        app(|mut io| async move {
            let mut byte = [0];
            io.read_exact(&mut byte).await.unwrap();
            SockRef::from(&io).set_linger(Some(Duration::ZERO)).unwrap();
        })
        .await,
    )
    .await;
    let mut io = TcpStream::connect(local).await.unwrap();
    io.write_all(b"x").await.unwrap();
    let mut byte = [0];
    let read = soon("the reset", io.read(&mut byte)).await;
    assert_eq!(
        read.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );

    // By the client.
    let (ended, mut end) = tokio::sync::mpsc::unbounded_channel();
    let heard = Arc::new(AtomicUsize::new(0));
    let hears = heard.clone();
    let (_s, _c, _h, local) = pair(
        app(move |mut io| {
            let (ended, hears) = (ended.clone(), hears.clone());
            async move {
                let mut all = vec![0; 3];
                io.read_exact(&mut all).await.unwrap();
                hears.store(all.len(), SeqCst);
                let read = io.read_to_end(&mut all).await;
                ended.send((all, read.map_err(|e| e.kind()))).unwrap();
            }
        })
        .await,
    )
    .await;
    let mut io = TcpStream::connect(local).await.unwrap();
    io.write_all(b"xyz").await.unwrap();
    // A reset overtakes bytes that are still on their way: it breaks off when they have arrived.
    until("its bytes", || heard.load(SeqCst) == 3).await;
    SockRef::from(&io).set_linger(Some(Duration::ZERO)).unwrap();
    drop(io);
    let (all, read) = soon("the reset", end.recv()).await.unwrap();
    assert_eq!(all, b"xyz");
    assert_eq!(read.unwrap_err(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_reader_that_stalls_holds_its_sender_up() {
    let (_s, _c, _h, local) = pair(
        app(|io| async move {
            // Reads nothing, ever.
            std::future::pending::<()>().await;
            drop(io);
        })
        .await,
    )
    .await;
    let mut io = TcpStream::connect(local).await.unwrap();
    let chunk = vec![0; 64 * 1024];
    let mut sent = 0_usize;
    // Full is when nothing moves for a second.
    while let Ok(wrote) = tokio::time::timeout(Duration::from_secs(1), io.write(&chunk)).await {
        sent += wrote.unwrap();
        assert!(sent < 64 << 20, "no end of it: {sent} bytes");
    }
    println!("a stalled reader took {sent} bytes, all of them in kernels' windows but 2 x 16 KiB");
}

#[tokio::test]
async fn silence_ends_by_the_policys_idle_time() {
    let authority = Authority::new();
    let (server, client) = (mesh(&authority, "redis"), mesh(&authority, "web"));
    let handle = serve(&server, echo().await);
    let policy = redis(&[handle.local_addr()], true);
    apply(
        &client,
        &format!(
            "{policy}---\napiVersion: policy.mesh/v1alpha1\nkind: BackendPolicy\n\
             metadata: {{ name: idle, namespace: shop }}\n\
             spec: {{ targetRefs: [{{ kind: Service, name: redis }}], \
             streamIdleTimeout: 200ms }}\n"
        ),
    );
    let local = listen(&client).await;
    let mut io = TcpStream::connect(local).await.unwrap();
    let began = std::time::Instant::now();
    let mut byte = [0];
    for _ in 0..4 {
        // What moves is not idle.
        io.write_all(b"x").await.unwrap();
        soon("the echo", io.read_exact(&mut byte)).await.unwrap();
        // The pace: half of the idle time, four times over.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(soon("its end", io.read(&mut byte)).await.is_err());
    // The last byte moved after 300 ms at the earliest.
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn what_is_open_goes_on_until_the_drains_time_is_over() {
    let (server, _client, handle, local) = pair(echo().await).await;
    let mut io = TcpStream::connect(local).await.unwrap();
    let mut byte = [0];
    io.write_all(b"x").await.unwrap();
    soon("the echo", io.read_exact(&mut byte)).await.unwrap();
    server.drain().start();
    until("the drain", || {
        server.drain().phase() >= crate::drain::Phase::Draining
    })
    .await;
    io.write_all(b"y").await.unwrap();
    soon("an echo in the drain", io.read_exact(&mut byte))
        .await
        .unwrap();
    // No new ones.
    assert!(ask(local, b"new").await.map_or(true, |all| all.is_empty()));
    // 300 ms later it is cut, and seen to be.
    assert!(soon("the cut", io.read(&mut byte)).await.is_err());
    soon("the server's end", handle.done()).await;
}
