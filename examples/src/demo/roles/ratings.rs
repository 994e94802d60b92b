//! `ratings`: stars of a product, plain HTTP by axum.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use mesh_tower::tls::{Credentials, Identity};

use super::member::{self, Error, Member, loopback};
use super::serve::serve;
use crate::demo::fault::Fault;

pub(crate) fn run(rogue: bool) -> Result<(), Error> {
    member::run("ratings", &[], async |member: Member| {
        let router = Router::new()
            .route("/ratings/{id}", get(show))
            .with_state(member.fault.clone());
        if rogue {
            // It joined as itself, so that others find it; what it shows them is another's.
            pretend(member.mesh.credentials())?;
        }
        serve(&member, loopback(), router).await
    })
}

async fn show(Path(id): Path<u64>, State(_fault): State<Arc<Fault>>) -> Json<serde_json::Value> {
    Json(serde_json::json!({ "id": id, "stars": id % 5 + 1 }))
}

/// The same name, from an authority that nobody in the mesh trusts.
fn pretend(credentials: &Credentials) -> Result<(), Error> {
    let own = credentials.identity().ok_or("no identity yet")?;
    let id = own.spiffe_id().to_string();
    let authority_key = rcgen::KeyPair::generate()?;
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    authority.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate()?;
    let mut leaf = rcgen::CertificateParams::default();
    leaf.subject_alt_names = vec![rcgen::SanType::URI(id.as_str().try_into()?)];
    leaf.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
    leaf.is_ca = rcgen::IsCa::ExplicitNoCa;
    let leaf = leaf.signed_by(&key, &issuer)?;
    credentials.set_identity(Identity::from_pem(leaf.pem(), key.serialize_pem())?);
    Ok(())
}
