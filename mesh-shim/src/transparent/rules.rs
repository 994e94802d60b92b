//! `mesh-shim init` and `undo`: the firewall's rules, and taking exactly those away again.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use crate::error::ShimError;

/// What is ours: a table of nftables, or a chain of iptables.
const TABLE: &str = "mesh_shim";
const CHAIN: &str = "MESH_SHIM";

/// Redirects the connections that this machine (or network namespace) makes, but for the shim's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// The shim's transparent listener, on loopback.
    pub(crate) port: u16,
    /// Connections of the shim, by its user or its mark.
    pub(crate) uid: Option<u32>,
    pub(crate) mark: Option<u32>,
    /// Ports that are left alone.
    pub(crate) exclude: Vec<u16>,
}

/// One command, with what it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Step {
    program: &'static str,
    args: Vec<String>,
    input: Option<String>,
    /// It may fail: what it removes need not be there.
    may_fail: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tool {
    Nft,
    Iptables,
}

impl Tool {
    fn find() -> Result<Self, ShimError> {
        let there = |program| {
            Command::new(program)
                .arg("--version")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok()
        };
        if there("nft") {
            Ok(Self::Nft)
        } else if there("iptables") {
            Ok(Self::Iptables)
        } else {
            Err(ShimError::plain(
                "neither nft nor iptables is installed",
                "apt-get install nftables",
            ))
        }
    }
}

// === impl Rules ===

impl Rules {
    /// Writes the rules in place of those that are there, or says what it would do. Gives what was
    /// done, as text.
    pub(crate) fn init(&self, dry_run: bool) -> Result<String, ShimError> {
        if self.uid.is_none() && self.mark.is_none() {
            return Err(ShimError::configuration(
                "init needs to know the shim's own connections, or they would be sent back to it",
                "give --uid with the user that the shim runs as, or --mark N and start it with --mark N",
            ));
        }
        run(&self.steps(Tool::find()?), dry_run)
    }

    /// Removes them.
    pub(crate) fn undo(dry_run: bool) -> Result<String, ShimError> {
        run(&removal(Tool::find()?), dry_run)
    }

    fn steps(&self, tool: Tool) -> Vec<Step> {
        match tool {
            Tool::Nft => vec![self.nft()],
            Tool::Iptables => {
                let mut steps = removal(tool);
                steps.extend(self.iptables());
                steps
            }
        }
    }

    fn nft(&self) -> Step {
        // One transaction: there is no moment without rules, or with half of them.
        let mut text =
            format!("add table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n");
        text.push_str("  chain output {\n    type nat hook output priority -100; policy accept;\n");
        if let Some(uid) = self.uid {
            let _ = writeln!(text, "    meta skuid {uid} return");
        }
        if let Some(mark) = self.mark {
            let _ = writeln!(text, "    meta mark {mark} return");
        }
        text.push_str("    ip daddr 127.0.0.0/8 return\n");
        for port in &self.exclude {
            let _ = writeln!(text, "    tcp dport {port} return");
        }
        let _ = writeln!(text, "    meta l4proto tcp redirect to :{}", self.port);
        text.push_str("  }\n}\n");
        Step {
            program: "nft",
            args: vec!["-f".to_owned(), "-".to_owned()],
            input: Some(text),
            may_fail: false,
        }
    }

    fn iptables(&self) -> Vec<Step> {
        let mut rules = vec![format!("-N {CHAIN}")];
        if let Some(uid) = self.uid {
            rules.push(format!("-A {CHAIN} -m owner --uid-owner {uid} -j RETURN"));
        }
        if let Some(mark) = self.mark {
            rules.push(format!("-A {CHAIN} -m mark --mark {mark} -j RETURN"));
        }
        rules.push(format!("-A {CHAIN} -d 127.0.0.0/8 -j RETURN"));
        for port in &self.exclude {
            rules.push(format!("-A {CHAIN} -p tcp --dport {port} -j RETURN"));
        }
        let port = self.port;
        rules.push(format!("-A {CHAIN} -p tcp -j REDIRECT --to-ports {port}"));
        // Last: until here nothing passes the chain.
        rules.push(format!("-A OUTPUT -p tcp -j {CHAIN}"));
        rules.iter().map(|rule| iptables(rule, false)).collect()
    }
}

fn iptables(rule: &str, may_fail: bool) -> Step {
    let args = ["-w", "-t", "nat"].into_iter().chain(rule.split(' '));
    Step {
        program: "iptables",
        args: args.map(str::to_owned).collect(),
        input: None,
        may_fail,
    }
}

fn removal(tool: Tool) -> Vec<Step> {
    match tool {
        // Adding it first makes the removal of what is not there no error.
        Tool::Nft => vec![Step {
            program: "nft",
            args: vec!["-f".to_owned(), "-".to_owned()],
            input: Some(format!("add table ip {TABLE}\ndelete table ip {TABLE}\n")),
            may_fail: false,
        }],
        Tool::Iptables => vec![
            iptables(&format!("-D OUTPUT -p tcp -j {CHAIN}"), true),
            iptables(&format!("-F {CHAIN}"), true),
            iptables(&format!("-X {CHAIN}"), true),
        ],
    }
}

fn run(steps: &[Step], dry_run: bool) -> Result<String, ShimError> {
    let mut told = String::new();
    for step in steps {
        let line = match &step.input {
            Some(input) => format!("{} {} <<END\n{input}END", step.program, step.args.join(" ")),
            None => format!("{} {}", step.program, step.args.join(" ")),
        };
        if !dry_run {
            let done = execute(step).map_err(|error| {
                ShimError::plain(
                    format!("cannot run {}: {error}", step.program),
                    "install it",
                )
            })?;
            if !done.status.success() {
                if step.may_fail {
                    continue;
                }
                let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
                return Err(ShimError::plain(
                    format!("{line}\n{why}"),
                    "rules need CAP_NET_ADMIN in the network namespace: run this as root",
                ));
            }
        }
        told.push_str(&line);
        told.push('\n');
    }
    Ok(told)
}

fn execute(step: &Step) -> std::io::Result<Output> {
    let mut child = Command::new(step.program)
        .args(&step.args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), &step.input) {
        // Fails when the program has ended already, which says why.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        Rules {
            port: 7141,
            uid: Some(65534),
            mark: Some(1337),
            exclude: vec![22],
        }
    }

    #[test]
    fn the_shims_own_connections_and_loopback_are_left_alone_before_all_else() {
        let step = rules().nft();
        let text = step.input.unwrap();
        let at = |what: &str| {
            text.find(what)
                .unwrap_or_else(|| panic!("{what} in {text}"))
        };
        let redirect = at("redirect to :7141");
        for before in ["skuid 65534", "mark 1337", "127.0.0.0/8", "tcp dport 22"] {
            assert!(at(before) < redirect, "{before}");
        }
        let lines: Vec<_> = rules()
            .iptables()
            .iter()
            .map(|step| step.args.join(" "))
            .collect();
        assert_eq!(
            lines.last().unwrap(),
            "-w -t nat -A OUTPUT -p tcp -j MESH_SHIM"
        );
        assert!(lines[lines.len() - 2].ends_with("REDIRECT --to-ports 7141"));
    }

    #[test]
    fn without_a_way_to_tell_its_own_connections_there_are_no_rules() {
        let rules = Rules {
            uid: None,
            mark: None,
            ..rules()
        };
        let error = rules.init(true).unwrap_err();
        assert_eq!(error.code(), Some("M1003"));
    }
}
