use std::time::Duration;

/// How long something takes: a distribution that a seed makes definite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    shape: Shape,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Fixed(f64),
    Uniform {
        from: f64,
        to: f64,
    },
    /// Logarithm normally distributed, by its median and the deviation of the logarithm.
    LogNormal {
        median: f64,
        sigma: f64,
    },
    Exponential {
        mean: f64,
    },
}

/// The normal distribution's 99th percentile, in deviations.
const Z99: f64 = 2.326_347_874;

// === impl Latency ===

impl Latency {
    /// Always the same.
    pub fn fixed(time: Duration) -> Self {
        Self {
            shape: Shape::Fixed(time.as_secs_f64()),
        }
    }

    /// Anything between the two, evenly.
    pub fn uniform(from: Duration, to: Duration) -> Self {
        let (from, to) = (from.min(to).as_secs_f64(), from.max(to).as_secs_f64());
        Self {
            shape: Shape::Uniform { from, to },
        }
    }

    /// Log-normal, as service times often are: half are below `median`, one in a hundred is above
    /// `p99`.
    pub fn log_normal(median: Duration, p99: Duration) -> Self {
        let median = median.as_secs_f64().max(1e-6);
        let sigma = (p99.as_secs_f64() / median).max(1.0).ln() / Z99;
        Self {
            shape: Shape::LogNormal { median, sigma },
        }
    }

    /// Exponential, the service time of queueing theory's M/M/c.
    pub fn exponential(mean: Duration) -> Self {
        Self {
            shape: Shape::Exponential {
                mean: mean.as_secs_f64(),
            },
        }
    }

    /// The same, `factor` times as long.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        let shape = match self.shape {
            Shape::Fixed(time) => Shape::Fixed(time * factor),
            Shape::Uniform { from, to } => Shape::Uniform {
                from: from * factor,
                to: to * factor,
            },
            Shape::LogNormal { median, sigma } => Shape::LogNormal {
                median: median * factor,
                sigma,
            },
            Shape::Exponential { mean } => Shape::Exponential {
                mean: mean * factor,
            },
        };
        Self { shape }
    }

    /// One value.
    pub fn sample(&self, rng: &mut fastrand::Rng) -> Duration {
        let seconds = match self.shape {
            Shape::Fixed(time) => time,
            Shape::Uniform { from, to } => from + rng.f64() * (to - from),
            Shape::LogNormal { median, sigma } => median * (sigma * normal(rng)).exp(),
            Shape::Exponential { mean } => -mean * (1.0 - rng.f64()).ln(),
        };
        Duration::try_from_secs_f64(seconds.clamp(0.0, 3600.0)).unwrap_or_default()
    }
}

impl Default for Latency {
    /// 1 ms.
    fn default() -> Self {
        Self::fixed(Duration::from_millis(1))
    }
}

/// Box and Muller's method; one of its two values is enough here.
fn normal(rng: &mut fastrand::Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.f64()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn quantiles(latency: Latency) -> (f64, f64) {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut all: Vec<_> = (0..100_000).map(|_| latency.sample(&mut rng)).collect();
        all.sort_unstable();
        let ms = |at: usize| all[at].as_secs_f64() * 1e3;
        (ms(50_000), ms(99_000))
    }

    #[test]
    fn a_log_normal_has_the_quantiles_that_were_asked_for() {
        let (p50, p99) = quantiles(Latency::log_normal(4 * MS, 20 * MS));
        assert!((3.9..4.1).contains(&p50), "{p50}");
        assert!((18.5..21.5).contains(&p99), "{p99}");
    }

    #[test]
    fn an_exponential_has_its_mean() {
        // Median = mean x ln 2.
        let (p50, _) = quantiles(Latency::exponential(10 * MS));
        assert!((6.7..7.2).contains(&p50), "{p50}");
    }

    #[test]
    fn ten_times_is_ten_times() {
        let (p50, p99) = quantiles(Latency::uniform(2 * MS, 4 * MS).times(10.0));
        assert!((29.0..31.0).contains(&p50), "{p50}");
        assert!(p99 < 40.0, "{p99}");
    }
}
