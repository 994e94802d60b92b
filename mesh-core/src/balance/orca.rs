//! Load reports of endpoints (ORCA, `xds.data.orca.v3.OrcaLoadReport`).
//!
//! They come with answers: as a protobuf message in `endpoint-load-metrics-bin`, or as text or
//! protobuf in `endpoint-load-metrics` (`TEXT cpu_utilization=0.3,rps_fractional=120`, `BIN <base64>`).
//! Only the fields that weights need are read, by hand; the rest is skipped. A report that is
//! broken, or longer than 8 KiB, is none.

use std::fmt::Write;

use super::base64::{Base64, encode_base64};

/// Longest header that is read.
const LONGEST: usize = 8 * 1024;

/// How loaded an endpoint says it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadReport {
    /// CPU in use, 1 for all of what the process may use; above 1 when it asks for more.
    pub cpu_utilization: f64,
    /// What the application says of itself; counts before the CPU where it is set.
    pub application_utilization: f64,
    /// Calls a second.
    pub qps: f64,
    /// Failed calls a second.
    pub eps: f64,
}

const CPU: u64 = 1;
const QPS: u64 = 6;
const EPS: u64 = 7;
const APPLICATION: u64 = 9;

// === impl LoadReport ===

impl LoadReport {
    /// Reads the value of `endpoint-load-metrics-bin`: base64, padded or not, of a protobuf message.
    pub fn from_binary(value: &[u8]) -> Option<Self> {
        if value.len() > LONGEST {
            return None;
        }
        let mut bytes = Base64::new(value);
        let report = Self::read(&mut bytes)?;
        bytes.valid.then_some(report)
    }

    /// Reads the value of `endpoint-load-metrics`.
    pub fn from_header(value: &[u8]) -> Option<Self> {
        if value.len() > LONGEST {
            return None;
        }
        if let Some(binary) = value.strip_prefix(b"BIN ") {
            return Self::from_binary(binary.trim_ascii());
        }
        let text = std::str::from_utf8(value.strip_prefix(b"TEXT ")?).ok()?;
        let mut report = Self::default();
        for pair in text.split(',') {
            let (name, number) = pair.split_once('=')?;
            let number: f64 = number.trim().parse().ok()?;
            match name.trim() {
                "cpu_utilization" | "cpu" => report.cpu_utilization = number,
                "application_utilization" => report.application_utilization = number,
                "rps_fractional" | "rps" => report.qps = number,
                "eps" => report.eps = number,
                _ => {}
            }
        }
        report.valid()
    }

    /// The value for `endpoint-load-metrics-bin`, without padding.
    pub fn to_binary(&self) -> String {
        let mut message = Vec::with_capacity(36);
        for (field, number) in self.fields() {
            if number != 0.0 {
                // Wire type 1: eight bytes, little endian.
                message.push((field << 3 | 1) as u8);
                message.extend(number.to_le_bytes());
            }
        }
        encode_base64(&message)
    }

    /// The text for `endpoint-load-metrics`.
    pub fn to_text(&self) -> String {
        let mut text = String::from("TEXT ");
        let names = [
            "cpu_utilization",
            "rps_fractional",
            "eps",
            "application_utilization",
        ];
        let mut separator = "";
        for (name, (_, number)) in names.into_iter().zip(self.fields()) {
            if number != 0.0 || name == "cpu_utilization" {
                // Writing to a string does not fail.
                let _ = write!(text, "{separator}{name}={number:.4}");
                separator = ",";
            }
        }
        text
    }

    fn fields(&self) -> [(u64, f64); 4] {
        [
            (CPU, self.cpu_utilization),
            (QPS, self.qps),
            (EPS, self.eps),
            (APPLICATION, self.application_utilization),
        ]
    }

    fn read(bytes: &mut impl Iterator<Item = u8>) -> Option<Self> {
        let mut report = Self::default();
        while let Some(first) = bytes.next() {
            let tag = varint(first, bytes)?;
            let (field, wire) = (tag >> 3, tag & 7);
            if field == 0 {
                return None;
            }
            match wire {
                0 => {
                    let first = bytes.next()?;
                    varint(first, bytes)?;
                }
                1 => {
                    let mut number = [0; 8];
                    for byte in &mut number {
                        *byte = bytes.next()?;
                    }
                    let number = f64::from_le_bytes(number);
                    match field {
                        CPU => report.cpu_utilization = number,
                        QPS => report.qps = number,
                        EPS => report.eps = number,
                        APPLICATION => report.application_utilization = number,
                        _ => {}
                    }
                }
                2 => {
                    let first = bytes.next()?;
                    let length = usize::try_from(varint(first, bytes)?).ok()?;
                    skip(length, bytes)?;
                }
                5 => skip(4, bytes)?,
                _ => return None,
            }
        }
        report.valid()
    }

