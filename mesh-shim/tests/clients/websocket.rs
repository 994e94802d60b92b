//! Python's `websockets`, at both ends.

use crate::common::Scratch;
use crate::common::pair::{Pair, Setup};
use crate::common::programs::{PythonApp, python, run};

/// Echoes, and serves a page that tries a fetch and a WebSocket and tells what came of it.
pub(crate) const SERVER: &str = r#"
import asyncio, sys, http
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.http11 import Response

PAGE = b"""<!doctype html><title>shim</title><script>
const tell = text => fetch("/told?" + encodeURIComponent(text));
(async () => {
  const hello = await (await fetch("/hello")).text();
  const socket = new WebSocket("ws://" + location.host + "/ws");
  const got = [];
  socket.onopen = () => { socket.send("one"); socket.send(new Uint8Array(70000)); };
  socket.onmessage = async e => {
    got.push(typeof e.data === "string" ? e.data : (await e.data.arrayBuffer()).byteLength);
    if (got.length === 2) socket.close(1000, "done");
  };
  socket.onclose = e => tell([hello, ...got, e.code, e.wasClean].join(" "));
  socket.onerror = () => tell("error");
})().catch(e => tell("failed: " + e));
</script>"""

def plain(connection, request):
    if request.path == "/ws":
        return None
    if request.path.startswith("/told?"):
        print("told " + request.path[6:], flush=True)
    body = PAGE if request.path == "/page" else b"hello"
    kind = "text/html" if request.path == "/page" else "text/plain"
    fields = Headers([("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")])
    return Response(200, "OK", fields, body)

async def echo(socket):
    async for message in socket:
        if message == "close":
            await socket.close(4001, "as you wish")
        else:
            await socket.send(message)

async def main():
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), process_request=plain, max_size=1 << 24) as server:
        await server.serve_forever()

asyncio.run(main())
"#;

const CLIENT: &str = r#"
import asyncio, sys, time
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

async def main():
    async with connect("ws://%s/ws" % sys.argv[1], max_size=1 << 24, proxy=None) as socket:
        worst = 0
        for i in range(500):
            began = time.time()
            await socket.send("m%d" % i)
            assert await socket.recv() == "m%d" % i
            worst = max(worst, time.time() - began)
        print("websocket: slowest of 500 echoes %.1f ms" % (worst * 1e3))
        big = bytes(5 << 20)
        await socket.send(big)
        assert await socket.recv() == big
        await (await socket.ping())
        await socket.send("close")
        try:
            await socket.recv()
            raise SystemExit("not closed")
        except ConnectionClosed as e:
            assert e.rcvd.code == 4001 and e.rcvd.reason == "as you wish", e
    sockets = await asyncio.gather(*[connect("ws://%s/ws" % sys.argv[1], proxy=None) for _ in range(50)])
    await asyncio.gather(*[s.send("x") for s in sockets])
    assert await asyncio.gather(*[s.recv() for s in sockets]) == ["x"] * 50
    await asyncio.gather(*[s.close() for s in sockets])
    print("all well")

asyncio.run(main())
"#;

pub(crate) async fn pair(python: &str) -> (PythonApp, Pair) {
    let app = PythonApp::start(python, SERVER);
    let pair = Pair::start(app.addr, Setup::default()).await;
    (app, pair)
}

#[tokio::test]
async fn websockets_echo_and_close_as_the_peers_say() {
    let Some(python) = python("websockets") else {
        return;
    };
    let (_app, pair) = pair(&python).await;
    let scratch = Scratch::new();
    let client = scratch.write("client.py", CLIENT).display().to_string();
    let said = run(&python, &[&client, &pair.front().to_string()]).await;
    println!("{said}");
    assert!(said.contains("all well"), "{said}");
    pair.app
        .metric("mesh_tunnels{direction=\"inbound\",service=\"shop/app\"} 0")
        .await;
}
