use std::fmt;

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

use super::MeshBody;
use crate::BoxError;

/// The body was longer than its reader allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

impl MeshBody {
    /// Reads the whole body into one buffer of at most `limit` bytes, without its trailers.
    ///
    /// # Errors
    ///
    /// [`TooLarge`] as soon as it is known that the limit does not suffice, or the stream's own.
    pub async fn collect_to_bytes(mut self, limit: usize) -> Result<Bytes, BoxError> {
        if self.size_hint().lower() > limit as u64 {
            return Err(TooLarge { limit }.into());
        }
        let mut first = Bytes::new();
        let mut rest: Option<BytesMut> = None;
        while let Some(frame) = self.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            let so_far = rest.as_ref().map_or(first.len(), BytesMut::len);
            if so_far.saturating_add(data.len()) > limit {
                return Err(TooLarge { limit }.into());
            }
            // Most bodies are one frame: no copy for them.
            match &mut rest {
                Some(rest) => rest.extend_from_slice(&data),
                None if first.is_empty() => first = data,
                None => {
                    let mut both = BytesMut::with_capacity(first.len() + data.len());
                    both.extend_from_slice(&first);
                    both.extend_from_slice(&data);
                    rest = Some(both);
                }
            }
        }
        Ok(rest.map_or(first, BytesMut::freeze))
    }
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the body is longer than {} bytes", self.limit)
    }
}

impl std::error::Error for TooLarge {}
