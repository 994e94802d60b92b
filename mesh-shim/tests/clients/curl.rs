//! curl: HTTP/1.1, HTTP/2 with prior knowledge, uploads, downloads, `--expect100`.

use crate::common::Scratch;
use crate::common::pair::{Pair, Setup};
use crate::common::programs::{installed, run};
use crate::files;

#[tokio::test]
async fn curl_speaks_both_versions_uploads_and_downloads() {
    if !installed("curl") {
        return;
    }
    let app = files().await;
    let pair = Pair::start(app.addr, Setup::default()).await;
    let scratch = Scratch::new();
    let upload = scratch.write("upload", &"u".repeat(3 << 20));
    let upload = upload.display().to_string();
    let port = format!("http://{}", pair.front());
    let proxy = format!("http://{}", pair.proxy());
    let base = ["-sS", "--fail", "--max-time", "60"];
    for version in ["--http1.1", "--http2-prior-knowledge", "--http1.0"] {
        let curl = async |more: &[&str]| {
            let mut args = base.to_vec();
            args.push(version);
            args.extend(more);
            run("curl", &args).await
        };
        let name = version;
        assert_eq!(curl(&[&format!("{port}/hello")]).await, "hello", "{name}");
        let head = curl(&["-I", &format!("{port}/hello")])
            .await
            .to_ascii_lowercase();
        assert!(head.contains("content-length: 5"), "{name}: {head}");
        let large = curl(&[&format!("{port}/large")]).await;
        assert_eq!(large.len(), 8 << 20, "{name}");
        let size = curl(&["-T", &upload, &format!("{port}/size")]).await;
        assert_eq!(size, (3 << 20).to_string(), "{name}");
        if version == "--http1.0" {
            continue;
        }
        let chunked = [
            "-X",
            "PUT",
            "-H",
            "Transfer-Encoding: chunked",
            "-T",
            &upload,
        ];
        let mut args = chunked.to_vec();
        let to = format!("{port}/size");
        args.push(&to);
        if version == "--http1.1" {
            assert_eq!(curl(&args).await, (3 << 20).to_string(), "{name}");
        }
    }
    // The application does not know 100: curl sends after its second, and is answered.
    let to = format!("{port}/size");
    let began = std::time::Instant::now();
    let expect = [
        "-sS",
        "--fail",
        "--http1.1",
        "-H",
        "Expect: 100-continue",
        "--expect100-timeout",
        "0.3",
        "-T",
        &upload,
        &to,
    ];
    assert_eq!(run("curl", &expect).await, (3 << 20).to_string());
    println!("Expect without an answer to it: {:?}", began.elapsed());
    // The forward proxy, as `http_proxy` has it.
    let proxied = ["-sS", "--fail", "-x", &proxy, "http://app.shop/hello"];
    assert_eq!(run("curl", &proxied).await, "hello");
    // Many at once over one client.
    let many = format!("{port}/hello?[1-200]");
    let parallel = ["-sS", "--fail", "-Z", "--parallel-max", "20", &many];
    assert_eq!(run("curl", &parallel).await, "hello".repeat(200));
}
