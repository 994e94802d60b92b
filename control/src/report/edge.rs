//! Calls by caller, destination and route.

use std::collections::BTreeMap;

use mesh_grpc::pb::control as pb;

use super::limits::{MAX_CODES, MAX_EDGES};
use super::ring::Ring;
use super::{LONG, SHORT, Span};

const SECONDS: u64 = SHORT.as_secs();
const MINUTES: u64 = LONG.as_secs() / 60;
/// Where everything goes that has no room of its own.
pub(crate) const OTHER: &str = "_other";

/// What was added up in one slot.
#[derive(Clone, Debug, Default)]
struct Cell {
    calls: u64,
    failures: u64,
    retries: u64,
    rescued: u64,
    plaintext: bool,
    codes: BTreeMap<Box<str>, u64>,
    /// Bucket and count, by bucket.
    latency: Vec<(u16, u32)>,
}

#[derive(Debug, Default)]
struct Edge {
    seconds: Ring<Cell, SECONDS>,
    minutes: Ring<Cell, MINUTES>,
}

type Key = (Box<str>, Box<str>, Box<str>);

#[derive(Debug, Default)]
pub(super) struct Edges(BTreeMap<Key, Edge>);

impl Edges {
    pub(super) fn take(&mut self, from: &str, report: &pb::EdgeReport, second: u64) {
        if report.calls == 0 && report.retries == 0 {
            return;
        }
        let mut key: Key = (
            from.into(),
            report.to.as_str().into(),
            report.route.as_str().into(),
        );
        if !self.0.contains_key(&key) && self.0.len() >= MAX_EDGES {
            key = (OTHER.into(), OTHER.into(), OTHER.into());
        }
        let edge = self.0.entry(key).or_default();
        edge.seconds.at(second).add(report);
        edge.minutes.at(second / 60).add(report);
    }

    pub(super) fn sweep(&mut self, second: u64) {
        self.0.retain(|_, edge| {
            edge.seconds.drop_old(second);
            edge.minutes.drop_old(second / 60);
            !edge.minutes.is_empty()
        });
    }

    pub(super) fn sum(&self, span: Span, second: u64) -> Vec<(String, pb::EdgeReport)> {
        let mut sums = Vec::new();
        for ((from, to, route), edge) in &self.0 {
            let mut sum = Cell::default();
            match span {
                Span::Short => edge.seconds.full(second).for_each(|cell| sum.merge(cell)),
                Span::Long => edge
                    .minutes
                    .recent(second / 60)
                    .for_each(|cell| sum.merge(cell)),
            }
            if sum.calls > 0 || sum.retries > 0 {
                sums.push((from.to_string(), sum.report(to, route)));
            }
        }
        sums
    }
}

impl Cell {
    fn add(&mut self, report: &pb::EdgeReport) {
        self.add_counts(
            report.calls,
            report.failures,
            report.retries,
            report.rescued,
        );
        self.plaintext |= report.calls > 0 && !report.mtls;
        for (code, count) in &report.codes {
            self.add_code(code, *count);
        }
        if let Some(latency) = &report.latency {
            for (bucket, count) in latency.index.iter().zip(&latency.count) {
                let bucket = u16::try_from(*bucket).unwrap_or(u16::MAX);
                self.add_latency(bucket, u32::try_from(*count).unwrap_or(u32::MAX));
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.add_counts(other.calls, other.failures, other.retries, other.rescued);
        self.plaintext |= other.plaintext;
        for (code, count) in &other.codes {
            self.add_code(code, *count);
        }
        for (bucket, count) in &other.latency {
            self.add_latency(*bucket, *count);
        }
    }

    fn add_counts(&mut self, calls: u64, failures: u64, retries: u64, rescued: u64) {
        self.calls = self.calls.saturating_add(calls);
        self.failures = self.failures.saturating_add(failures);
        self.retries = self.retries.saturating_add(retries);
        self.rescued = self.rescued.saturating_add(rescued);
    }

    fn add_code(&mut self, code: &str, count: u64) {
        let code = if self.codes.contains_key(code) || self.codes.len() < MAX_CODES {
            code
        } else {
            OTHER
        };
        let sum = self.codes.entry(code.into()).or_default();
        *sum = sum.saturating_add(count);
    }

    fn add_latency(&mut self, bucket: u16, count: u32) {
        match self
            .latency
            .binary_search_by_key(&bucket, |(bucket, _)| *bucket)
        {
            Ok(ix) => self.latency[ix].1 = self.latency[ix].1.saturating_add(count),
            Err(ix) => self.latency.insert(ix, (bucket, count)),
        }
    }

    fn report(&self, to: &str, route: &str) -> pb::EdgeReport {
        let latency = pb::Histogram {
            index: self
                .latency
                .iter()
                .map(|(bucket, _)| u32::from(*bucket))
                .collect(),
            count: self
                .latency
                .iter()
                .map(|(_, count)| u64::from(*count))
                .collect(),
        };
        pb::EdgeReport {
            to: to.to_owned(),
            route: route.to_owned(),
            calls: self.calls,
            failures: self.failures,
            retries: self.retries,
            rescued: self.rescued,
            codes: self
                .codes
                .iter()
                .map(|(code, count)| (code.to_string(), *count))
                .collect(),
            latency: Some(latency),
            mtls: !self.plaintext,
        }
    }
}
