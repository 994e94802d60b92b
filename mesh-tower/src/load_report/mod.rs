//! Tells callers how loaded this process is, with its answers (ORCA): what balancing by
//! `ClientWeighted` goes by on the other side.
//!
//! A caller asks with `endpoint-load-metrics-format`: `TEXT` is answered in the header
//! `endpoint-load-metrics`, `BIN` in `endpoint-load-metrics-bin`, which for gRPC is in the trailers.
//! Nobody who does not ask is told, unless the server was built to [tell everybody](
//! LoadReports::always): other clients of gRPC's `weighted_round_robin` do not ask.
//!
//! The report holds the calls and failed calls of the last second, and the share of the machine's
//! processors that the process used in it. What the application knows better, such as how full its
//! queue is, it can set: see [`LoadReports::set_application_utilization`]. Until somebody asks for
//! the first time, nothing is measured.
//!
//! ```
//! use mesh_tower::load_report::{LoadReportLayer, LoadReports};
//!
//! let reports = LoadReports::new();
//! reports.set_application_utilization(0.7);
//! let _layer = LoadReportLayer::new(reports);
//! ```

mod body;
mod layer;
mod meter;

pub use self::layer::{LoadReportFuture, LoadReportLayer, LoadReportService};
pub use self::meter::LoadReports;
