#![no_main]
//! Load reports of a backend: numbers that weights can be made of, or none; what is read is written alike.

use libfuzzer_sys::fuzz_target;
use mesh_core::balance::LoadReport;

fuzz_target!(|bytes: &[u8]| {
    for report in [LoadReport::from_binary(bytes), LoadReport::from_header(bytes)] {
        let Some(report) = report else { continue };
        let numbers = [report.cpu_utilization, report.application_utilization, report.qps, report.eps];
        assert!(numbers.iter().all(|number| number.is_finite() && *number >= 0.0), "{report:?}");
        assert_eq!(LoadReport::from_binary(report.to_binary().as_bytes()), Some(report));
    }
});
