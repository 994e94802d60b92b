#![no_main]
//! First bytes of a stranger's connection: what is said of a beginning stays true when more comes.

use libfuzzer_sys::fuzz_target;
use mesh_tower::tcp::Opening;

fuzz_target!(|bytes: &[u8]| {
    let whole = Opening::of(bytes);
    for end in [1, bytes.len() / 2, bytes.len().saturating_sub(1)] {
        let Some(start) = bytes.get(..end) else { continue };
        if let Some(said) = Opening::of(start) {
            assert_eq!(Some(said), whole, "after {end} of {} bytes", bytes.len());
        }
    }
});
