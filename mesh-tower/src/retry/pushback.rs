use http::{HeaderMap, HeaderValue};
use mesh_core::{
    classify::{self, grpc},
    metadata,
};

/// Marks what says how a gRPC call ended, head or trailers, as not to be tried again (gRFC A6,
/// `grpc-retry-pushback-ms: -1`), if it failed and says nothing of that already.
pub fn push_back(headers: &mut HeaderMap) {
    let failed = grpc::status(headers).is_some_and(|code| classify::grpc(code).is_failure());
    if failed && !headers.contains_key(metadata::RETRY_PUSHBACK_MS) {
        headers.insert(metadata::RETRY_PUSHBACK_MS, HeaderValue::from_static("-1"));
    }
}
