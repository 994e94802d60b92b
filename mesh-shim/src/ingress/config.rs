//! `--ingress`, `--certificates`, `--https-redirect`, `--passthrough`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use mesh_tower::server::Ingress;

use crate::config::parse_listen;
use crate::error::ShimError;

const EXAMPLE: &str = "write --ingress 0.0.0.0:443 --certificates /etc/mesh/certificates, or --ingress http://0.0.0.0:80";

/// What is taken in from outside the mesh.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IngressConfig {
    /// The listeners; none without an ingress.
    pub listen: Vec<IngressListen>,
    /// Pairs of certificate and key.
    pub certificates: Option<PathBuf>,
    /// Plaintext listeners only say where to come: `https://` at this port.
    pub https_redirect: Option<u16>,
    /// TLS that is not ended here.
    pub passthrough: Vec<Passthrough>,
}

/// One `--ingress [http://]ADDR`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IngressListen {
    /// The listener.
    pub addr: SocketAddr,
    /// With TLS, unless `http://` is said.
    pub tls: bool,
}

/// One `--passthrough HOST=SERVICE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passthrough {
    /// `www.example.com` or `*.example.com`.
    pub host: String,
    /// The service that ends the TLS, with its port if that is said.
    pub service: String,
}

/// `--https-redirect`, with the port that clients outside know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HttpsRedirect(pub(crate) Option<u16>);

// === impl IngressConfig ===

impl IngressConfig {
    /// Checks what no single flag can know.
    pub(crate) fn checked(self) -> Result<Self, ShimError> {
        let has_tls = self.listen.iter().any(|one| one.tls);
        let has_plaintext = self.listen.iter().any(|one| !one.tls);
        let refuse = |what: &str, next: &str| Err(ShimError::configuration(what, next));
        if has_tls && self.certificates.is_none() && self.passthrough.is_empty() {
            return refuse("--ingress has TLS, and no certificate to show", EXAMPLE);
        }
        if !has_tls && self.certificates.is_some() {
            return refuse("--certificates without an --ingress of TLS", EXAMPLE);
        }
        if !has_tls && !self.passthrough.is_empty() {
            return refuse("--passthrough without an --ingress of TLS", EXAMPLE);
        }
        if !has_plaintext && self.https_redirect.is_some() {
            return refuse(
                "--https-redirect without a plaintext --ingress",
                "add --ingress http://0.0.0.0:80, whose requests are to be redirected",
            );
        }
        for (n, one) in self.listen.iter().enumerate() {
            let same = |other: &&IngressListen| other.addr == one.addr && one.addr.port() != 0;
            if self.listen[..n].iter().find(same).is_some() {
                let what = format!("--ingress {} is there twice", one.addr);
                return refuse(&what, "keep one of the two");
            }
        }
        for (n, one) in self.passthrough.iter().enumerate() {
            let same = |other: &&Passthrough| other.host.eq_ignore_ascii_case(&one.host);
            if self.passthrough[..n].iter().find(same).is_some() {
                let what = format!("--passthrough {} is there twice", one.host);
                return refuse(&what, "keep one of the two");
            }
        }
        Ok(self)
    }

    /// What a successor finds a listener by.
    pub(crate) fn key(&self, owner: &str, n: usize) -> String {
        match self.listen.get(n) {
            Some(asked) if asked.addr.port() != 0 => format!("ingress {owner} {asked}"),
            // Any port: only the place tells two of them apart.
            _ => format!("ingress {owner} {n}"),
        }
    }
}

// === impl IngressListen ===

impl fmt::Display for IngressListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.addr)
    }
}

impl FromStr for IngressListen {
    type Err = ShimError;

    fn from_str(text: &str) -> Result<Self, ShimError> {
        let (tls, addr) = match text.strip_prefix("http://") {
            Some(addr) => (false, addr),
            None => (true, text.strip_prefix("https://").unwrap_or(text)),
        };
        let addr = parse_listen(addr.strip_suffix('/').unwrap_or(addr)).map_err(|_| {
            let what = format!("ingress `{text}`: not an address with a port");
            ShimError::configuration(what, EXAMPLE)
        })?;
        Ok(Self { addr, tls })
    }
}

// === impl Passthrough ===

impl FromStr for Passthrough {
    type Err = ShimError;

    fn from_str(text: &str) -> Result<Self, ShimError> {
        let bad = |what: &str| {
            ShimError::configuration(
                format!("passthrough `{text}`: {what}"),
                "write --passthrough www.example.com=web.shop:8443 or '*.example.com=web.shop'",
            )
        };
        let (host, service) = text.split_once('=').ok_or_else(|| bad("`=` is missing"))?;
        let tried = Ingress::tls(None).pass_through(host, service);
        tried
            .map_err(|error| bad(&super::text_of(&error)))
            .map(drop)?;
        Ok(Self {
            host: host.to_owned(),
            service: service.to_owned(),
        })
    }
}

// === impl HttpsRedirect ===

impl fmt::Display for HttpsRedirect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(port) => port.fmt(f),
            None => f.write_str("off"),
        }
    }
}

impl FromStr for HttpsRedirect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // As a file or a variable says it.
        let port = match text {
            "off" | "false" => return Ok(Self(None)),
            "true" => 443,
            text => match text.parse::<u16>() {
                Ok(port) if port > 0 => port,
                _ => return Err(format!("`{text}` is not a port; 443 if none is given")),
            },
        };
        Ok(Self(Some(port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_has_tls_unless_it_says_http() {
        let listen = |text: &str| text.parse::<IngressListen>();
        let all = listen("0.0.0.0:443").unwrap();
        assert_eq!(
            (all.to_string().as_str(), all.tls),
            ("https://0.0.0.0:443", true)
        );
        assert_eq!(listen("https://0.0.0.0:443/").unwrap(), all);
        assert!(!listen("http://[::]:80").unwrap().tls);
        assert_eq!(
            listen("443").unwrap().addr,
            "127.0.0.1:443".parse().unwrap()
        );
        for text in [
            "www.example.com:443",
            "http://",
            "ftp://0.0.0.0:1",
            "0.0.0.0",
        ] {
            let error = listen(text).unwrap_err();
            assert_eq!(error.code(), Some("M1003"), "{text}");
            assert!(
                error.to_string().contains("--ingress 0.0.0.0:443"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_passthrough_names_a_host_and_a_service() {
        let one: Passthrough = "*.example.com=shop/web:8443".parse().unwrap();
        assert_eq!(
            (one.host.as_str(), one.service.as_str()),
            ("*.example.com", "shop/web:8443")
        );
        for text in [
            "a.example.com",
            "=web",
            "a b=web",
            "*=web",
            "a.*.b=web",
            "a=",
            "a=w:x",
            "a=-",
        ] {
            let error = text.parse::<Passthrough>().unwrap_err();
            assert_eq!(error.code(), Some("M1003"), "{text}");
            assert!(error.to_string().contains("www.example.com=web"), "{error}");
        }
    }

    #[test]
    fn a_redirect_goes_to_443_unless_told() {
        let redirect = |text: &str| text.parse::<HttpsRedirect>().map(|one| one.0);
        assert_eq!(redirect("true"), Ok(Some(443)));
        assert_eq!(redirect("8443"), Ok(Some(8443)));
        assert_eq!(redirect("off"), Ok(None));
        assert!(redirect("0").is_err() && redirect("yes").is_err());
    }
}
