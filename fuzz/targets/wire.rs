#![no_main]
//! Bytes from a peer are resources or an error, and resources survive the way back to the wire.

use libfuzzer_sys::fuzz_target;
use mesh_grpc::pb::policy::ServicePolicy;
use mesh_grpc::wire;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = ServicePolicy::decode(bytes) else { return };
    let Ok(resources) = wire::resources(message.resources) else { return };
    let again = resources.iter().map(|resource| wire::resource_to_proto(resource)).collect();
    assert_eq!(wire::resources(again).expect("what we write, we read"), resources);
});
