//! What the environment says.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use mesh_core::error::{ErrorKind, MeshError};
use mesh_core::policy::{MAX_PRIORITY, MAX_WEIGHT};

use crate::channel::{ControlAddr, code};

/// Variables of this library, and of the programs around it that may share an environment.
const KNOWN: &[&str] = &[
    "MESH_SERVICE",
    "MESH_CONTROL",
    "MESH_IDENTITY",
    "MESH_TOKEN",
    "MESH_POLICY",
    "MESH_STATE",
    "MESH_ADMIN",
    "MESH_LOG",
    "MESH_ZONE",
    "MESH_LABELS",
    "MESH_WEIGHT",
    "MESH_PRIORITY",
];

/// Variables of the control server and the shim, which check their own.
const OTHERS: &[&str] = &["MESH_CONTROL_", "MESH_SHIM_"];

/// Where the identity comes from.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// A join token in a file.
    TokenFile(PathBuf),
    /// A join token.
    Token(String),
    /// `cert.pem`, `key.pem` and `roots.pem`, kept fresh by somebody else.
    Directory(PathBuf),
}

/// Everything that decides how to join.
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub(super) service: Option<String>,
    pub(super) control: Option<String>,
    pub(super) identity: Option<Source>,
    pub(super) policy: Option<PathBuf>,
    pub(super) state: Option<PathBuf>,
    pub(super) admin: Option<SocketAddr>,
    pub(super) zone: Option<String>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) weight: Option<u32>,
    pub(super) priority: Option<u32>,
}

impl Settings {
    /// Reads variables; all others than `MESH_*` are passed over.
    pub(super) fn from_env(
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, MeshError> {
        let mut settings = Self::default();
        let mut token = None;
        for (name, value) in variables {
            if !name.starts_with("MESH_") || OTHERS.iter().any(|prefix| name.starts_with(prefix)) {
                continue;
            }
            if !KNOWN.contains(&name.as_str()) {
                return Err(unknown(&name));
            }
            if value.is_empty() {
                continue;
            }
            match name.as_str() {
                "MESH_SERVICE" => settings.service = Some(value),
                "MESH_CONTROL" => settings.control = Some(value),
                "MESH_IDENTITY" => settings.identity = Some(value.parse()?),
                "MESH_TOKEN" => token = Some(Source::Token(value)),
                "MESH_POLICY" => settings.policy = Some(value.into()),
                "MESH_STATE" => settings.state = Some(value.into()),
                "MESH_ADMIN" => settings.admin = Some(admin(&value)?),
                "MESH_ZONE" => settings.zone = Some(value),
                "MESH_LABELS" => settings.labels = labels(&value)?,
                "MESH_WEIGHT" => settings.weight = Some(number(&name, &value, 1..=MAX_WEIGHT)?),
                "MESH_PRIORITY" => {
                    settings.priority = Some(number(&name, &value, 0..=MAX_PRIORITY)?)
                }
                _ => {}
            }
        }
        settings.identity = settings.identity.or(token);
        Ok(settings)
    }

    /// What the program said, and what the environment adds.
    pub(super) fn or(self, other: Self) -> Self {
        Self {
            service: self.service.or(other.service),
            control: self.control.or(other.control),
            identity: self.identity.or(other.identity),
            policy: self.policy.or(other.policy),
            state: self.state.or(other.state),
            admin: self.admin.or(other.admin),
            zone: self.zone.or(other.zone),
            // Label by label.
            labels: other.labels.into_iter().chain(self.labels).collect(),
            weight: self.weight.or(other.weight),
            priority: self.priority.or(other.priority),
        }
    }

    pub(super) fn control_addr(&self) -> Result<Option<ControlAddr>, MeshError> {
        self.control.as_deref().map(str::parse).transpose()
    }
}

impl std::str::FromStr for Source {
    type Err = MeshError;

    fn from_str(text: &str) -> Result<Self, MeshError> {
        match text.split_once(':') {
            Some(("token-value", token)) => Ok(Self::Token(token.to_owned())),
            Some(("token", path)) => Ok(Self::TokenFile(path.into())),
            Some(("dir", path)) => Ok(Self::Directory(path.into())),
            _ => Err(bad(format!(
                "an identity is token:PATH, token-value:TEXT or dir:PATH, not `{}`",
                shorten(text)
            ))),
        }
    }
}

fn admin(text: &str) -> Result<SocketAddr, MeshError> {
    text.parse().map_err(|_| {
        bad(format!(
            "MESH_ADMIN is an address such as 127.0.0.1:7199, not `{}`",
            shorten(text)
        ))
    })
}

/// `version=v2,track=canary`.
fn labels(text: &str) -> Result<BTreeMap<String, String>, MeshError> {
    let label = |one: &str| match one.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => Err(bad(format!(
            "MESH_LABELS is a list such as version=v2,track=canary, not `{}`",
            shorten(text)
        ))),
    };
    text.split(',').map(label).collect()
}

