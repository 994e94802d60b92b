//! What a process says about itself.

use std::collections::BTreeMap;

use mesh_grpc::pb::control as pb;

use super::SHORT;
use super::limits::MAX_PROCESSES;
use super::ring::Ring;

const SECONDS: u64 = SHORT.as_secs();
/// A process that reports nothing for so long is gone.
const FORGET_AFTER: u64 = 15;

#[derive(Debug, Default)]
struct Process {
    seen: u64,
    not_after: i64,
    plaintext: Ring<u64, SECONDS>,
}

/// By service and name of the process.
#[derive(Debug, Default)]
pub(super) struct Processes(BTreeMap<(Box<str>, Box<str>), Process>);

impl Processes {
    pub(super) fn take(&mut self, service: &str, report: &pb::ReportRequest, second: u64) {
        let key = (service.into(), report.instance.as_str().into());
        if !self.0.contains_key(&key) && self.0.len() >= MAX_PROCESSES {
            return;
        }
        let process = self.0.entry(key).or_default();
        process.seen = second;
        process.not_after = report.identity_not_after_unix;
        let sum = process.plaintext.at(second);
        *sum = sum.saturating_add(report.plaintext_peers);
    }

    pub(super) fn sweep(&mut self, second: u64) {
        self.0.retain(|_, process| {
            process.plaintext.drop_old(second);
            process.seen + FORGET_AFTER >= second
        });
    }

    pub(super) fn certificates(&self) -> Vec<(String, String, i64)> {
        let with = self.0.iter().filter(|(_, process)| process.not_after > 0);
        with.map(|((service, instance), process)| {
            (service.to_string(), instance.to_string(), process.not_after)
        })
        .collect()
    }

    pub(super) fn plaintext(&self, second: u64) -> Vec<(String, u64)> {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for ((service, _), process) in &self.0 {
            *sums.entry(service).or_default() += process.plaintext.recent(second).sum::<u64>();
        }
        sums.retain(|_, count| *count > 0);
        sums.into_iter()
            .map(|(service, count)| (service.to_owned(), count))
            .collect()
    }
}
