use std::fmt;

use super::{NameError, ServiceName};

/// Where a client wants to go: a service, and a port when one was said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceTarget {
    /// The service.
    pub service: ServiceName,
    /// The port, 1 to 65535; `None` means the service's only or first one.
    pub port: Option<u16>,
}

impl ServiceTarget {
    /// Reads `reviews.shop:8080`, with any spelling of [`ServiceName::parse`] before the colon.
    /// `http://` and `https://` before it and one `/` after it are ignored.
    pub fn parse(text: &str, default_namespace: &str) -> Result<Self, NameError> {
        let rest = text
            .strip_prefix("http://")
            .or_else(|| text.strip_prefix("https://"))
            .unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (name, port) = match rest.rsplit_once(':') {
            None => (rest, None),
            Some((name, digits)) => match digits.parse::<u16>() {
                Ok(port) if port > 0 && !digits.starts_with('+') => (name, Some(port)),
                _ => {
                    return Err(NameError::new(
                        text,
                        "the port is not a number from 1 to 65535",
                    ));
                }
            },
        };
        Ok(Self {
            service: ServiceName::parse(name, default_namespace)?,
            port,
        })
    }
}

impl From<ServiceName> for ServiceTarget {
    fn from(service: ServiceName) -> Self {
        Self {
            service,
            port: None,
        }
    }
}

impl fmt::Display for ServiceTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.service),
            None => self.service.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_name_with_an_optional_port() {
        let show = |text| ServiceTarget::parse(text, "shop").map(|t| t.to_string());
        assert_eq!(show("reviews.shop:8080").unwrap(), "shop/reviews:8080");
        assert_eq!(show("http://reviews:80/").unwrap(), "shop/reviews:80");
        assert_eq!(show("shop/reviews").unwrap(), "shop/reviews");
        for bad in [
            "reviews:0",
            "reviews:65536",
            "reviews:",
            "reviews:+80",
            ":80",
        ] {
            assert!(show(bad).is_err(), "{bad}");
        }
    }
}
