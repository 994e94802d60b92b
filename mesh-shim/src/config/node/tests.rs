use std::net::Ipv4Addr;
use std::time::Duration;

use super::given::ANY;
use super::{Given, Said};
use crate::config::{AppProtocol, Application, JoinOptions};
use crate::error::ShimError;

fn given() -> Given {
    Given {
        address: Ipv4Addr::LOCALHOST.into(),
        protocol: AppProtocol::Http,
        forwarded: false,
        ready_within: Duration::from_secs(60),
        join: JoinOptions::default(),
    }
}

fn all(texts: &[&str], given: &Given) -> Result<Vec<Application>, ShimError> {
    let said = texts.iter().map(|text| text.parse());
    given.applications(said.collect::<Result<_, _>>()?)
}

#[test]
fn an_application_says_what_it_is_and_the_rest_holds_for_all() {
    let apps = all(
        &[
            "shop/web=9000,outbound=7150,upstream=reviews.shop@9001,upstream=tcp://redis:6379@6379",
            "redis=6380,protocol=tcp,address=::1,inbound=0.0.0.0:7143,advertise=10.0.0.7:7143,forwarded=true",
            "batch,outbound=127.0.0.1:7151",
        ],
        &given(),
    );
    let [web, redis, batch] = <[_; 3]>::try_from(apps.unwrap()).unwrap();
    assert_eq!(web.name(), "shop/web");
    assert_eq!((web.inbound, web.outbound.unwrap().port()), (ANY, 7150));
    assert_eq!(web.upstreams[0].service, "reviews.shop");
    assert!(web.upstreams[1].tcp && !web.app.unwrap().forwarded);
    let app = redis.app.unwrap();
    assert_eq!(
        (app.addr.to_string().as_str(), app.protocol),
        ("[::1]:6380", AppProtocol::Tcp)
    );
    assert_eq!(redis.name(), "default/redis");
    assert!(app.forwarded && redis.outbound.is_none());
    assert!(batch.app.is_none());
}

#[test]
fn a_mistake_is_named_with_an_example() {
    for (text, what) in [
        ("", "not the name of a service"),
        ("web", "nothing to do"),
        ("web=", "its port"),
        ("web=0", "its port"),
        ("web=9000,prtocol=tcp", "did you mean `protocol`?"),
        ("web=9000,protocol=http3", "http3"),
        ("web=9000,tcp", "no key=value"),
        ("web=9000,inbound=7143,inbound=7144", "twice"),
        ("web=9000,upstream=reviews", "reviews@9001"),
        ("web,inbound=7143,outbound=7150", "nothing is taken in"),
    ] {
        let error = text.parse::<Said>().unwrap_err();
        assert_eq!(error.code(), Some("M1003"), "{text}");
        assert!(error.to_string().contains(what), "{error}");
        assert!(error.to_string().contains("next: write --app"), "{error}");
    }
}

#[test]
fn two_applications_share_no_name_no_port_and_no_identity() {
    let with = |identity: &str, state: &str| {
        let mut given = given();
        given.join.identity = Some(identity.to_owned());
        given.join.state = Some(state.to_owned());
        given
    };
    let token = with("token:/etc/mesh/token", "/var/lib/mesh/{service}");
    for (texts, given, what) in [
        (["web=1", "default/web=2"], &token, "same name: default/web"),
        (
            ["a=1,inbound=7143", "b=2,outbound=127.0.0.1:7143"],
            &token,
            "same address",
        ),
        (
            ["a=1", "b=2"],
            &with("token:/t", "/var/lib/mesh"),
            "same state: /var/lib/mesh",
        ),
        (
            ["a=1", "b=2"],
            &with("dir:/etc/id", "/s/{name}"),
            "same identity: dir:/etc/id",
        ),
        (
            ["x/a=1", "y/a=2"],
            &with("token:/t", "/s/{name}"),
            "same state: /s/a",
        ),
    ] {
        let error = all(&texts, given).unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }
    let apps = all(&["x/a=1", "y/a=2,identity=dir:/own/{name}"], &token).unwrap();
    assert_eq!(
        apps[0].join.identity.as_deref(),
        Some("token:/etc/mesh/token")
    );
    assert_eq!(apps[1].join.identity.as_deref(), Some("dir:/own/a"));
    assert_eq!(apps[1].join.state.as_deref(), Some("/var/lib/mesh/y/a"));
}
