use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::*;
use crate::scratch::Scratch;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_900_000_000)
}

fn ca(dir: &Scratch) -> Ca {
    Ca::open(dir.path(), "mesh.local", DAY, now()).unwrap()
}

fn csr(params: CertificateParams) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    params.serialize_request(&key).unwrap().der().to_vec()
}

#[test]
fn a_leaf_follows_the_svid_rules_whatever_the_request_says() {
    let dir = Scratch::new("ca");
    let ca = ca(&dir);
    let mut greedy = CertificateParams::new(vec!["evil.example".to_owned()]).unwrap();
    greedy.subject_alt_names.push(SanType::URI(
        "spiffe://mesh.local/ns/a/sa/b".try_into().unwrap(),
    ));
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let id = ca.spiffe_id("shop", "web");
    let leaf = ca.sign(&csr(greedy), &id, now()).unwrap();
    assert_eq!(leaf.chain_der.len(), 1);
    assert_eq!(leaf.not_after, now() + DAY);

    let (_, x509) =
        x509_parser::certificate::X509Certificate::from_der(&leaf.chain_der[0]).unwrap();
    let san = x509.subject_alternative_name().unwrap().unwrap();
    assert!(matches!(
        san.value.general_names.as_slice(),
        [GeneralName::URI("spiffe://mesh.local/ns/shop/sa/web")]
    ));
    assert!(!x509.is_ca());
    let usage = x509.key_usage().unwrap().unwrap();
    assert!(usage.critical && usage.value.digital_signature());
    assert!(!usage.value.key_cert_sign() && !usage.value.crl_sign());
    let extended = x509.extended_key_usage().unwrap().unwrap().value;
    assert!(extended.server_auth && extended.client_auth);
    let life = x509.validity().not_after.timestamp() - x509.validity().not_before.timestamp();
    assert_eq!(life, 24 * 3600 + 60, "backdated by a minute");
    let (_, issuer) = x509_parser::pem::parse_x509_pem(ca.certificate_pem().as_bytes()).unwrap();
    let issuer = issuer.parse_x509().unwrap();
    x509.verify_signature(Some(issuer.public_key())).unwrap();
}

#[test]
fn a_request_that_its_key_did_not_sign_is_refused() {
    let dir = Scratch::new("ca");
    let ca = ca(&dir);
    let good = csr(CertificateParams::default());
    let id = ca.spiffe_id("shop", "web");
    ca.sign(&good, &id, now()).unwrap();

    let mut forged = good.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    assert!(
        ca.sign(&forged, &id, now())
            .unwrap_err()
            .to_string()
            .contains("not signed by")
    );
    let mut longer = good.clone();
    longer.push(0);
    assert!(
        ca.sign(&longer, &id, now())
            .unwrap_err()
            .to_string()
            .contains("after its end")
    );
    assert!(
        ca.sign(b"nonsense", &id, now())
            .unwrap_err()
            .to_string()
            .contains("PKCS#10")
    );
    assert!(
        ca.sign(&vec![0x30; 9000], &id, now())
            .unwrap_err()
            .to_string()
            .contains("9000")
    );
}

#[test]
fn the_ca_is_the_same_after_a_restart_and_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = Scratch::new("ca");
    let first = ca(&dir).fingerprint().to_owned();
    assert_eq!(ca(&dir).fingerprint(), first);
    let mode = std::fs::metadata(dir.path().join(KEY_FILE))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let other = Ca::open(dir.path(), "other.example", DAY, now()).unwrap_err();
    assert_eq!(other.code(), "M5003");
    assert!(
        other
            .to_string()
            .contains("was made for spiffe://mesh.local"),
        "{other}"
    );
    std::fs::write(
        dir.path().join(KEY_FILE),
        KeyPair::generate().unwrap().serialize_pem(),
    )
    .unwrap();
    let swapped = Ca::open(dir.path(), "mesh.local", DAY, now()).unwrap_err();
    assert!(swapped.to_string().contains("does not belong"), "{swapped}");
    std::fs::remove_file(dir.path().join(KEY_FILE)).unwrap();
    assert_eq!(
        Ca::open(dir.path(), "mesh.local", DAY, now())
            .unwrap_err()
            .code(),
        "M5003"
    );
}
