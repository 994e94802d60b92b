use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use mesh_core::error::Code;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::names::Names;
use super::{CertificateState, Certificates};

/// A directory that is gone after the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("mesh-certificates-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        // Moved into place, as tools do it.
        let next = path.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::rename(next, path).unwrap();
    }

    fn pair(&self, name: &str, pair: &(String, String)) {
        self.write(&format!("{name}.crt"), &pair.0);
        self.write(&format!("{name}.key"), &pair.1);
    }

    fn open(&self) -> Certificates {
        Certificates::open(&self.0).unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn made(names: &[&str], edit: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_after = date_time_ymd(2100, 1, 1);
    edit(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn pair(names: &[&str]) -> (String, String) {
    made(names, |_| {})
}

/// The leaf that a name is shown.
fn shown(certificates: &Certificates, name: Option<&str>) -> Option<Vec<u8>> {
    let found = certificates.find(name)?;
    Some(found.served.leaf().to_vec())
}

fn leaf(pair: &(String, String)) -> Option<Vec<u8>> {
    use rustls_pki_types::pem::PemObject as _;
    let leaf = rustls_pki_types::CertificateDer::from_pem_slice(pair.0.as_bytes());
    Some(leaf.unwrap().to_vec())
}

fn fault(certificates: &Certificates, name: &str) -> Option<String> {
    let states = certificates.states();
    let found = states.into_iter().find(|state| state.name == name);
    found.unwrap().fault
}

#[test]
fn the_name_of_the_certificate_decides_not_that_of_the_file() {
    let directory = Directory::new();
    let (www, wild) = (pair(&["WWW.example.com"]), pair(&["*.example.com"]));
    directory.pair("b", &www);
    directory.write("a/tls.crt", &wild.0);
    directory.write("a/tls.key", &wild.1);
    directory.write(".hidden/tls.crt", "not looked at");
    let certificates = directory.open();
    for (name, expected) in [
        ("www.example.com", leaf(&www)),
        ("www.EXAMPLE.com.", leaf(&www)),
        ("other.example.com", leaf(&wild)),
        // One label, RFC 9525 6.3.
        ("a.other.example.com", None),
        ("example.com", None),
        (".example.com", None),
        ("b", None),
    ] {
        assert_eq!(shown(&certificates, Some(name)), expected, "{name}");
    }
    assert_eq!(shown(&certificates, None), None);
    directory.pair("default", &pair(&["fallback.example.org"]));
    certificates.look();
    assert!(shown(&certificates, None).is_some());
    assert_eq!(shown(&certificates, Some("unknown.org")), None);
}

#[test]
fn of_several_for_a_name_the_one_that_expires_last_is_shown() {
    let directory = Directory::new();
    let until = |year| {
        made(&["a.example.com"], |params| {
            params.not_after = date_time_ymd(year, 1, 1);
        })
    };
    let (soon, late) = (until(2040), until(2090));
    directory.pair("1", &soon);
    directory.pair("2", &late);
    directory.pair("3", &soon);
    let certificates = directory.open();
    assert_eq!(shown(&certificates, Some("a.example.com")), leaf(&late));
    fs::remove_file(directory.0.join("2.crt")).unwrap();
    certificates.look();
    assert_eq!(shown(&certificates, Some("a.example.com")), leaf(&soon));
}

#[test]
fn a_host_is_covered_by_names_one_label_of_a_wildcard_and_addresses() {
    let pair = pair(&["www.example.com", "*.shop.example.com", "192.0.2.7", "::1"]);
    let names = Names::of(&leaf(&pair).unwrap()).unwrap();
    for host in [
        "www.example.com",
        "WWW.example.com.",
        "a.shop.example.com",
        "192.0.2.7",
        "[::1]",
    ] {
        assert!(names.covers(host), "{host}");
    }
    for host in [
        "example.com",
        "shop.example.com",
        "a.b.shop.example.com",
        ".shop.example.com",
        "192.0.2.8",
        "payments.shop",
        "",
    ] {
        assert!(!names.covers(host), "{host}");
    }
}

#[test]
fn a_broken_pair_keeps_the_last_good_one_and_spoils_no_other() {
    let directory = Directory::new();
    let (a, b) = (pair(&["a.example.com"]), pair(&["b.example.com"]));
    directory.pair("a", &a);
    directory.pair("b", &b);
    let certificates = directory.open();
    let expired = made(&["a.example.com"], |params| {
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(2001, 1, 1);
    });
    let renewed = pair(&["b.example.com"]);
    directory.pair("b", &renewed);
    for (text, key, what) in [
        ("no PEM", a.1.as_str(), "there is no certificate in it"),
        (&b.0, &a.1, "it is not the key of"),
        (&a.0, "no key", "no private key"),
        (&expired.0, &expired.1, "it expired"),
        ("-----BEGIN CERTIFICATE-----\nAAAA", &a.1, "it is not PEM"),
    ] {
        directory.write("a.crt", text);
        directory.write("a.key", key);
        certificates.look();
        let told = fault(&certificates, "a").unwrap();
        assert!(told.contains(what), "{told}");
        let path = directory.0.join("a.").display().to_string();
        assert!(told.contains(&path), "{told}");
        println!("{told}");
        assert_eq!(shown(&certificates, Some("a.example.com")), leaf(&a));
        assert_eq!(shown(&certificates, Some("b.example.com")), leaf(&renewed));
    }
    fs::remove_file(directory.0.join("a.key")).unwrap();
    certificates.look();
    let told = fault(&certificates, "a").unwrap();
    assert!(told.contains("a.key: it cannot be read"), "{told}");
    let again = pair(&["a.example.com"]);
    directory.pair("a", &again);
    certificates.look();
    assert_eq!(fault(&certificates, "a"), None);
    assert_eq!(shown(&certificates, Some("a.example.com")), leaf(&again));
    // Gone is gone.
    fs::remove_file(directory.0.join("a.crt")).unwrap();
    certificates.look();
    assert_eq!(shown(&certificates, Some("a.example.com")), None);
    assert_eq!(certificates.states().len(), 1);
}

#[test]
fn a_certificate_whose_time_has_not_come_is_taken_when_it_has() {
    let directory = Directory::new();
    let early = made(&["a.example.com"], |params| {
        params.not_before = date_time_ymd(2090, 1, 1);
    });
    directory.pair("a", &early);
    directory.pair("b", &pair(&["b.example.com"]));
    let certificates = directory.open();
    let told = fault(&certificates, "a").unwrap();
    assert!(told.contains("valid in"), "{told}");
    let later = SystemTime::now() + Duration::from_secs(70 * 365 * 86_400);
    let set = certificates.0.lock().scan(later).unwrap().unwrap();
    assert!(set.find(Some("a.example.com")).is_some());
}

#[test]
fn nothing_usable_is_an_error_that_names_each_file() {
    let error = |path: &Path| Certificates::open(path).unwrap_err();
    let directory = Directory::new();
    let none = error(&directory.0);
    assert_eq!(none.code(), Code::INGRESS_CERTIFICATE);
    assert!(none.to_string().contains("NAME.crt"), "{none}");
    directory.write("a.crt", "x");
    directory.write("b.crt", "y");
    let broken = error(&directory.0).to_string();
    assert!(
        broken.contains("a.key") && broken.contains("b.key"),
        "{broken}"
    );
    let missing = error(&directory.0.join("missing"));
    assert!(missing.to_string().contains("missing"), "{missing}");
}

#[test]
fn what_has_not_changed_is_not_taken_up_again() {
    let directory = Directory::new();
    directory.pair("a", &pair(&["a.example.com"]));
    let certificates = directory.open();
    let before = certificates.find(Some("a.example.com")).unwrap().served;
    certificates.look();
    let after = certificates.find(Some("a.example.com")).unwrap().served;
    assert!(std::sync::Arc::ptr_eq(&before, &after));
    let states = certificates.states();
    let [
        CertificateState {
            name,
            not_after,
            fault,
        },
    ] = states.as_slice()
    else {
        panic!("{states:?}");
    };
    assert_eq!((name.as_str(), fault), ("a", &None));
    assert!(not_after.is_some());
}
