use super::choice;
use crate::context;

choice! {
    /// How the limit of concurrency is found.
    pub enum ConcurrencyAlgorithm {
        /// By the ratio of usual to present latency (Netflix).
        Gradient2 = "Gradient2",
        /// By the queue that the latency shows (TCP Vegas).
        Vegas = "Vegas",
        /// One up on success, a part down on a drop.
        Aimd = "Aimd",
        /// It is `initial`.
        Fixed = "Fixed",
        /// There is none.
        Off = "Off",
    }
}

choice! {
    /// How much a call matters (SRE book, "Criticality").
    pub enum Criticality {
        /// Shed first. The default of batch work.
        Sheddable = "Sheddable",
        /// Shed when some partial unavailability is expected.
        SheddablePlus = "SheddablePlus",
        /// Its loss is visible to users.
        Critical = "Critical",
        /// Shed last.
        CriticalPlus = "CriticalPlus",
    }
}

impl From<Criticality> for context::Criticality {
    fn from(level: Criticality) -> Self {
        match level {
            Criticality::Sheddable => Self::Sheddable,
            Criticality::SheddablePlus => Self::SheddablePlus,
            Criticality::Critical => Self::Critical,
            Criticality::CriticalPlus => Self::CriticalPlus,
        }
    }
}
