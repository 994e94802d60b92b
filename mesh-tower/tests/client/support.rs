//! Short ways to say what the tests do.

use http::{Request, Response};
use mesh_core::error::MeshError;
use mesh_tower::{Mesh, MeshBody, MeshClient};
use tower_service::Service;

pub(crate) fn get(path: &str) -> Request<MeshBody> {
    Request::get(path).body(MeshBody::empty()).unwrap()
}

pub(crate) fn post(path: &str, body: impl Into<bytes::Bytes>) -> Request<MeshBody> {
    Request::post(path).body(MeshBody::full(body)).unwrap()
}

pub(crate) fn grpc(path: &str) -> Request<MeshBody> {
    Request::post(path)
        .header("content-type", "application/grpc")
        .body(MeshBody::full(vec![0, 0, 0, 0, 0]))
        .unwrap()
}

pub(crate) async fn call(
    client: &MeshClient,
    request: Request<MeshBody>,
) -> Result<Response<MeshBody>, MeshError> {
    client.clone().call(request).await
}

/// The status of an answer whose body was read to its end.
pub(crate) async fn status(
    client: &MeshClient,
    request: Request<MeshBody>,
) -> Result<u16, MeshError> {
    let response = call(client, request).await?;
    let status = response.status().as_u16();
    response
        .into_body()
        .collect_to_bytes(1 << 20)
        .await
        .unwrap();
    Ok(status)
}

pub(crate) fn code(result: Result<u16, MeshError>) -> String {
    match result {
        Ok(status) => status.to_string(),
        Err(error) => error.code().to_string(),
    }
}

/// The report's only edge.
pub(crate) fn edge(mesh: &Mesh) -> mesh_core::report::EdgeReport {
    let mut edges = mesh.report().edges;
    assert_eq!(edges.len(), 1, "{edges:?}");
    edges.remove(0)
}

/// A mesh of `shop/web` with that policy, and a client of `shop/reviews`.
pub(crate) fn under(net: &mesh_tower::testkit::TestNet, policy: &str) -> (Mesh, MeshClient) {
    let mesh = net.mesh("shop/web").policy_text(policy).build().unwrap();
    let client = mesh.client("reviews.shop");
    (mesh, client)
}

/// Services with fixed endpoints, for policies.
pub(crate) fn services(list: &[(&str, &[&str])]) -> String {
    let mut out = String::new();
    for (name, addrs) in list {
        let addrs: Vec<_> = addrs
            .iter()
            .map(|addr| format!("{{ address: '{addr}' }}"))
            .collect();
        let addrs = addrs.join(", ");
        out.push_str(&format!(
            "service: {name}\nendpoints: {{ static: [{addrs}] }}\n---\n"
        ));
    }
    out
}

/// An HTTPRoute of `shop/reviews` with one rule.
pub(crate) fn rule(rule: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{ name: reviews, namespace: shop }}\nspec:\n  \
         parentRefs: [{{ group: '', kind: Service, name: reviews }}]\n  rules:\n  - {{ {rule} }}\n"
    )
}
