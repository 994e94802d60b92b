//! The leaf rules of X.509-SVID (SPIFFE, sections 2 and 4 and appendix A), which neither rustls nor
//! webpki knows.

use mesh_core::identity::SpiffeId;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Reads the identity of a leaf, or says which rule it breaks. Nothing is proven by this: signature
/// and path are checked elsewhere.
pub(super) fn leaf_id(der: &[u8]) -> Result<SpiffeId, String> {
    let (rest, leaf) =
        X509Certificate::from_der(der).map_err(|_| "it is not an X.509 certificate".to_owned())?;
    if !rest.is_empty() {
        return Err("bytes follow the certificate".to_owned());
    }
    not_an_authority(&leaf)?;
    key_usage(&leaf)?;
    let names = leaf
        .subject_alternative_name()
        .map_err(|_| "its names cannot be read, or are given twice".to_owned())?
        .ok_or("it has no URI name")?;
    let mut uris = names
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    let uri = uris.next().ok_or("it has no URI name")?;
    if uris.next().is_some() {
        return Err("it has more than one URI name".to_owned());
    }
    let id =
        SpiffeId::parse(uri).map_err(|error| format!("its URI name is no identity: {error}"))?;
    if id.path().is_empty() {
        return Err("its identity is a trust domain, not a workload".to_owned());
    }
    Ok(id)
}

fn not_an_authority(leaf: &X509Certificate<'_>) -> Result<(), String> {
    let constraints = leaf
        .basic_constraints()
        .map_err(|_| "its basic constraints cannot be read".to_owned())?;
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err("it is the certificate of an authority".to_owned());
    }
    Ok(())
}

fn key_usage(leaf: &X509Certificate<'_>) -> Result<(), String> {
    let usage = leaf
        .key_usage()
        .map_err(|_| "its key usage cannot be read".to_owned())?
        .ok_or("it has no key usage")?;
    if usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Err("its key may sign certificates or revocation lists".to_owned());
    }
    if !usage.critical || !usage.value.digital_signature() {
        return Err("its key usage is not critical or lacks digitalSignature".to_owned());
    }
    let extended = leaf
        .extended_key_usage()
        .map_err(|_| "its extended key usage cannot be read".to_owned())?;
    match extended {
        Some(extended) if !(extended.value.server_auth && extended.value.client_auth) => {
            Err("its extended key usage lacks serverAuth or clientAuth".to_owned())
        }
        _ => Ok(()),
    }
}

/// Not before and not after, in seconds since 1970.
pub(super) fn validity(der: &[u8]) -> Option<(i64, i64)> {
    let (_, leaf) = X509Certificate::from_der(der).ok()?;
    let validity = leaf.validity();
    Some((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}
