//! Endpoints in memory, for tests of stacks and of applications: no port, no real time. (For tests of whole
//! programs there is [`free_port`].)
//!
//! A [`TestNet`] is a connector; each [`TestEndpoint`] in it is a scripted HTTP server behind an
//! in-memory pipe that speaks HTTP/1.1 and HTTP/2. On paused time (`#[tokio::test(start_paused =
//! true)]`) delays and timeouts pass at once and in order.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! use mesh_tower::testkit::TestNet;
//! use tower_service::Service;
//!
//! let net = TestNet::new();
//! let endpoint = net.endpoint("10.0.0.1:80");
//! endpoint.answer(200, "hello");
//! let mesh = net.mesh("web").endpoints("reviews", [endpoint.addr()]).build().unwrap();
//! let mut client = mesh.client("reviews");
//! let request = http::Request::get("/").body(String::new()).unwrap();
//! let response = client.call(request).await.unwrap();
//! assert_eq!(response.status(), 200);
//! # });
//! ```

mod endpoint;
mod net;
mod port;
mod script;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod time;

pub use self::endpoint::TestEndpoint;
pub use self::net::TestNet;
pub use self::port::free_port;
pub use self::script::{Reply, Seen};
pub use self::time::begin_windows;
