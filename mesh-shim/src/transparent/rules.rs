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

/// The two protocols, each with tables of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

const OFF: &str = "# IPv6 is off here: only IPv4 is redirected\n";

impl Family {
    /// Whether connections of it can be made in this network namespace.
    fn is_on(self) -> bool {
        let switch = "/proc/sys/net/ipv6/conf/all/disable_ipv6";
        match self {
            Self::V4 => true,
            // Without IPv6 in the kernel there is no file.
            Self::V6 => std::fs::read_to_string(switch).is_ok_and(|text| text.trim() == "0"),
        }
    }

    fn here() -> Vec<Self> {
        let mut all = vec![Self::V6, Self::V4];
        all.retain(|one| one.is_on());
        all
    }

    /// As nft calls it, and what is loopback in it.
    fn nft(self) -> (&'static str, &'static str) {
        match self {
            Self::V4 => ("ip", "127.0.0.0/8"),
            Self::V6 => ("ip6", "::1"),
        }
    }

    fn iptables(self) -> &'static str {
        match self {
            Self::V4 => "iptables",
            Self::V6 => "ip6tables",
        }
    }
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
        let families = Family::here();
        let told = run(&self.steps(Tool::find()?, &families), dry_run)?;
        Ok(match families.contains(&Family::V6) {
            true => told,
            false => format!("{OFF}{told}"),
        })
    }

    /// Removes them.
    pub(crate) fn undo(dry_run: bool) -> Result<String, ShimError> {
        run(&removal(Tool::find()?), dry_run)
    }

    fn steps(&self, tool: Tool, families: &[Family]) -> Vec<Step> {
        match tool {
            Tool::Nft => vec![self.nft(families)],
            Tool::Iptables => {
                let mut steps = removal(tool);
                for family in families {
                    steps.extend(self.iptables(*family));
                }
                steps
            }
        }
    }

    fn nft(&self, families: &[Family]) -> Step {
        // One transaction: there is no moment without rules, or with half of them.
        let text = families.iter().map(|family| self.table(*family)).collect();
        Step {
            program: "nft",
            args: vec!["-f".to_owned(), "-".to_owned()],
            input: Some(text),
            may_fail: false,
        }
    }

    fn table(&self, family: Family) -> String {
        let (name, loopback) = family.nft();
        let mut text = format!(
            "add table {name} {TABLE}\ndelete table {name} {TABLE}\ntable {name} {TABLE} {{\n"
        );
        text.push_str("  chain output {\n    type nat hook output priority -100; policy accept;\n");
        if let Some(uid) = self.uid {
            let _ = writeln!(text, "    meta skuid {uid} return");
        }
        if let Some(mark) = self.mark {
            let _ = writeln!(text, "    meta mark {mark} return");
        }
        let _ = writeln!(text, "    {name} daddr {loopback} return");
        for port in &self.exclude {
            let _ = writeln!(text, "    tcp dport {port} return");
        }
        let _ = writeln!(text, "    meta l4proto tcp redirect to :{}", self.port);
        text.push_str("  }\n}\n");
        text
    }

    fn iptables(&self, family: Family) -> Vec<Step> {
        let loopback = family.nft().1;
        let mut rules = vec![format!("-N {CHAIN}")];
        if let Some(uid) = self.uid {
            rules.push(format!("-A {CHAIN} -m owner --uid-owner {uid} -j RETURN"));
        }
        if let Some(mark) = self.mark {
            rules.push(format!("-A {CHAIN} -m mark --mark {mark} -j RETURN"));
        }
        rules.push(format!("-A {CHAIN} -d {loopback} -j RETURN"));
        for port in &self.exclude {
            rules.push(format!("-A {CHAIN} -p tcp --dport {port} -j RETURN"));
        }
        let port = self.port;
        rules.push(format!("-A {CHAIN} -p tcp -j REDIRECT --to-ports {port}"));
        // Last: until here nothing passes the chain.
        rules.push(format!("-A OUTPUT -p tcp -j {CHAIN}"));
        let rules = rules.iter();
        rules.map(|rule| iptables(family, rule, false)).collect()
    }
}

