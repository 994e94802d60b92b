use super::attach::Attachments;
use super::findings::Findings;
use super::index::Index;
use crate::policy::model::{Inbound, Outbound, Snapshot};

pub(super) struct Built {
    pub(super) outbound: Outbound,
    pub(super) inbound: Inbound,
}

pub(super) fn build(
    _index: &Index<'_>,
    _attached: &Attachments<'_>,
    _previous: Option<&Snapshot>,
    _findings: &mut Findings,
) -> Built {
    Built { outbound: Outbound::default(), inbound: Inbound::default() }
}
