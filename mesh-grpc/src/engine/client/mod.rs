//! The client half: what is wanted, what is held, and what to say about it.
//!
//! ```text
//!   reconnect() -> poll_request()*  first request of each type: all names, and the versions held of them
//!   on_response() -> Update         nothing is held yet
//!        accept(update)             held, an ACK is queued
//!        refuse(update, ..)         not held, a NACK is queued
//! ```
//!
//! An [`Update`] is answered only after it was put into force: an ACK says "I run this", not "I read this".

mod machine;
mod update;

pub use machine::Machine;
pub use update::Update;
