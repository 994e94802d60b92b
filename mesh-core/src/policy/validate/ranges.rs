use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::findings::{Finding, Findings};
use crate::error::Code;
use crate::policy::spec::{Interval, Ratio, Resource};

/// Checks of single values of one resource. `field` is the path below `spec`.
pub(super) struct Ranges<'r, 'f> {
    pub(super) resource: &'r Resource,
    pub(super) findings: &'f mut Findings,
}

impl Ranges<'_, '_> {
    pub(super) fn refuse(&mut self, field: &str, why: impl Into<String>) -> Finding<'_> {
        self.note(field, Code::POLICY_RANGE, why)
    }

    pub(super) fn note(&mut self, field: &str, code: Code, why: impl Into<String>) -> Finding<'_> {
        let path = format!("spec.{field}");
        self.findings.error(self.resource, path, code, why)
    }

    pub(super) fn warn(&mut self, field: &str, code: Code, why: impl Into<String>) -> Finding<'_> {
        let path = format!("spec.{field}");
        self.findings.warning(self.resource, path, code, why)
    }

    fn within<T: PartialOrd + Display>(
        &mut self,
        field: &str,
        value: Option<T>,
        range: RangeInclusive<T>,
    ) {
        if let Some(value) = value
            && !range.contains(&value)
        {
            let (low, high) = range.into_inner();
            self.refuse(
                field,
                format!("{value} is not in the range {low} to {high}"),
            );
        }
    }

    pub(super) fn number(&mut self, field: &str, value: Option<u32>, range: RangeInclusive<u32>) {
        self.within(field, value, range);
    }

    pub(super) fn percent(&mut self, field: &str, value: Option<u32>) {
        self.within(field, value, 0..=100);
    }

    /// In thousandths.
    pub(super) fn ratio(&mut self, field: &str, value: Option<Ratio>, milli: RangeInclusive<u32>) {
        let (low, high) = milli.into_inner();
        self.within(
            field,
            value,
            Ratio::from_milli(low)..=Ratio::from_milli(high),
        );
    }

    pub(super) fn duration(
        &mut self,
        field: &str,
        value: Option<Interval>,
        range: RangeInclusive<Duration>,
    ) {
        let (low, high) = range.into_inner();
        self.within(field, value, Interval::new(low)..=Interval::new(high));
    }

    pub(super) fn at_least(&mut self, field: &str, value: Option<Interval>, least: Duration) {
        if let Some(value) = value
            && value.get() < least
        {
            let why = format!("{value} is too short; at least {}", Interval::new(least));
            self.refuse(field, why);
        }
    }

    pub(super) fn at_least_one(&mut self, field: &str, value: Option<u32>) {
        if value == Some(0) {
            self.refuse(field, "0 would let nothing pass; use 1 or more");
        }
    }

    pub(super) fn positive(&mut self, field: &str, value: Option<Interval>) {
        if value.is_some_and(|i| i.get().is_zero()) {
            self.refuse(field, "a duration of zero has no meaning here");
        }
    }

    /// Two fields, the first of which is not above the second.
    pub(super) fn ordered<T: PartialOrd + Display>(
        &mut self,
        (low, low_value): (&str, T),
        (high, high_value): (&str, T),
    ) {
        if low_value > high_value {
            let name = high.rsplit('.').next().unwrap_or(high);
            self.refuse(low, format!("{low_value} is above `{name}`, {high_value}"));
        }
    }
}
