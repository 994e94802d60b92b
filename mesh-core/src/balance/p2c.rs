//! The power of two choices, or of a few more: a look at two endpoints at random is nearly as good
//! as a look at all, and does not send every client to the same one (Mitzenmacher 2001).

use super::group::Group;
use super::least_request;
use super::pick::{Picked, Round};

impl Round<'_> {
    /// What a call at a position would cost by peak EWMA: latency x (in flight + 1) / weight.
    pub(super) fn latency_cost(&self, index: usize) -> f32 {
        let endpoint = self.set.get(index);
        endpoint.map_or(f32::MAX, |e| e.cost(self.policy, self.ask.now))
    }

    /// The one of a few with the fewest calls in flight for its weight.
    pub(super) fn least_requests(&self, group: &Group, rng: &mut fastrand::Rng) -> Option<Picked> {
        let active = |index: usize| self.set.get(index).map_or(u32::MAX, |e| e.in_flight());
        if group.weights.are_equal() {
            let fewer = |one, two| active(two) < active(one);
            return self.least_of_few(group, rng, Group::sample, fewer);
        }
        let bias = self.policy.request_bias_milli();
        let rank = |index: usize| {
            let weight = self.set.get(index).map_or(0, |e| e.info().weight);
            least_request::rank(weight, active(index), bias)
        };
        self.least_of_few(group, rng, Group::sample_by_weight, |one, two| {
            let idle = active(one) == 0 && active(two) == 0;
            bias > 0 && !idle && rank(two) > rank(one)
        })
    }
}
