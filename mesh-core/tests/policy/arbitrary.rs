//! Arbitrary resources: valid in schema, not in meaning.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_core::policy::spec::*;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::select;

use super::sample;

/// Texts that tempt a YAML reader.
fn text() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        4 => "[a-z][a-z0-9-]{0,8}",
        1 => select(vec![
            "", " ", "no", "True", "null", "~", "1", "1.5", "0x1f", "1e3", ".inf", "2s", "- a", "a: b", "a #b",
            "#", "\"q\"", "'q'", "a\nb", "\t", "*a", "&a", "!t", "{", "[", "}", ",", "?", ":", "a:", "%", "@", "`",
            "---", "...", "<<", "=", "é", "\u{7f}", "\u{85}", "\u{2028}", "\u{feff}", "日本", "a\\b", "2026-01-01",
        ]).prop_map(str::to_owned),
        1 => any::<String>().prop_map(|s| s.chars().filter(|c| *c != '\u{0}').take(12).collect()),
    ]
}

fn label() -> impl Strategy<Value = String> + Clone {
    "[a-z][a-z0-9]{0,3}(-v[12])?"
}

fn labels() -> impl Strategy<Value = BTreeMap<String, String>> + Clone {
    btree_map(text(), text(), 0..3)
}

fn interval() -> impl Strategy<Value = Interval> + Clone {
    prop_oneof![0u64..20_000, 0..400_000_000u64]
        .prop_map(|ms| Interval::new(Duration::from_millis(ms)))
}

fn metadata() -> impl Strategy<Value = Metadata> + Clone {
    // Few names, so that several resources are about one service.
    let name =
        prop_oneof![3 => select(vec!["reviews", "web"]).prop_map(str::to_owned), 1 => label()];
    let plain = prop_oneof![4 => Just(BTreeMap::new()), 1 => labels()];
    (name, select(vec!["shop", "default"]), plain).prop_map(|(name, namespace, labels)| Metadata {
        name,
        namespace: namespace.to_owned(),
        labels,
        ..Metadata::default()
    })
}

fn backend() -> impl Strategy<Value = BackendRef> + Clone {
    let plain =
        (label(), of(select(vec![80u16, 8080])), of(0u32..100)).prop_map(|(name, port, weight)| {
            BackendRef {
                name,
                port,
                weight,
                ..BackendRef::default()
            }
        });
    let odd = (text(), of(text()), of(text()), vec(filter(), 0..2)).prop_map(
        |(name, group, namespace, filters)| BackendRef {
            name,
            group,
            namespace,
            filters,
            ..BackendRef::default()
        },
    );
    prop_oneof![6 => plain, 1 => odd]
}

fn filter() -> impl Strategy<Value = Filter> + Clone {
    let header = (text(), text()).prop_map(|(name, value)| HeaderValue { name, value });
    (
        vec(header, 0..3),
        vec(text(), 0..2),
        of(text()),
        any::<bool>(),
    )
        .prop_map(|(set, remove, hostname, edit)| {
            let empty = Filter::new(FilterType::UrlRewrite);
            if edit {
                let edit = HeaderFilter {
                    set,
                    remove,
                    ..HeaderFilter::default()
                };
                Filter {
                    kind: FilterType::RequestHeaderModifier,
                    request_header_modifier: Some(edit),
                    ..empty
                }
            } else {
                Filter {
                    url_rewrite: Some(RewriteFilter {
                        hostname,
                        path: None,
                    }),
                    ..empty
                }
            }
        })
}

fn http_match() -> impl Strategy<Value = HttpRouteMatch> + Clone {
    let kind = select(vec![
        PathMatchType::Exact,
        PathMatchType::PathPrefix,
        PathMatchType::RegularExpression,
    ]);
    let path = (of(kind), of(text())).prop_map(|(kind, value)| PathMatch { kind, value });
    let header = (text(), text()).prop_map(|(name, value)| HeaderMatch {
        kind: None,
        name,
        value,
    });
    let query = (text(), text()).prop_map(|(name, value)| QueryParamMatch {
        kind: Some(ValueMatchType::RegularExpression),
        name,
        value,
    });
    (of(path), vec(header, 0..2), vec(query, 0..2), of(text())).prop_map(
        |(path, headers, query_params, method)| HttpRouteMatch {
            path,
            headers,
            query_params,
            method,
        },
    )
}

