use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Uri};
use http_body::Frame;
use http_body_util::StreamBody;
use mesh_core::metadata;

use crate::body::MeshBody;

/// A request as an endpoint has seen it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its whole body.
    pub body: Bytes,
}

/// What an endpoint does with a request.
#[derive(Clone, Debug)]
pub struct Reply {
    pub(super) delay: Duration,
    pub(super) action: Action,
}

#[derive(Clone, Debug)]
pub(super) enum Action {
    Answer(Box<Answer>),
    /// Reads the request and never answers.
    Hang,
    /// Sends the head and pieces of the body, the first at once, and never ends it.
    Stream {
        status: StatusCode,
        /// The pause after each piece; silence after the first if `None`.
        every: Option<Duration>,
    },
    /// Sends the head and nothing more.
    Silent {
        status: StatusCode,
    },
    /// Drops the connection in the middle of the call.
    Reset,
}

#[derive(Clone, Debug)]
pub(super) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

// === impl Seen ===

impl Seen {
    /// The text of a header, empty if there is none.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

// === impl Reply ===

impl Reply {
    /// An answer with a status and a body.
    pub fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            delay: Duration::ZERO,
            action: Action::Answer(Box::new(Answer {
                status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK),
                headers: HeaderMap::new(),
                body: body.into(),
                trailers: None,
            })),
        }
    }

    /// No answer, ever.
    pub fn hang() -> Self {
        Self {
            delay: Duration::ZERO,
            action: Action::Hang,
        }
    }

    /// A head, one piece of a body, and then silence.
    pub fn endless(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        Self {
            delay: Duration::ZERO,
            action: Action::Stream {
                status,
                every: None,
            },
        }
    }

    /// A head, and silence: a stream that has nothing to say yet.
    pub fn silent(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        Self {
            delay: Duration::ZERO,
            action: Action::Silent { status },
        }
    }

    /// A head, and a piece of a body again after each pause, for ever.
    pub fn ticking(status: u16, every: Duration) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        Self {
            delay: Duration::ZERO,
            action: Action::Stream {
                status,
                every: Some(every),
            },
        }
    }

    /// The connection breaks after the request was read.
    pub fn reset() -> Self {
        Self {
            delay: Duration::ZERO,
            action: Action::Reset,
        }
    }

    /// A gRPC answer with its status in trailers after a body.
    pub fn grpc(code: u32) -> Self {
        let trailers = HeaderMap::from_iter([(metadata::GRPC_STATUS, HeaderValue::from(code))]);
        let reply = Self::new(200, Bytes::from_static(&[0, 0, 0, 0, 0]));
        reply.grpc_type().with_trailers(trailers)
    }

    /// A gRPC answer with its status in trailers right behind its head, without a message.
    pub fn grpc_late(code: u32) -> Self {
        let mut reply = Self::grpc(code);
        if let Action::Answer(answer) = &mut reply.action {
            answer.body = Bytes::new();
        }
        reply
    }

    /// A trailers-only gRPC answer: the status is in the headers.
    pub fn grpc_only(code: u32) -> Self {
        Self::new(200, Bytes::new())
            .grpc_type()
            .header(metadata::GRPC_STATUS, HeaderValue::from(code))
    }

    fn grpc_type(self) -> Self {
        self.header(
            http::header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        )
    }

    /// The same after a pause.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The same with a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        if let Action::Answer(answer) = &mut self.action {
            answer.headers.insert(name, value);
        }
        self
    }

    /// The same with trailers after the body.
    #[must_use]
    pub fn with_trailers(mut self, new: HeaderMap) -> Self {
        if let Action::Answer(answer) = &mut self.action {
            answer.trailers = Some(new);
        }
        self
    }

    /// The response, or `None` when the connection is to break.
    pub(super) async fn play(self) -> Option<Response<MeshBody>> {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        match self.action {
            Action::Hang => std::future::pending().await,
            Action::Reset => None,
            Action::Silent { status } => {
                let never =
                    futures_util::stream::pending::<Result<Frame<Bytes>, crate::BoxError>>();
                let mut response = Response::new(MeshBody::new(StreamBody::new(never)));
                *response.status_mut() = status;
                Some(response)
            }
            Action::Stream { status, every } => {
                let endless = futures_util::stream::unfold(true, move |first| async move {
                    match every {
                        _ if first => {}
                        Some(every) => tokio::time::sleep(every).await,
                        None => std::future::pending().await,
                    }
                    let piece = Frame::data(Bytes::from_static(b"piece"));
                    Some((Ok::<_, crate::BoxError>(piece), false))
                });
                let mut response = Response::new(MeshBody::new(StreamBody::new(endless)));
                *response.status_mut() = status;
                Some(response)
            }
            Action::Answer(answer) => {
                let Answer {
                    status,
                    headers,
                    body,
                    trailers,
                } = *answer;
                let body = match trailers {
                    None => MeshBody::full(body),
                    Some(trailers) => {
                        let data = (!body.is_empty()).then(|| Frame::data(body));
                        let frames = data.into_iter().chain([Frame::trailers(trailers)]);
                        MeshBody::new(StreamBody::new(futures_util::stream::iter(
                            frames.map(Ok::<_, crate::BoxError>),
                        )))
                    }
                };
                let mut response = Response::new(body);
                *response.status_mut() = status;
                *response.headers_mut() = headers;
                Some(response)
            }
        }
    }
}