fn iptables(family: Family, rule: &str, may_fail: bool) -> Step {
    let args = ["-w", "-t", "nat"].into_iter().chain(rule.split(' '));
    Step {
        program: family.iptables(),
        args: args.map(str::to_owned).collect(),
        input: None,
        may_fail,
    }
}

/// Of both families, whatever is on now. What is missing is no error, nor is a program or a kernel
/// that has no IPv6: nothing of ours can be there.
fn removal(tool: Tool) -> Vec<Step> {
    let one = |family: Family| match tool {
        Tool::Nft => {
            let name = family.nft().0;
            vec![Step {
                program: "nft",
                args: vec!["-f".to_owned(), "-".to_owned()],
                // Adding it first makes the removal of what is not there no error.
                input: Some(format!(
                    "add table {name} {TABLE}\ndelete table {name} {TABLE}\n"
                )),
                may_fail: family == Family::V6,
            }]
        }
        Tool::Iptables => vec![
            iptables(family, &format!("-D OUTPUT -p tcp -j {CHAIN}"), true),
            iptables(family, &format!("-F {CHAIN}"), true),
            iptables(family, &format!("-X {CHAIN}"), true),
        ],
    };
    [Family::V4, Family::V6].into_iter().flat_map(one).collect()
}

fn run(steps: &[Step], dry_run: bool) -> Result<String, ShimError> {
    let mut told = String::new();
    for step in steps {
        let line = match &step.input {
            Some(input) => format!("{} {} <<END\n{input}END", step.program, step.args.join(" ")),
            None => format!("{} {}", step.program, step.args.join(" ")),
        };
        if !dry_run {
            let done = match execute(step) {
                Ok(done) => done,
                Err(_) if step.may_fail => continue,
                Err(error) => {
                    let what = format!("cannot run {}: {error}", step.program);
                    return Err(ShimError::plain(what, "install it"));
                }
            };
            if !done.status.success() {
                if step.may_fail {
                    continue;
                }
                let why = String::from_utf8_lossy(&done.stderr).trim().to_owned();
                return Err(ShimError::plain(
                    format!("{line}\n{why}"),
                    "rules need CAP_NET_ADMIN in the network namespace: run this as root; if the kernel has no \
                     NAT for IPv6, switch IPv6 off here (sysctl net.ipv6.conf.all.disable_ipv6=1), or its \
                     connections would go around the shim",
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
        for (family, loopback) in [
            (Family::V4, "ip daddr 127.0.0.0/8"),
            (Family::V6, "ip6 daddr ::1"),
        ] {
            let text = rules().table(family);
            let at = |what: &str| {
                text.find(what)
                    .unwrap_or_else(|| panic!("{what} in {text}"))
            };
            let redirect = at("redirect to :7141");
            for before in ["skuid 65534", "mark 1337", loopback, "tcp dport 22"] {
                assert!(at(before) < redirect, "{before}");
            }
            let steps = rules().iptables(family);
            assert!(steps.iter().all(|step| step.program == family.iptables()));
            let lines: Vec<_> = steps.iter().map(|step| step.args.join(" ")).collect();
            assert_eq!(
                lines.last().unwrap(),
                "-w -t nat -A OUTPUT -p tcp -j MESH_SHIM"
            );
            assert!(lines[lines.len() - 2].ends_with("REDIRECT --to-ports 7141"));
        }
    }

    #[test]
    fn both_families_are_one_transaction_and_without_ipv6_there_is_one() {
        let both = rules().steps(Tool::Nft, &[Family::V6, Family::V4]);
        let text = both[0].input.as_deref().unwrap();
        assert_eq!(both.len(), 1);
        assert!(text.contains("table ip6 mesh_shim {") && text.contains("table ip mesh_shim {"));
        let one = rules().steps(Tool::Iptables, &[Family::V4]);
        let six = one.iter().filter(|step| step.program == "ip6tables");
        assert!(six.clone().count() == 3 && six.clone().all(|step| step.may_fail));
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