fn number(name: &str, text: &str, range: RangeInclusive<u32>) -> Result<u32, MeshError> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        bad(format!(
            "{name} is a number from {least} to {most}, not `{}`",
            shorten(text)
        ))
    })
}

/// A value that cannot be used (M1003).
pub(super) fn bad(message: impl Into<String>) -> MeshError {
    MeshError::new(ErrorKind::Policy, message).with_code(code(1003))
}

/// Not more of a wrong value than helps to find it: it could be a secret in the wrong place.
fn shorten(text: &str) -> &str {
    let end = text.char_indices().nth(8).map_or(text.len(), |(ix, _)| ix);
    &text[..end]
}

fn unknown(name: &str) -> MeshError {
    let hint = KNOWN
        .iter()
        .map(|known| (distance(name, known), known))
        .min()
        .filter(|(d, _)| *d <= 2);
    let hint = hint
        .map(|(_, known)| format!(", did you mean `{known}`?"))
        .unwrap_or_default();
    MeshError::new(
        ErrorKind::Policy,
        format!("unknown variable `{name}`{hint}"),
    )
    .with_code(code(1001))
    .with_note("known", KNOWN.join(", "))
}

/// Insertions, deletions, replacements and swaps of neighbours between two short texts.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<usize>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, MeshError> {
        Settings::from_env(
            variables
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned())),
        )
    }

    #[test]
    fn a_misspelt_variable_is_an_error_with_the_right_one() {
        for (name, hint) in [
            ("MESH_CONTORL", "did you mean `MESH_CONTROL`?"),
            ("MESH_POLICIES", "[M1001]"),
            ("MESH_TOKENS", "did you mean `MESH_TOKEN`?"),
        ] {
            let error = read(&[(name, "x")]).err().expect("an error");
            assert_eq!(error.code().to_string(), "M1001");
            assert!(error.to_string().contains(hint), "{error}");
        }
        assert!(read(&[("MESHES", "x"), ("MESH_CONTROL_STATE", "x"), ("PATH", "x")]).is_ok());
    }

    #[test]
    fn identities_are_read_and_a_secret_in_the_wrong_place_is_not_shown() {
        let of = |text: &str| text.parse::<Source>().ok();
        assert!(of("token:/run/token") == Some(Source::TokenFile("/run/token".into())));
        assert!(of("token-value:mesh1.x.y") == Some(Source::Token("mesh1.x.y".into())));
        assert!(of("dir:/run/id") == Some(Source::Directory("/run/id".into())));
        let error = "mesh1.verysecret.abcdef"
            .parse::<Source>()
            .err()
            .expect("an error")
            .to_string();
        assert!(!error.contains("secret"), "{error}");
    }

    #[test]
    fn what_is_said_of_an_instance_is_read_and_a_wrong_value_shows_a_right_one() {
        let settings = read(&[
            ("MESH_ZONE", "eu/a"),
            ("MESH_LABELS", "version=v2, track=canary"),
            ("MESH_WEIGHT", "3"),
            ("MESH_PRIORITY", "1"),
        ])
        .unwrap();
        assert_eq!(settings.zone.as_deref(), Some("eu/a"));
        assert_eq!(settings.labels["version"], "v2");
        assert_eq!(settings.labels["track"], "canary");
        assert_eq!((settings.weight, settings.priority), (Some(3), Some(1)));
        for (name, value, hint) in [
            ("MESH_LABELS", "v2", "version=v2,track=canary"),
            ("MESH_WEIGHT", "0", "from 1 to 1000000"),
            ("MESH_PRIORITY", "128", "from 0 to 127"),
        ] {
            let error = read(&[(name, value)]).err().expect("an error").to_string();
            assert!(error.contains(name) && error.contains(hint), "{error}");
        }
    }

    #[test]
    fn what_the_program_says_comes_before_the_environment() {
        let program = Settings {
            control: Some("https://a".into()),
            ..Settings::default()
        };
        let all = program.or(read(&[("MESH_CONTROL", "https://b"), ("MESH_STATE", "/s")]).unwrap());
        assert_eq!(
            (all.control.as_deref(), all.state),
            (Some("https://a"), Some("/s".into()))
        );
        assert!(
            read(&[("MESH_CONTROL", "")]).unwrap().control.is_none(),
            "empty is not set"
        );
    }
}
