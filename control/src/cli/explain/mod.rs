//! `meshctl explain`: what a code means, or the policy that holds for a service and where each
//! part of it was written.
//!
//! | module | does |
//! | --- | --- |
//! | `code` | the page of a code, without a control server |
//! | `service` | asks for the policy in force and finds the service that is meant |
//! | `effective`, `knobs`, `inbound` | what holds, read from the snapshot |
//! | `rows` | the same as plain data: the JSON, and what the tables are printed from |
//! | `source` | where a value comes from |
//! | `words` | conditions, endpoints and callers in words |
//! | `text` | the tables |

mod code;
mod effective;
mod inbound;
mod knobs;
mod rows;
mod service;
mod source;
mod text;
mod words;

#[cfg(test)]
mod tests;

use super::args::Format;
use super::failure::Failure;
use super::output::Output;

/// A code if it looks like one, else a service.
pub(super) async fn run(
    control: &str,
    what: Option<&str>,
    format: Format,
    out: &mut Output,
) -> Result<u8, Failure> {
    match what {
        None => {
            code::list(format, out);
            Ok(0)
        }
        Some(text) if code::is_code(text) => code::explain(text, format, out),
        Some(text) => service::explain(control, text, format, out).await,
    }
}
