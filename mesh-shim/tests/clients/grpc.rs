//! Python's grpcio: the four kinds, metadata, deadline, status, cancellation.

use crate::common::Scratch;
use crate::common::pair::{Pair, Setup};
use crate::common::programs::{PythonApp, python, run};

const SERVER: &str = r#"
import sys, time, threading
from concurrent import futures
import grpc

cancelled = threading.Event()

def unary(request, context):
    seen = dict(context.invocation_metadata())
    context.send_initial_metadata((("x-initial", seen.get("x-asked", "-")), ("x-bytes-bin", b"\x00\xff")))
    context.set_trailing_metadata((("x-trailing", "t"), ("x-left", str(context.time_remaining() is not None))))
    if request == b"sleep":
        time.sleep(3)
    if request == b"fail":
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now: \u00fc %")
    if request == b"cancelled?":
        return b"yes" if cancelled.wait(5) else b"no"
    return b"echo " + request

def down(request, context):
    n = int(request)
    if n < 0:
        context.add_callback(cancelled.set)
        while context.is_active():
            yield b"again"
            time.sleep(0.05)
        return
    for i in range(n):
        yield b"%d" % i

def up(requests, context):
    return b"%d" % sum(len(r) for r in requests)

def both(requests, context):
    for r in requests:
        yield b"re " + r

h = grpc.method_handlers_generic_handler("test.Kinds", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Down": grpc.unary_stream_rpc_method_handler(down),
    "Up": grpc.stream_unary_rpc_method_handler(up),
    "Both": grpc.stream_stream_rpc_method_handler(both),
})
s = grpc.server(futures.ThreadPoolExecutor(32))
s.add_generic_rpc_handlers((h,))
s.add_insecure_port("127.0.0.1:" + sys.argv[1])
s.start()
s.wait_for_termination()
"#;

const CLIENT: &str = r#"
import sys, time, threading, queue
import grpc

c = grpc.insecure_channel(sys.argv[1])
m = "/test.Kinds/"
unary, down = c.unary_unary(m + "Unary"), c.unary_stream(m + "Down")
up, both = c.stream_unary(m + "Up"), c.stream_stream(m + "Both")

got, call = unary.with_call(b"hi", metadata=(("x-asked", "me"),), timeout=10)
assert got == b"echo hi", got
initial, trailing = dict(call.initial_metadata()), dict(call.trailing_metadata())
assert initial["x-initial"] == "me" and initial["x-bytes-bin"] == b"\x00\xff", initial
assert trailing["x-trailing"] == "t" and trailing["x-left"] == "True", trailing

assert list(down(b"500")) == [b"%d" % i for i in range(500)]
assert up(iter([b"x" * 1000] * 1000)) == b"1000000"
assert up(iter([])) == b"0"

q = queue.Queue()
answers = both(iter(q.get, None))
worst = 0
for i in range(100):
    began = time.time()
    q.put(b"%d" % i)
    assert next(answers) == b"re %d" % i
    worst = max(worst, time.time() - began)
q.put(None)
assert list(answers) == []
print("bidi: slowest of 100 turns %.1f ms" % (worst * 1e3))

try:
    unary(b"fail")
    raise SystemExit("no failure")
except grpc.RpcError as e:
    assert e.code() == grpc.StatusCode.FAILED_PRECONDITION, e
    assert e.details() == "not now: \u00fc %", e.details()

began = time.time()
try:
    unary(b"sleep", timeout=0.5)
    raise SystemExit("no deadline")
except grpc.RpcError as e:
    assert e.code() == grpc.StatusCode.DEADLINE_EXCEEDED, e
assert time.time() - began < 2, time.time() - began

try:
    c.unary_unary("/test.Kinds/Nothing")(b"")
    raise SystemExit("no such method")
except grpc.RpcError as e:
    assert e.code() == grpc.StatusCode.UNIMPLEMENTED, e

endless = down(b"-1")
next(endless)
endless.cancel()
assert unary(b"cancelled?", timeout=10) == b"yes"

big = unary(b"b" * (3 << 20), timeout=20)
assert len(big) == (3 << 20) + 5

threads = [threading.Thread(target=lambda: [unary(b"%d" % i) for i in range(50)]) for _ in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]

# Longer than the mesh's own limit on a call: a stream has none.
if len(sys.argv) > 2:
    q = queue.Queue()
    answers = both(iter(q.get, None))
    q.put(b"a"); next(answers)
    time.sleep(float(sys.argv[2]))
    q.put(b"b"); assert next(answers) == b"re b"
    q.put(None); assert list(answers) == []
print("all well")
"#;

#[tokio::test]
async fn grpcio_has_its_four_kinds() {
    let Some(python) = python("grpc") else { return };
    let app = PythonApp::start(&python, SERVER);
    let setup = Setup {
        speaks: Some("grpc"),
        ..Setup::default()
    };
    let pair = Pair::start(app.addr, setup).await;
    let scratch = Scratch::new();
    let client = scratch.write("client.py", CLIENT).display().to_string();
    let front = pair.front().to_string();
    // Above the default of 15 s.
    let said = run(&python, &[&client, &front, "16"]).await;
    println!("{said}");
    assert!(said.contains("all well"), "{said}");
}
