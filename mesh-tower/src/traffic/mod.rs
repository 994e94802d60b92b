//! What the policy says of calls that arrive, as the layers of a server follow it.

mod follow;
mod home;
mod inbound;

pub(crate) use self::{follow::Follow, home::Home, inbound::Inbound};
