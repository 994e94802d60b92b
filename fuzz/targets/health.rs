#![no_main]
//! Answers of a backend's health service: each is taken once, in bounded memory, whatever the pieces.

use libfuzzer_sys::fuzz_target;
use mesh_core::health::grpc::take;

fuzz_target!(|bytes: &[u8]| {
    let mut whole = bytes.to_vec();
    let mut at_once = Vec::new();
    let end = loop {
        let before = whole.len();
        match take(&mut whole) {
            Ok(Some(serving)) => at_once.push(serving),
            other => break other.map(|_| ()),
        }
        assert!(whole.len() < before, "nothing was taken");
    };
    let (mut buffer, mut in_pieces) = (Vec::new(), Vec::new());
    let mut ended = Ok(());
    'pieces: for piece in bytes.chunks(3) {
        buffer.extend_from_slice(piece);
        loop {
            match take(&mut buffer) {
                Ok(Some(serving)) => in_pieces.push(serving),
                Ok(None) => break,
                Err(error) => {
                    ended = Err(error);
                    break 'pieces;
                }
            }
        }
    }
    assert_eq!((at_once, end), (in_pieces, ended));
});
