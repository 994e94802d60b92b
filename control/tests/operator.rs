//! What an operator is told, over the admin socket of a server with real clients.

mod common;

use common::{Scratch, config, meshctl};
use mesh_control::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_the_policy_in_force_with_file_and_line() {
    let scratch = Scratch::new();
    let file = scratch.write(
        "policies/reviews.yaml",
        "service: shop/reviews\nports: [{ port: 8080 }]\nroute:\n- timeout: 2s\n",
    );
    let mut config = config(&scratch);
    config.policy_dir = Some(scratch.path().join("policies"));
    let server = Server::start(config).await.unwrap();
    let socket = format!("unix:{}", server.admin_socket().display());

    let (exit, out, err) = meshctl(&socket, &["explain", "reviews"]).await;
    assert_eq!(exit, 0, "{err}");
    let head = format!("shop/reviews, revision {}\n", server.revision());
    assert!(out.starts_with(&head), "{out}");
    let line = out.lines().find(|l| l.starts_with("timeouts.request"));
    let line = line.unwrap_or_else(|| panic!("{out}"));
    assert!(
        line.contains(" 2s ") && line.ends_with("reviews.yaml:4)"),
        "{line}"
    );
    assert!(out.lines().all(|line| line.chars().count() <= 100), "{out}");

    let (exit, out, _) = meshctl(&socket, &["explain", "reviews.shop", "-o", "json"]).await;
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(exit, 0);
    let setting = &answer["routes"][0]["settings"][0];
    assert_eq!(setting["name"], "timeouts.request");
    assert_eq!(setting["from"]["source"], "HTTPRoute shop/reviews rule 0");
    assert_eq!(setting["from"]["file"], file.display().to_string());
    assert_eq!(setting["from"]["line"], 4);
    assert_eq!(
        answer["backends"][0]["settings"][0]["from"]["source"],
        "default"
    );

    let (exit, out, err) = meshctl(&socket, &["explain", "reveiws"]).await;
    assert_eq!((exit, out.as_str()), (1, ""));
    assert!(err.contains("did you mean reviews.shop?"), "{err}");
    assert!(
        err.ends_with("next: meshctl explain reviews.shop\n"),
        "{err}"
    );
    server.shutdown().await;
}
