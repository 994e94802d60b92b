//! Where a request ends: everything that two parsers could see differently.

mod bodies;
mod lengths;
mod lines;
