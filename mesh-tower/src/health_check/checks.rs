use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::balance::EndpointState;
use mesh_core::policy::model::{ConnectionPolicy, HealthPolicy};
use tokio::sync::Semaphore;

use super::task::{self, Subject};
use crate::live_view::EndpointId;
use crate::runtime::AbortOnDrop;
use crate::telemetry::Recorder;
use crate::transport::{Connect, PoolConfig};

/// Silence after which a streamed check's connection is asked whether it lives; A8's least.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// The checks of one backend's endpoints. Dropping it ends them.
#[derive(Default)]
pub(crate) struct Checks {
    policy: Option<HealthPolicy>,
    /// How many may run at a time.
    limit: Option<Arc<Semaphore>>,
    running: HashMap<EndpointId, Running>,
}

struct Running {
    state: Arc<EndpointState>,
    _task: AbortOnDrop,
}

// === impl Checks ===

impl Checks {
    /// Brings the tasks in line with the policy and the endpoints of a new view. `reach` says how
    /// an endpoint is connected to.
    pub(crate) fn update<'a>(
        &mut self,
        policy: Option<&HealthPolicy>,
        endpoints: impl Iterator<Item = (EndpointId, &'a Arc<EndpointState>)>,
        reach: impl Fn(&EndpointState) -> (PoolConfig, Arc<dyn Connect>),
        service: &Arc<str>,
        recorder: &Recorder,
    ) {
        if self.policy.as_ref() != policy {
            let before = std::mem::take(&mut self.running);
            if policy.is_none() {
                for one in before.values() {
                    one.state.checks().forget();
                }
            }
            self.policy = policy.cloned();
            self.limit = policy.map(|policy| {
                let permits = policy.max_concurrent().max(1) as usize;
                Arc::new(Semaphore::new(permits))
            });
        }
        let (Some(policy), Some(limit)) = (policy, &self.limit) else {
            return;
        };
        let mut before = std::mem::take(&mut self.running);
        for (id, state) in endpoints {
            let running = before.remove(&id).unwrap_or_else(|| {
                let (mut config, connect) = reach(state);
                if let Some(port) = policy.port() {
                    config.addr.set_port(port);
                    if let Some(alternate) = &mut config.alternate {
                        alternate.set_port(port);
                    }
                }
                // One connection, whatever calls may have; a dead one must not look like a silent
                // server.
                config.policy = ConnectionPolicy::default()
                    .with_connect_timeout(config.policy.connect_timeout())
                    .with_keepalive_interval(Some(KEEPALIVE))
                    .with_idle_timeout(policy.interval().saturating_mul(3));
                let subject = Subject::new(
                    policy.clone(),
                    state.clone(),
                    config,
                    connect,
                    limit.clone(),
                    service,
                    recorder,
                );
                Running {
                    state: state.clone(),
                    _task: AbortOnDrop::spawn(task::run(subject)),
                }
            });
            self.running.insert(id, running);
        }
    }
}