    /// Negative and unending numbers mean nothing.
    fn valid(self) -> Option<Self> {
        let fields = self.fields();
        let fine = |(_, number): &(u64, f64)| number.is_finite() && *number >= 0.0;
        fields.iter().all(fine).then_some(self)
    }
}

fn skip(length: usize, bytes: &mut impl Iterator<Item = u8>) -> Option<()> {
    match length {
        0 => Some(()),
        length => bytes.nth(length - 1).map(|_| ()),
    }
}

fn varint(first: u8, bytes: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let mut value = u64::from(first & 0x7f);
    let mut more = first & 0x80 != 0;
    let mut shift = 7;
    while more {
        let byte = bytes.next()?;
        if shift > 63 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        more = byte & 0x80 != 0;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const REPORT: LoadReport = LoadReport {
        cpu_utilization: 0.5,
        application_utilization: 0.25,
        qps: 120.0,
        eps: 3.0,
    };

    fn base64(bytes: &[u8]) -> Vec<u8> {
        encode_base64(bytes).into_bytes()
    }

    #[test]
    fn orca_protobuf_by_its_field_numbers() {
        // cpu_utilization = 1 (double), mem_utilization = 2, rps = 3 (varint), request_cost = 4
        // (map), rps_fractional = 6, eps = 7, application_utilization = 9.
        let mut message = vec![0x09];
        message.extend(0.5_f64.to_le_bytes());
        message.push(0x11);
        message.extend(0.9_f64.to_le_bytes());
        message.extend([0x18, 0x96, 0x01]);
        message.extend([0x22, 0x03, 0x0a, 0x01, b'x']);
        message.push(0x31);
        message.extend(120.0_f64.to_le_bytes());
        message.push(0x39);
        message.extend(3.0_f64.to_le_bytes());
        message.push(0x49);
        message.extend(0.25_f64.to_le_bytes());
        assert_eq!(LoadReport::from_binary(&base64(&message)), Some(REPORT));
        let mut bin = b"BIN ".to_vec();
        bin.extend(base64(&message));
        assert_eq!(LoadReport::from_header(&bin), Some(REPORT));
    }

    #[test]
    fn both_forms_come_back_as_they_went() {
        assert_eq!(
            LoadReport::from_binary(REPORT.to_binary().as_bytes()),
            Some(REPORT)
        );
        assert_eq!(
            LoadReport::from_header(REPORT.to_text().as_bytes()),
            Some(REPORT)
        );
        let none = LoadReport::default();
        assert_eq!(
            LoadReport::from_binary(none.to_binary().as_bytes()),
            Some(none)
        );
        assert_eq!(
            LoadReport::from_header(none.to_text().as_bytes()),
            Some(none)
        );
    }

    #[test]
    fn what_is_broken_is_no_report() {
        for broken in [
            &[0x09, 1, 2][..],
            &[0x22, 0xff, 0xff, 3],
            &[0x0b],
            &[0x00, 0x00],
            &[0xff; 20],
        ] {
            assert_eq!(LoadReport::from_binary(&base64(broken)), None, "{broken:?}");
        }
        let mut negative = vec![0x09];
        negative.extend((-1.0_f64).to_le_bytes());
        assert_eq!(LoadReport::from_binary(&base64(&negative)), None);
        assert_eq!(LoadReport::from_binary(b"not base64!"), None);
        assert_eq!(LoadReport::from_binary(&vec![b'A'; LONGEST + 1]), None);
        for text in [
            "",
            "TEXT",
            "TEXT cpu",
            "TEXT cpu=x",
            "TEXT cpu=NaN",
            "JSON {}",
        ] {
            assert_eq!(LoadReport::from_header(text.as_bytes()), None, "{text}");
        }
        let named = b"TEXT named_metrics.queue=3,cpu_utilization=0.5";
        assert_eq!(LoadReport::from_header(named).unwrap().cpu_utilization, 0.5);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = LoadReport::from_binary(&bytes);
            let _ = LoadReport::from_header(&bytes);
            let _ = LoadReport::from_binary(&base64(&bytes));
        }
    }
}
