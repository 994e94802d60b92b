//! The units in `deploy/systemd` are what systemd takes, and shut in. Without `systemd-analyze` the
//! first part has nothing to ask and says so.

#![allow(clippy::print_stdout, reason = "a test that is skipped says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn units() -> Vec<(String, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    let mut units = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        // A drop-in is no unit.
        if !name.ends_with(".service") {
            continue;
        }
        units.push((name, fs::read_to_string(path).unwrap()));
    }
    assert_eq!(units.len(), 2);
    units
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn systemd_takes_the_units() {
    let asked = Command::new("systemd-analyze").arg("--version").output();
    if !asked.is_ok_and(|output| output.status.success()) {
        println!("skipped: systemd-analyze is not installed");
        return;
    }
    let dir = std::env::temp_dir().join(format!("mesh-units-{}", std::process::id()));
    let scratch = Scratch(dir);
    fs::create_dir_all(&scratch.0).unwrap();
    for (name, text) in units() {
        // The programs need not be installed for their units to be read.
        let installed: String = text
            .lines()
            .map(|line| match line.strip_prefix("ExecStart=") {
                Some(_) => "ExecStart=/bin/true\n".to_owned(),
                None => format!("{line}\n"),
            })
            .collect();
        // A template is checked as an instance.
        let path = scratch.0.join(name.replace("@.", "@legacy-stock."));
        fs::write(&path, installed).unwrap();
        let verify = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&verify.stderr);
        // Findings in other units of the machine are not ours.
        let ours: Vec<_> = said.lines().filter(|line| line.contains("mesh-")).collect();
        assert!(verify.status.success() && ours.is_empty(), "{name}: {said}");
    }
}

#[test]
fn each_unit_tells_when_it_is_ready_and_is_shut_in() {
    for (name, text) in units() {
        for line in [
            "Type=notify",
            "DynamicUser=yes",
            "StateDirectoryMode=0700",
            "NoNewPrivileges=yes",
            "CapabilityBoundingSet=",
            "ProtectSystem=strict",
            "MemoryDenyWriteExecute=yes",
            "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
            "SystemCallFilter=@system-service",
            "Restart=always",
        ] {
            assert!(text.lines().any(|one| one == line), "{name}: no {line}");
        }
    }
}
