//! The four decisions of the hot path, and how their cost grows with the work.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use mesh_benches::decisions::{Budgeting, Ejecting, Matching, Picking};
use mesh_core::balance::Place;
use mesh_core::policy::BalancePolicy;

fn decisions(c: &mut Criterion) {
    let mut group = c.benchmark_group("pick and record");
    for endpoints in [3, 100, 1_000] {
        group.bench_function(BenchmarkId::from_parameter(endpoints), |b| {
            let mut picking = Picking::new(endpoints);
            b.iter(|| picking.run());
        });
    }
    group.finish();
    for (name, algorithm) in Picking::ALGORITHMS {
        let mut group = c.benchmark_group(format!("pick by {name}"));
        for endpoints in [3, 1_000] {
            group.bench_function(BenchmarkId::from_parameter(endpoints), |b| {
                let policy = BalancePolicy::default().with_algorithm(algorithm);
                let mut picking = Picking::by(endpoints, &policy, &Place::default());
                b.iter(|| picking.run());
            });
        }
        group.finish();
    }
    let mut group = c.benchmark_group("pick from a zone of three");
    for endpoints in [9, 1_000] {
        group.bench_function(BenchmarkId::from_parameter(endpoints), |b| {
            let place = Place {
                zone: Some("a".into()),
                ..Place::default()
            };
            let mut picking = Picking::by(endpoints, &BalancePolicy::default(), &place);
            b.iter(|| picking.run());
        });
    }
    group.finish();
    c.bench_function("budget: 5 deposits, 1 withdrawal", |b| {
        let mut budgeting = Budgeting::new();
        b.iter(|| budgeting.run());
    });
    c.bench_function("ejection: record", |b| {
        let mut ejecting = Ejecting::new();
        b.iter(|| ejecting.run());
    });
    let mut group = c.benchmark_group("route match");
    for routes in [2, 100, 1_000] {
        group.bench_function(BenchmarkId::from_parameter(routes), |b| {
            let matching = Matching::new(routes);
            b.iter(|| matching.run());
        });
    }
    group.finish();
}

criterion_group!(benches, decisions);
criterion_main!(benches);
