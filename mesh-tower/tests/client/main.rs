//! The assembled client on paused time, with endpoints in memory.

mod balancing;
mod calls;
mod ceilings;
mod context;
mod faults;
mod knobs_live;
mod layers;
mod live;
mod metrics;
mod mirrors;
mod per_route;
mod requeue;
mod resilience;
mod retries;
mod returning;
mod routing;
mod sessions;
mod sticky;
mod streams;
mod support;
mod uploads;