fn timeouts() -> impl Strategy<Value = Timeouts> + Clone {
    (of(interval()), of(interval())).prop_map(|(request, backend_request)| Timeouts {
        request,
        backend_request,
    })
}

fn retry() -> impl Strategy<Value = Retry> + Clone {
    let rule = select(vec![NonIdempotent::Allow, NonIdempotent::Never]);
    (
        vec(any::<u16>(), 0..3),
        of(any::<u32>()),
        of(interval()),
        of(rule),
    )
        .prop_map(|(codes, attempts, backoff, non_idempotent)| Retry {
            codes,
            attempts,
            backoff,
            non_idempotent,
        })
}

fn parents(name: String) -> impl Strategy<Value = Vec<ParentRef>> + Clone {
    let plain = of(select(vec![80u16, 8080])).prop_map(move |port| {
        vec![ParentRef {
            group: Some(String::new()),
            kind: Some("Service".into()),
            name: name.clone(),
            port,
            ..ParentRef::default()
        }]
    });
    let odd = vec(
        text().prop_map(|name| ParentRef {
            name,
            ..ParentRef::default()
        }),
        0..3,
    );
    prop_oneof![4 => plain, 1 => odd]
}

fn http_route() -> impl Strategy<Value = Resource> + Clone {
    let rule = (
        of(text()),
        vec(http_match(), 0..3),
        (vec(filter(), 0..2), vec(words(), 0..4)),
        vec(backend(), 0..4),
        of(timeouts()),
        of(retry()),
        of(session()),
    )
        .prop_map(
            |(name, matches, filters, backend_refs, timeouts, retry, session_persistence)| {
                HttpRouteRule {
                    name,
                    matches,
                    filters: filters.0.into_iter().chain(filters.1).collect(),
                    backend_refs,
                    timeouts,
                    retry,
                    session_persistence,
                }
            },
        );
    let hosts = prop_oneof![4 => Just(Vec::new()), 1 => vec(text(), 0..2)];
    metadata().prop_flat_map(move |metadata| {
        (
            parents(metadata.name.clone()),
            hosts.clone(),
            vec(rule.clone(), 0..3),
        )
            .prop_map(move |(parent_refs, hostnames, rules)| {
                let spec = HttpRouteSpec {
                    parent_refs,
                    hostnames,
                    rules,
                };
                HttpRoute::new(metadata.clone(), spec).into()
            })
    })
}

fn grpc_route() -> impl Strategy<Value = Resource> + Clone {
    let method = (of(text()), of(text())).prop_map(|(service, method)| GrpcRouteMatch {
        method: Some(GrpcMethodMatch {
            kind: None,
            service,
            method,
        }),
        headers: Vec::new(),
    });
    let rule = (
        vec(method, 0..2),
        vec(words(), 0..2),
        vec(backend(), 0..3),
        of(timeouts()),
    )
        .prop_map(|(matches, filters, backend_refs, timeouts)| GrpcRouteRule {
            filters,
            matches,
            backend_refs,
            timeouts,
            ..GrpcRouteRule::default()
        });
    metadata().prop_flat_map(move |metadata| {
        (parents(metadata.name.clone()), vec(rule.clone(), 0..3)).prop_map(
            move |(parent_refs, rules)| {
                let spec = GrpcRouteSpec {
                    parent_refs,
                    rules,
                    ..GrpcRouteSpec::default()
                };
                GrpcRoute::new(metadata.clone(), spec).into()
            },
        )
    })
}

