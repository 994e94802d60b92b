use std::time::Duration;

use super::Listeners;
use crate::config::{App, AppProtocol, Application, Config, DrainTimes, Egress, JoinOptions};
use crate::takeover::Taken;

fn config(workers: usize) -> Config {
    let any = "127.0.0.1:0".parse().unwrap();
    Config {
        applications: vec![Application {
            service: "x".into(),
            app: Some(App {
                addr: "127.0.0.1:1".parse().unwrap(),
                protocol: AppProtocol::Http,
                forwarded: false,
                ready_within: Duration::from_secs(1),
            }),
            inbound: any,
            advertise: None,
            outbound: Some(any),
            upstreams: vec!["reviews=127.0.0.1:0".parse().unwrap()],
            transparent: None,
            sni: None,
            ingress: Default::default(),
            join: JoinOptions::default(),
        }],
        node: false,
        command: Vec::new(),
        mark: None,
        egress: Egress::Report,
        health: any,
        metrics: any,
        workers: workers.try_into().unwrap(),
        drain: DrainTimes {
            unready: Duration::ZERO,
            in_flight: Duration::ZERO,
        },
        takeover: None,
    }
}

#[test]
fn all_workers_share_the_ports() {
    let mut listeners = Listeners::open(&config(3), &mut Taken::default()).unwrap();
    let ports = listeners.ports().applications[0].clone();
    let workers = listeners.application(0);
    assert_eq!(workers.len(), 3);
    for worker in workers {
        let addr = worker.outbound.unwrap().local_addr().unwrap();
        assert_eq!(Some(addr), ports.outbound);
        let addr = worker.upstreams[0].local_addr().unwrap();
        assert_eq!(addr, ports.upstreams[0]);
    }
    assert!(listeners.application(0).is_empty() && listeners.application(1).is_empty());
}

#[test]
fn a_port_in_use_names_its_flag() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut config = config(1);
    config.metrics = taken.local_addr().unwrap();
    let error = Listeners::open(&config, &mut Taken::default())
        .err()
        .unwrap();
    assert_eq!(error.code(), Some("M1004"));
    assert!(error.to_string().contains("--metrics"), "{error}");
}

#[test]
fn two_shims_do_not_share_a_port_unnoticed() {
    let first = Listeners::open(&config(2), &mut Taken::default()).unwrap();
    let mut second = config(2);
    second.applications[0].outbound = first.ports().applications[0].outbound;
    assert_eq!(
        Listeners::open(&second, &mut Taken::default())
            .err()
            .unwrap()
            .code(),
        Some("M1004")
    );
}
