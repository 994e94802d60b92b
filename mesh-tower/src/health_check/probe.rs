//! One question and its answer. The time limit is the caller's.

use http::{Request, header};
use mesh_core::health::grpc::{CHECK, Serving};
use mesh_core::policy::model::HealthProbe;

use super::grpc;
use super::task::{Failure, Subject};
use crate::body::MeshBody;
use crate::transport::Protocol;

/// Most of an answer's body that is read, so that its connection can be kept.
const BODY: usize = 64 * 1024;

/// gRPC: the call is not implemented.
pub(super) const UNIMPLEMENTED: u32 = 12;

pub(super) async fn once(subject: &mut Subject) -> Result<(), Failure> {
    match subject.policy.probe().clone() {
        HealthProbe::Http { path, statuses } => {
            let request = Request::get(&*path)
                .header(header::USER_AGENT, "mesh-health-check")
                .body(MeshBody::empty())
                .map_err(|error| Failure::from(format!("{path}: {error}")))?;
            let response = subject.pool().call(request).await?;
            let status = response.status().as_u16();
            let well = |(from, to): &(u16, u16)| (*from..=*to).contains(&status);
            if !statuses.iter().any(well) {
                return Err(format!("status {status}").into());
            }
            if let Err(error) = response.into_body().collect_to_bytes(BODY).await {
                return Err(format!("the answer broke off: {error}").into());
            }
            Ok(())
        }
        HealthProbe::Grpc { service } => {
            let mut answer = grpc::call(subject, CHECK, &service).await?;
            match answer.next().await? {
                Some(Serving::Yes) => Ok(()),
                Some(Serving::No) => Err("it says NOT_SERVING".to_owned().into()),
                // A17: a server without the health service is taken to be well.
                None if answer.status() == Some(UNIMPLEMENTED) => Ok(()),
                None => Err(answer.failure()),
            }
        }
        HealthProbe::Tcp => match subject.pool().config().protocol {
            // What a port of bytes says comes of its application too.
            Protocol::Bytes => Ok(crate::tcp::knock(subject.pool()).await?),
            _ => Ok(subject.pool().knock().await?),
        },
        _ => Ok(()),
    }
}