fn service() -> impl Strategy<Value = Resource> + Clone {
    let port = (any::<u16>(), of(text())).prop_map(|(port, name)| ServicePort {
        port,
        name,
        app_protocol: Some(AppProtocol::KubernetesH2c),
        ..ServicePort::default()
    });
    let fixed = (text(), labels(), of(any::<u32>()), of(any::<u32>())).prop_map(
        |(address, labels, weight, priority)| StaticEndpoint {
            address,
            labels,
            weight,
            priority,
            ..StaticEndpoint::default()
        },
    );
    let endpoints = prop_oneof![
        vec(fixed, 0..3).prop_map(|f| Endpoints {
            fixed: Some(f),
            ..Endpoints::default()
        }),
        Just(Endpoints {
            registered: Some(RegisteredEndpoints {}),
            ..Endpoints::default()
        }),
        (text(), any::<bool>()).prop_map(|(host, srv)| Endpoints {
            dns: Some(DnsEndpoints {
                host,
                port: None,
                srv: Some(srv)
            }),
            ..Endpoints::default()
        }),
    ];
    (
        metadata(),
        vec(port, 0..3),
        of(endpoints),
        of(text()),
        labels(),
        of(select(vec![
            SubsetFallback::None,
            SubsetFallback::AnyEndpoint,
        ])),
    )
        .prop_map(
            |(metadata, ports, endpoints, subset_of, selector, subset_fallback)| {
                Service::new(
                    metadata,
                    ServiceSpec {
                        ports,
                        endpoints,
                        subset_of,
                        selector,
                        subset_fallback,
                    },
                )
                .into()
            },
        )
}

fn targets(name: String) -> impl Strategy<Value = Vec<TargetRef>> + Clone {
    let plain = vec![TargetRef {
        group: None,
        kind: TargetKind::Service,
        name: Some(name),
        port: None,
    }];
    let odd = (
        select(vec![TargetKind::Mesh, TargetKind::HttpRoute]),
        of(text()),
        of(any::<u16>()),
    )
        .prop_map(|(kind, name, port)| TargetRef {
            group: None,
            kind,
            name,
            port,
        });
    prop_oneof![4 => Just(plain), 1 => vec(odd, 0..2)]
}

fn backend_policy() -> impl Strategy<Value = Resource> + Clone {
    metadata().prop_flat_map(move |metadata| {
        (targets(metadata.name.clone()), any::<u64>()).prop_map(move |(target_refs, seed)| {
            let spec = BackendPolicySpec {
                target_refs,
                ..sample::backend_policy(seed)
            };
            BackendPolicy::new(metadata.clone(), spec).into()
        })
    })
}

fn traffic_policy() -> impl Strategy<Value = Resource> + Clone {
    metadata().prop_flat_map(move |metadata| {
        (targets(metadata.name.clone()), any::<u64>()).prop_map(move |(target_refs, seed)| {
            let spec = TrafficPolicySpec {
                target_refs,
                ..sample::traffic_policy(seed)
            };
            TrafficPolicy::new(metadata.clone(), spec).into()
        })
    })
}

/// The names that the short form gives to what a rule holds, and others.
fn held() -> impl Strategy<Value = String> + Clone {
    select(vec![
        "reviews-0",
        "reviews-1",
        "reviews-g0",
        "web-0",
        "other",
    ])
    .prop_map(str::to_owned)
}

fn extension() -> impl Strategy<Value = Resource> + Clone {
    (held(), metadata(), any::<u64>())
        .prop_map(|(name, metadata, seed)| sample::extension(Metadata { name, ..metadata }, seed))
}

/// Filters for which the short form has words, in any order.
fn words() -> impl Strategy<Value = Filter> + Clone {
    let kinds = vec![
        "Fault",
        "DirectResponse",
        "StickySplit",
        "TrailerEdit",
        "Else",
    ];
    let group = prop_oneof![9 => Just("policy.mesh".to_owned()), 1 => text()];
    let extension = (group, select(kinds), held()).prop_map(|(group, kind, name)| Filter {
        extension_ref: Some(ExtensionRef {
            group,
            kind: kind.into(),
            name,
        }),
        ..Filter::new(FilterType::ExtensionRef)
    });
    let mirror = (plain_backend(), of(0u32..200)).prop_map(|(backend_ref, percent)| Filter {
        request_mirror: Some(MirrorFilter {
            backend_ref,
            percent,
            fraction: percent.is_none().then_some(MirrorFraction {
                numerator: 1,
                denominator: Some(3),
            }),
        }),
        ..Filter::new(FilterType::RequestMirror)
    });
    prop_oneof![2 => extension, 1 => mirror]
}

