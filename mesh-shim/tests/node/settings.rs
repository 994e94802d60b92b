//! What cannot work is refused.

use tokio::net::TcpListener;

use crate::machine::Machine;

#[tokio::test]
async fn settings_that_cannot_work_are_refused_at_once() {
    let machine = Machine::new();
    let state = machine.scratch.path().display().to_string();
    for (apps, more, expected) in [
        (
            &["shop/web=9000", "shop/api=9001"][..],
            &["--state", &state][..],
            "shop/web and shop/api have the same state",
        ),
        (
            &["shop/web=9000"],
            &["--port", "9000"],
            "--port (flag) with --app",
        ),
        (
            &["shop/web=9000", "shop/api=9001,inbound=7143,prot=tcp"],
            &[],
            "unknown key `prot`",
        ),
    ] {
        let mut shim = machine.spawn(apps, more);
        let line = shim.line(expected).await;
        println!("{line}");
        assert_eq!(shim.end().await.code(), Some(2));
    }
    for variable in [
        ("MESH_ADMIN", "127.0.0.1:0"),
        ("OTEL_SERVICE_NAME", "x"),
        ("MESH_SERVICE", "x"),
        ("MESH_SHIM_PORT", "1"),
    ] {
        let mut shim = machine.spawn_with(&["shop/web=9000"], &[], variable);
        let line = shim.line("M1003").await;
        println!("{line}");
        assert!(line.contains(variable.0), "{line}");
        assert_eq!(shim.end().await.code(), Some(2));
    }
    // None of them can join: as a single one, it ends.
    let none = "shop/web=9000,inbound=0,identity=dir:/not/there";
    let mut shim = machine.spawn(&[none], &[]);
    let line = shim.line("mesh-shim: shop/web: ").await;
    println!("{line}");
    assert_eq!(shim.end().await.code(), Some(1));
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let app = format!("shop/web=9000,inbound=127.0.0.1:{port}");
    let mut shim = machine.spawn(&[&app], &[]);
    let line = shim.line("M1004").await;
    println!("{line}");
    assert!(line.contains("inbound of shop/web"), "{line}");
    assert_eq!(shim.end().await.code(), Some(1));
}
