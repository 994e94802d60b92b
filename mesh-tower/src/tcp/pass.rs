use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use mesh_core::error::{ErrorKind, MeshError};

use super::copy::{self, End, Moved};
use super::record::{self, Record};
use crate::Mesh;
use crate::transport::{BoxIo, abort};

const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// As for what the policy knows.
const IDLE: Duration = Duration::from_secs(3600);
/// The service's name where there is none.
const PASSED: &str = "(passed)";

impl Mesh {
    /// Turns a client of bytes away: its connection is reset, counted by the kind under the service
    /// `(unknown)`, and told of in one line of the access log with the kind's code.
    pub fn refuse(&self, client: BoxIo, from: SocketAddr, kind: ErrorKind, what: &str) {
        abort(client);
        record::count(self.recorder(), "outbound", "(unknown)", kind.label());
        record::refused_line(from, &MeshError::new(kind, what));
    }

    /// Carries bytes to an address of which the policy knows nothing, unchanged and around all of
    /// it; counted under the service `(passed)`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Connect`]; the client's connection has been reset then.
    pub async fn pass(
        &self,
        client: BoxIo,
        from: SocketAddr,
        to: SocketAddr,
        cut: impl Future<Output = ()>,
    ) -> Result<Moved, MeshError> {
        let connecting = self.connector().connect(to);
        let connected = tokio::time::timeout(CONNECT_WITHIN, connecting).await;
        let failed = match connected {
            Ok(Ok(endpoint)) => {
                let mut record = Record::open(self.recorder(), "outbound", PASSED.into(), to);
                record.from = Some(from);
                let meter = record.meter().clone();
                let cut = async {
                    cut.await;
                    End::Cut
                };
                let (end, client, endpoint) =
                    copy::copy(client, endpoint, &meter, Some(IDLE), cut).await;
                record.end = Some(end);
                if end != End::Closed {
                    abort(client);
                    abort(endpoint);
                }
                return Ok(Moved {
                    sent: meter.sent(),
                    received: meter.received(),
                    end,
                });
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {CONNECT_WITHIN:?}"),
        };
        abort(client);
        let kind = ErrorKind::Connect;
        record::count(self.recorder(), "outbound", PASSED, kind.label());
        let error = MeshError::new(kind, format!("{to}: {failed}"));
        record::refused_line(from, &error);
        Err(error)
    }
}
