use std::collections::BTreeMap;

use super::{choice, schema};

schema! {
    /// A named destination: its ports, and where its endpoints come from.
    #[derive(Default)]
    pub struct ServiceSpec {
        /// Ports. Without any, a subset has those of the whole; else the protocol is found out per
        /// call (gRPC is HTTP/2).
        ports: Vec<ServicePort> = "ports" default;
        /// Where endpoints come from; `registered` when left out.
        endpoints: Option<Endpoints> = "endpoints" default;
        /// This service is a part of another one of its namespace: that one's endpoints which have
        /// the labels of `selector`.
        subset_of: Option<String> = "subsetOf" default;
        /// Labels that an endpoint must have.
        selector: BTreeMap<String, String> = "selector" default;
        /// Where calls to a subset go that has no endpoint; `None` when left out.
        subset_fallback: Option<SubsetFallback> = "subsetFallback" default;
    }
}

choice! {
    /// Where calls to a subset go that has no endpoint.
    pub enum SubsetFallback {
        /// Nowhere: they fail.
        None = "None",
        /// To any endpoint of the whole service.
        AnyEndpoint = "AnyEndpoint",
    }
}

choice! {
    /// What is spoken on a port.
    pub enum AppProtocol {
        /// HTTP/1.1, or HTTP/2 where TLS negotiates it.
        Http = "http",
        /// HTTP/2, in plaintext with prior knowledge.
        Http2 = "http2",
        /// The same, as Kubernetes writes it.
        KubernetesH2c = "kubernetes.io/h2c",
        /// gRPC, hence HTTP/2.
        Grpc = "grpc",
        /// Bytes.
        Tcp = "tcp",
    }
}

schema! {
    /// One port of a service.
    #[derive(Default)]
    pub struct ServicePort {
        /// Name of the port.
        name: Option<String> = "name" default;
        /// Its number for callers.
        port: u16 = "port";
        /// Its number at the endpoint; the same when left out.
        target_port: Option<u16> = "targetPort" default;
        /// Transport: `TCP`.
        protocol: Option<String> = "protocol" default;
        /// What is spoken; `http` when left out.
        app_protocol: Option<AppProtocol> = "appProtocol" default;
    }
}

schema! {
    /// Where endpoints come from: exactly one of the four.
    #[derive(Default)]
    pub struct Endpoints {
        /// A fixed list.
        fixed: Option<Vec<StaticEndpoint>> = "static" default;
        /// The answers of DNS.
        dns: Option<DnsEndpoints> = "dns" default;
        /// Instances that register themselves at the control server.
        registered: Option<RegisteredEndpoints> = "registered" default;
        /// A server outside the mesh: DNS, and TLS checked by the roots of the system.
        external: Option<ExternalEndpoints> = "external" default;
    }
}

schema! {
    /// One endpoint of a fixed list.
    #[derive(Default)]
    pub struct StaticEndpoint {
        /// `ip:port`.
        address: String = "address";
        /// SPIFFE id that its certificate must carry.
        identity: Option<String> = "identity" default;
        /// Labels, for subsets.
        labels: BTreeMap<String, String> = "labels" default;
        /// Zone that it runs in: `zone`, `region/zone` or `region/zone/subzone`.
        zone: Option<String> = "zone" default;
        /// Endpoints of a higher number take calls only as far as those of lower ones fail, 0 to 127;
        /// 0 when left out.
        priority: Option<u32> = "priority" default;
        /// Its part of the load relative to the others, 1 to 1000; 1 when left out.
        weight: Option<u32> = "weight" default;
    }
}

schema! {
    /// A name that DNS resolves.
    #[derive(Default)]
    pub struct DnsEndpoints {
        /// The name.
        host: String = "host";
        /// Port of each address. Not with `srv`, whose records carry it.
        port: Option<u16> = "port" default;
        /// Ask for SRV records.
        srv: Option<bool> = "srv" default;
    }
}

schema! {
    /// Nothing to say.
    #[derive(Default)]
    pub struct RegisteredEndpoints {
    }
}

schema! {
    /// A server outside the mesh.
    #[derive(Default)]
    pub struct ExternalEndpoints {
        /// Its host name, also the name in its certificate.
        host: String = "host";
        /// Its port; 443 when left out.
        port: Option<u16> = "port" default;
        /// TLS; on when left out.
        tls: Option<bool> = "tls" default;
    }
}
