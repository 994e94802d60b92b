//! The assembled client on paused time, with endpoints in memory.

mod calls;
mod ceilings;
mod context;
mod layers;
mod live;
mod metrics;
mod resilience;
mod retries;
mod streams;
mod support;
