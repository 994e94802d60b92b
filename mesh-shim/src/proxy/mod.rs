//! The plaintext side: listeners whose service is the mesh's client.

mod hop;
mod target;
