//! `mesh-control` as a process: what it says, what it refuses, what survives `kill -9`.

mod common;

use common::{Process, Scratch, command, eventually, get, meshctl, output};

const GOOD: &str = "service: shop/reviews:8080\nroute:\n- timeout: 2s\n";
const TYPO: &str = "service: shop/reviews:8080\nroute:\n- timeuot: 2s\n";

fn read(path: std::path::PathBuf) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_token_and_applied_policy_survive_kill_9() {
    let scratch = Scratch::new();
    let state = scratch.path().join("state");
    let file = scratch.write("reviews.yaml", GOOD).display().to_string();
    let first = Process::start(&state, &[]);
    for part in [
        "grpc https://127.0.0.1:",
        "page http://127.0.0.1:",
        "admin unix:",
        "join-token",
        "policy (none",
    ] {
        assert!(
            first.first_line.contains(part),
            "{part}: {}",
            first.first_line
        );
    }
    let (exit, out, err) = meshctl(&first.socket(), &["policy", "apply", &file]).await;
    assert_eq!(exit, 0, "{err}");
    assert!(out.starts_with("applied: revision "), "{out}");
    let revision = out.split_whitespace().nth(2).unwrap().to_owned();
    let (token, ca) = (read(state.join("join-token")), read(state.join("ca.crt")));
    assert!(token.starts_with("mesh1."), "{token}");
    first.kill();

    let second = Process::start(&state, &[]);
    let (exit, out, err) = meshctl(&second.socket(), &["check"]).await;
    assert_eq!(exit, 0, "{out}{err}");
    assert!(
        out.contains(&format!("revision {revision}, 1 resource,")),
        "{out}"
    );
    assert!(out.ends_with("all ok\n"), "{out}");
    assert_eq!(read(state.join("join-token")), token);
    assert_eq!(read(state.join("ca.crt")), ca);
    assert_eq!(second.terminate(), Some(0), "SIGTERM is a clean stop");
    assert!(
        !state.join("admin.sock").exists(),
        "the socket goes with it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typo_in_the_directory_is_refused_with_its_place_and_the_old_policy_stays() {
    let scratch = Scratch::new();
    let state = scratch.path().join("state");
    scratch.write("policies/reviews.yaml", GOOD);
    let policies = scratch.path().join("policies");
    let server = Process::start(&state, &["--policy-dir", policies.to_str().unwrap()]);
    let socket = server.socket();
    let check = async || meshctl(&socket, &["check"]).await;
    let (exit, before, _) = check().await;
    assert_eq!(exit, 0, "{before}");
    let revision = before.split("revision ").nth(1).unwrap()[..16].to_owned();

    scratch.write("policies/reviews.yaml", TYPO);
    let (_, out, _) = eventually(check, |(exit, ..)| *exit == 1).await;
    assert!(
        out.contains("[M3002]") && out.contains("reviews.yaml:3:3"),
        "{out}"
    );
    assert!(
        out.contains(&format!("revision {revision} stays in force")),
        "{out}"
    );
    assert!(out.contains("next: "), "{out}");
    let (_, out, _) = meshctl(&socket, &["clients"]).await;
    assert!(
        out.ends_with(&format!("revision in force: {revision}\n")),
        "{out}"
    );
    let (_, out, _) = meshctl(&socket, &["events"]).await;
    assert!(out.contains("M3002"), "{out}");

    scratch.write("policies/reviews.yaml", &GOOD.replace("2s", "3s"));
    let (_, out, _) = eventually(check, |(exit, ..)| *exit == 0).await;
    assert!(
        !out.contains(&revision),
        "a new revision is in force: {out}"
    );
}

#[test]
fn what_keeps_it_from_starting_has_a_exitand_a_next_step() {
    let scratch = Scratch::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let a_file = scratch.write("file", "").display().to_string();
    let free = "127.0.0.1:0";
    for (code, state, args) in [
        ("M1004", "a", vec!["--listen", &port, "--page", free]),
        ("M1004", "b", vec!["--listen", free, "--page", &port]),
        (
            "M1003",
            "c",
            vec![
                "--listen",
                free,
                "--page",
                free,
                "--policy-dir",
                "/no/such/directory",
            ],
        ),
        (
            "M1003",
            "d",
            vec!["--listen", free, "--page", free, "--trust-domain", "UPPER"],
        ),
        (
            "M5003",
            "file/below",
            vec!["--listen", free, "--page", free],
        ),
        (
            "M5003",
            "e",
            vec!["--listen", free, "--page", free, "--admin-socket", &a_file],
        ),
    ] {
        let (exit, text) = output(command(&scratch.path().join(state)).args(&args));
        assert_eq!(exit, Some(1), "{args:?}: {text}");
        let lines: Vec<&str> = text.lines().collect();
        let [.., error, next] = lines.as_slice() else {
            panic!("{args:?}: {text}")
        };
        assert!(
            error.starts_with("error: ") && error.ends_with(&format!("[{code}]")),
            "{text}"
        );
        assert!(next.starts_with("next: ") && next.len() > 10, "{text}");
    }
}

#[test]
fn help_says_what_it_does_and_where_things_are() {
    let (_, text) = output(command(std::path::Path::new("/x")).arg("--help"));
    for part in [
        "--policy-dir",
        "--listen",
        "join-token",
        "meshctl",
        "MESH_CONTROL_STATE",
        "7443",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_server_on_the_same_state_is_refused() {
    let scratch = Scratch::new();
    let state = scratch.path().join("state");
    let server = Process::start(&state, &[]);
    let (_, text) =
        output(command(&state).args(["--listen", "127.0.0.1:0", "--page", "127.0.0.1:0"]));
    assert!(
        text.contains("another control server holds it [M5003]"),
        "{text}"
    );
    let (status, _, body) = get(server.page, "/readyz", "127.0.0.1").await;
    assert_eq!(
        (status, body.as_str()),
        (200, "ready\n"),
        "the first goes on"
    );
}
