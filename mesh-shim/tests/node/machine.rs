//! A machine with several applications, and callers of them.

use std::convert::Infallible;
use std::net::SocketAddr;

use http::{Request, Response};
use mesh_tower::server::ServerHandle;
use mesh_tower::{Mesh, MeshBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::app;
use crate::common::wire::Wire;
use crate::common::{Authority, PATIENCE, Scratch, Shim, free_port};

/// Identities and the policy of a machine; the applications are known at fixed ports of the mesh.
pub(crate) struct Machine {
    pub(crate) scratch: Scratch,
    pub(crate) authority: Authority,
    pub(crate) web: u16,
    pub(crate) api: u16,
    pub(crate) redis: u16,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let machine = Self {
            scratch: Scratch::new(),
            authority: Authority::new(),
            web: free_port(),
            api: free_port(),
            redis: free_port(),
        };
        for name in ["web", "api", "redis", "batch"] {
            machine.authority.identity(&machine.scratch, name);
        }
        let service = |name: &str, port: u16, more: &str| {
            format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{ name: {name}, namespace: shop }}\n\
                 spec: {{ {more} endpoints: {{ static: [{{ address: \"127.0.0.1:{port}\", \
                 identity: \"spiffe://mesh.local/ns/shop/sa/{name}\" }}] }} }}\n---\n"
            )
        };
        let access = |name: &str| {
            format!(
                "apiVersion: policy.mesh/v1alpha1\nkind: AccessPolicy\nmetadata: {{ name: {name}, namespace: shop }}\n\
                 spec: {{ targetRefs: [{{ kind: Service, name: {name} }}], mode: Enforce, \
                 allow: [{{ from: [{{ service: web }}] }}] }}\n---\n"
            )
        };
        let policy = service("web", machine.web, "")
            + &service("api", machine.api, "")
            + &service(
                "redis",
                machine.redis,
                "ports: [{ port: 6379, appProtocol: tcp }],",
            )
            + &access("api")
            + &access("redis");
        machine.scratch.write("policy.yaml", &policy);
        machine
    }

    pub(crate) fn web(&self, app: SocketAddr) -> String {
        format!(
            "shop/web={},inbound=127.0.0.1:{},outbound=0,upstream=api.shop@0,\
             upstream=tcp://redis.shop:6379@0",
            app.port(),
            self.web
        )
    }

    pub(crate) fn api(&self, app: SocketAddr) -> String {
        let (port, inbound) = (app.port(), self.api);
        format!("shop/api={port},protocol=h2c,inbound=127.0.0.1:{inbound}")
    }

    pub(crate) fn redis(&self, app: SocketAddr) -> String {
        let (port, inbound) = (app.port(), self.redis);
        format!("shop/redis={port},protocol=tcp,inbound=127.0.0.1:{inbound}")
    }

    pub(crate) fn spawn(&self, apps: &[&str], more: &[&str]) -> Shim {
        let log = "warn,mesh_shim=info,mesh::access=info";
        self.spawn_with(apps, more, ("MESH_LOG", log))
    }

    /// All four: `batch` is spelt out, it serves nothing.
    pub(crate) fn spawn_four(
        &self,
        (web, api, redis): (SocketAddr, &ServerHandle, SocketAddr),
        batch: &str,
        more: &[&str],
    ) -> Shim {
        let (web, api, redis) = (self.web(web), self.api(api.local_addr()), self.redis(redis));
        self.spawn(&[&web, &api, &redis, batch], more)
    }

    pub(crate) fn spawn_with(&self, apps: &[&str], more: &[&str], variable: (&str, &str)) -> Shim {
        let (policy, any) = (self.scratch.at("policy.yaml"), "127.0.0.1:0");
        let identity = format!("dir:{}", self.scratch.at("{name}"));
        let mut args: Vec<&str> = apps.iter().flat_map(|app| ["--app", *app]).collect();
        args.extend(["--policy", &policy, "--identity", &identity]);
        args.extend(["--health", any, "--metrics", any]);
        args.extend(more);
        Shim::spawn_with(&args, &[variable])
    }
}

/// Speaks HTTP/2 without TLS, and says which version it heard.
pub(crate) fn h2c() -> ServerHandle {
    let mesh = Mesh::builder("x").build().unwrap();
    let server = mesh.server().bind("127.0.0.1:0").unwrap();
    let answer = tower::service_fn(async |request: Request<MeshBody>| {
        let text = format!("{:?}", request.version());
        Ok::<_, Infallible>(Response::new(MeshBody::full(text)))
    });
    server.serve(answer).unwrap()
}

/// Sends back what it gets.
pub(crate) async fn echo() -> SocketAddr {
    app::serving(app::echo).await
}

/// Bound and not listening: nobody else gets the port meanwhile.
pub(crate) fn closed() -> (tokio::net::TcpSocket, SocketAddr) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

/// Status, code of the mesh, body.
pub(crate) async fn get(addr: SocketAddr) -> (u16, String, String) {
    let mut wire = Wire::connect(addr).await;
    wire.send("GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    let answer = wire.answer().await;
    let code = answer.head.get("mesh-reason").unwrap_or("-").to_owned();
    (answer.head.status(), code, answer.text())
}

/// What comes back of four bytes; nothing, if the connection is refused or reset.
pub(crate) async fn ping(addr: SocketAddr) -> Vec<u8> {
    let ask = async {
        let mut io = TcpStream::connect(addr).await?;
        io.write_all(b"ping").await?;
        io.shutdown().await?;
        let mut all = Vec::new();
        io.read_to_end(&mut all).await?;
        Ok::<_, std::io::Error>(all)
    };
    let got = tokio::time::timeout(PATIENCE, ask).await.expect("an end");
    got.unwrap_or_default()
}

pub(crate) fn upstreams(shim: &Shim, app: &str) -> Vec<SocketAddr> {
    let name = format!("{app} upstream");
    let all = shim.ports.iter().filter(|(found, _)| *found == name);
    all.map(|(_, addr)| *addr).collect()
}
