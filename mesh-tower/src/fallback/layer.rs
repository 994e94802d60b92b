use std::{fmt, sync::Arc};

use http::Response;
use mesh_core::{classify::Class, telemetry::names};
use tower_layer::Layer;

use super::{Failed, Fallback};
use crate::{body::MeshBody, telemetry::Recorder};

/// Answers in place of failures.
#[derive(Clone)]
pub struct FallbackLayer {
    pub(super) rule: Arc<Rule>,
}

pub(super) struct Rule {
    when: Box<dyn Fn(&Failed) -> bool + Send + Sync>,
    answer: Arc<dyn Fn(Failed) -> Response<MeshBody> + Send + Sync>,
    recorder: Recorder,
    service: String,
}

// === impl FallbackLayer ===

impl FallbackLayer {
    /// `answer` makes the answer in place of any failure.
    pub fn new(answer: impl Fn(Failed) -> Response<MeshBody> + Send + Sync + 'static) -> Self {
        Self {
            rule: Arc::new(Rule {
                // Its caller is gone, or asked for what cannot be had: that is no outage.
                when: Box::new(|failed| failed.class().is_failure()),
                answer: Arc::new(answer),
                recorder: Recorder::disabled(),
                service: String::new(),
            }),
        }
    }

    /// Only for failures of which this is true. Cancelled calls are never asked about.
    #[must_use]
    pub fn when(self, when: impl Fn(&Failed) -> bool + Send + Sync + 'static) -> Self {
        self.with(Box::new(when), None)
    }

    /// Counts the answers it makes as those of calls to `service`.
    #[must_use]
    pub fn counted(self, recorder: &Recorder, service: &str) -> Self {
        let rule = self.rule.clone();
        self.with(
            Box::new(move |failed| (rule.when)(failed)),
            Some((recorder.clone(), service.to_owned())),
        )
    }

    fn with(
        self,
        when: Box<dyn Fn(&Failed) -> bool + Send + Sync>,
        counted: Option<(Recorder, String)>,
    ) -> Self {
        let (recorder, service) =
            counted.unwrap_or_else(|| (self.rule.recorder.clone(), self.rule.service.clone()));
        Self {
            rule: Arc::new(Rule {
                when,
                answer: self.rule.answer.clone(),
                recorder,
                service,
            }),
        }
    }
}

impl fmt::Debug for FallbackLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FallbackLayer")
            .field("service", &self.rule.service)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for FallbackLayer {
    type Service = Fallback<S>;

    fn layer(&self, inner: S) -> Fallback<S> {
        Fallback {
            inner,
            rule: self.rule.clone(),
        }
    }
}

// === impl Rule ===

impl Rule {
    /// The answer in place of a failure, or the failure itself.
    pub(super) fn apply(
        &self,
        failed: Failed,
    ) -> Result<Response<MeshBody>, mesh_core::error::MeshError> {
        if failed.class() == Class::Cancelled || !(self.when)(&failed) {
            return failed.into_result();
        }
        let labels = [
            (names::SERVICE, self.service.as_str()),
            (names::CLASS, failed.class().label()),
        ];
        self.recorder
            .counter(names::FALLBACKS, &labels)
            .increment(1);
        Ok((self.answer)(failed))
    }
}