fn plain_backend() -> impl Strategy<Value = BackendRef> + Clone {
    (label(), of(select(vec![80u16, 8080]))).prop_map(|(name, port)| BackendRef {
        name,
        port,
        ..BackendRef::default()
    })
}

fn session() -> impl Strategy<Value = SessionPersistence> + Clone {
    let kind = select(vec![SessionType::Cookie, SessionType::Header]);
    let lifetime = select(vec![SessionLifetime::Session, SessionLifetime::Permanent]);
    (
        of(text()),
        of(interval()),
        of(interval()),
        of(kind),
        of(of(lifetime)),
    )
        .prop_map(
            |(session_name, absolute_timeout, idle_timeout, kind, config)| SessionPersistence {
                session_name,
                absolute_timeout,
                idle_timeout,
                kind,
                cookie_config: config.map(|lifetime_type| CookieConfig { lifetime_type }),
            },
        )
}

fn access_policy() -> impl Strategy<Value = Resource> + Clone {
    let peer = (of(text()), of(text()), of(text())).prop_map(|(service, namespace, identity)| {
        PeerSelector {
            service,
            namespace,
            identity,
        }
    });
    let simple = text().prop_map(|service| PeerSelector {
        service: Some(service),
        ..PeerSelector::default()
    });
    let peer = prop_oneof![3 => simple, 1 => peer];
    let request = (vec(text(), 0..2), vec(text(), 0..2), vec(text(), 0..2)).prop_map(
        |(methods, paths, grpc)| RequestSelector {
            methods,
            paths,
            grpc,
        },
    );
    let rule =
        (of(vec(peer, 0..3)), vec(request, 0..3)).prop_map(|(from, to)| AccessRule { from, to });
    metadata().prop_flat_map(move |metadata| {
        (
            targets(metadata.name.clone()),
            select(vec![AccessMode::Audit, AccessMode::Enforce]),
            vec(rule.clone(), 0..3),
        )
            .prop_map(move |(target_refs, mode, allow)| {
                AccessPolicy::new(
                    metadata.clone(),
                    AccessPolicySpec {
                        target_refs,
                        mode,
                        allow,
                    },
                )
                .into()
            })
    })
}

fn transport_policy() -> impl Strategy<Value = Resource> + Clone {
    let exception = (of(text()), of(any::<u16>()), text()).prop_map(|(source, port, expires)| {
        PlaintextException {
            source,
            port,
            expires,
            reason: None,
        }
    });
    let version = of(select(vec![TlsVersion::Tls12, TlsVersion::Tls13]));
    metadata().prop_flat_map(move |metadata| {
        (
            targets(metadata.name.clone()),
            version.clone(),
            vec(text(), 0..2),
            vec(exception.clone(), 0..2),
        )
            .prop_map(
                move |(target_refs, min_tls_version, trust_domains, exceptions)| {
                    let spec = TransportPolicySpec {
                        target_refs,
                        mtls: Some(MtlsMode::Strict),
                        min_tls_version,
                        trust_domains,
                        exceptions,
                    };
                    TransportPolicy::new(metadata.clone(), spec).into()
                },
            )
    })
}

/// Any resource.
pub(crate) fn resource() -> impl Strategy<Value = Resource> + Clone {
    prop_oneof![
        3 => http_route(),
        1 => grpc_route(),
        2 => service(),
        2 => backend_policy(),
        2 => access_policy(),
        1 => transport_policy(),
        1 => traffic_policy(),
        2 => extension(),
    ]
}

/// Several, no two of one identity.
pub(crate) fn resources() -> impl Strategy<Value = Vec<Resource>> + Clone {
    vec(resource(), 0..8).prop_map(|list| {
        let unique: BTreeMap<ResourceId, Resource> =
            list.into_iter().map(|r| (r.id(), r)).collect();
        unique.into_values().collect()
    })
}
