use bytes::Bytes;
use http::{HeaderValue, Response, header};
use mesh_core::error::MeshError;
use mesh_core::metadata;

use crate::body::MeshBody;

/// The trailers-only gRPC response for an error, with the error in its extensions.
pub fn grpc_response(error: MeshError) -> Response<MeshBody> {
    let mut response = Response::new(MeshBody::empty());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert(metadata::GRPC_STATUS, HeaderValue::from(error.grpc_code()));
    headers.insert(metadata::GRPC_MESSAGE, percent_encoded(&error.to_string()));
    if let Ok(code) = HeaderValue::from_str(&error.code().to_string()) {
        headers.insert(metadata::REASON, code);
    }
    if let Some(wait) = error.retry_after() {
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        headers.insert(metadata::RETRY_PUSHBACK_MS, HeaderValue::from(millis));
    }
    response.extensions_mut().insert(error);
    response
}

/// gRPC over HTTP/2, "Responses": bytes outside 0x20..=0x7e and `%` are percent-encoded.
pub(crate) fn percent_encoded(text: &str) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(&[
                b'%',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 0xf)],
            ]);
        }
    }
    HeaderValue::from_maybe_shared(Bytes::from(out))
        .unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_core::error::ErrorKind;

    #[test]
    fn a_message_with_any_text_is_a_valid_header() {
        let response = grpc_response(MeshError::new(ErrorKind::NoRoute, "50 % grün\nend"));
        let message = response.headers()[metadata::GRPC_MESSAGE]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(message.contains("50 %25 gr%C3%BCn%0Aend"), "{message}");
        assert_eq!(response.headers()[metadata::GRPC_STATUS], "12");
        assert_eq!(response.headers()[metadata::REASON], "M2001");
        assert!(response.extensions().get::<MeshError>().is_some());
    }
}
