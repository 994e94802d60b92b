//! `meshctl`, as the demo uses it: the same command line, run as a process of its own.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use super::census::RUN;

/// Runs `meshctl` against the demo's control server.
#[derive(Debug, Clone)]
pub(crate) struct Meshctl {
    run: String,
    admin: PathBuf,
}

/// What one run of it said.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// One finding of `meshctl check`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) code: String,
    pub(crate) subject: String,
    pub(crate) message: String,
    pub(crate) next: String,
}

impl Meshctl {
    pub(crate) fn new(run: &str, admin: &str) -> Self {
        Self {
            run: run.to_owned(),
            admin: PathBuf::from(admin),
        }
    }

    /// What a person types in another terminal.
    pub(crate) fn command_line(&self) -> String {
        format!(
            "MESH_CONTROL=unix:{} cargo run --release --bin meshctl -- check",
            self.admin.display()
        )
    }

    /// Runs it with `args`.
    pub(crate) async fn run(&self, args: &[&str]) -> Result<Said, String> {
        let exe = std::env::current_exe().map_err(|error| error.to_string())?;
        let output = Command::new(exe)
            .args(["role", "meshctl", "--"])
            .args(args)
            .env("MESH_CONTROL", format!("unix:{}", self.admin.display()))
            .env(RUN, &self.run)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| format!("meshctl: {error}"))?;
        Ok(Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// `meshctl policy apply PATH`.
    pub(crate) async fn apply(&self, path: &Path) -> Result<(), String> {
        let path = path.to_string_lossy();
        let said = self.run(&["policy", "apply", &path]).await?;
        if said.code == 0 {
            return Ok(());
        }
        Err(format!(
            "meshctl policy apply {path}: {}{}",
            said.out, said.err
        ))
    }

    /// `meshctl endpoints`: which instances some client has out of rotation, and why.
    pub(crate) async fn out_of_rotation(&self) -> Result<Vec<(String, String)>, String> {
        let said = self.run(&["endpoints", "-o", "json"]).await?;
        let value: Value = serde_json::from_str(&said.out)
            .map_err(|error| format!("meshctl endpoints: {error}: {}{}", said.out, said.err))?;
        Ok(out_of_rotation(&value))
    }

    /// `meshctl check`: what is not ok.
    pub(crate) async fn check(&self) -> Result<Vec<Finding>, String> {
        let said = self.run(&["check", "-o", "json"]).await?;
        let value: Value = serde_json::from_str(&said.out)
            .map_err(|error| format!("meshctl check: {error}: {}{}", said.out, said.err))?;
        Ok(findings(&value))
    }
}

fn findings(value: &Value) -> Vec<Finding> {
    let list = value.get("findings").unwrap_or(value).as_array();
    let text = |entry: &Value, key: &str| {
        entry
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    list.into_iter()
        .flatten()
        .map(|entry| Finding {
            code: text(entry, "code"),
            subject: text(entry, "subject"),
            message: text(entry, "message"),
            next: text(entry, "next"),
        })
        .filter(|finding| !finding.code.is_empty())
        .collect()
}

/// Callers see the endpoints of a release, the registry those of the whole service: the address
/// tells that they are one.
fn out_of_rotation(value: &Value) -> Vec<(String, String)> {
    let rows = || value.as_array().into_iter().flatten();
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let instance = |addr: &str| {
        let named = rows().find(|row| row["addr"] == addr && row["instance"] != "");
        named.map_or_else(|| addr.to_owned(), |row| text(row, "instance"))
    };
    let mut out = Vec::new();
    for row in rows() {
        for view in row["views"].as_array().into_iter().flatten() {
            if view["state"] == "ejected" || view["state"] == "unreachable" {
                let found = (instance(&text(row, "addr")), text(view, "reason"));
                if !out.contains(&found) {
                    out.push(found);
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_is_named_by_its_instance() {
        let value = serde_json::json!([
            { "service": "shop/reviews", "addr": "a:1", "instance": "reviews-v1#2", "views": [] },
            { "service": "shop/reviews-v1", "addr": "a:1", "instance": "", "views": [
                { "state": "ejected", "reason": "31% failed" }, { "state": "available" } ] },
        ]);
        assert_eq!(
            out_of_rotation(&value),
            [("reviews-v1#2".into(), "31% failed".into())]
        );
    }

    #[test]
    fn findings_are_those_with_a_code() {
        let value = serde_json::json!({ "findings": [
            { "code": "", "subject": "control", "message": "ok", "next": "" },
            { "code": "M5005", "subject": "10.0.0.1:1", "message": "fails", "next": "look" },
        ]});
        let found = findings(&value);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].code.as_str(), found[0].next.as_str()),
            ("M5005", "look")
        );
    }
}
