//! Programs that show the mesh at work; `demo` is the main one.

pub mod demo;
pub mod shop;
