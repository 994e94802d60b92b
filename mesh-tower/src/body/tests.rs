use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};

use super::{MeshBody, TooLarge};
use crate::BoxError;

#[derive(Clone, Default)]
struct Dropped(Arc<AtomicUsize>);

struct Guard(Dropped);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.0.fetch_add(1, Relaxed);
    }
}

impl Dropped {
    fn guard(&self) -> Guard {
        Guard(self.clone())
    }

    fn count(&self) -> usize {
        self.0.load(Relaxed)
    }
}

fn stream(frames: Vec<Result<&'static str, &'static str>>) -> MeshBody {
    let frames = frames.into_iter().map(|frame| match frame {
        Ok(data) => Ok(Frame::data(Bytes::from(data))),
        Err(error) => Err(BoxError::from(error)),
    });
    MeshBody::new(StreamBody::new(futures_util::stream::iter(
        frames.collect::<Vec<_>>(),
    )))
}

#[test]
fn sizes_are_exact_and_known_kinds_are_not_boxed() {
    for (body, size, kind) in [
        (MeshBody::empty(), Some(0), "Empty"),
        (MeshBody::full(""), Some(0), "Empty"),
        (MeshBody::full("abc"), Some(3), "Full"),
        (
            MeshBody::new(Full::new(Bytes::from("abcd"))),
            Some(4),
            "Full",
        ),
        (MeshBody::new(Empty::<Bytes>::new()), Some(0), "Empty"),
        (MeshBody::new(MeshBody::full("ab")), Some(2), "Full"),
        (stream(vec![Ok("ab")]), None, "Boxed"),
        (MeshBody::new(stream(vec![Ok("ab")])), None, "Boxed"),
    ] {
        assert_eq!(body.size_hint().exact(), size);
        assert_eq!(body.is_end_stream(), size == Some(0));
        assert!(format!("{body:?}").contains(kind), "{body:?}");
    }
}

#[tokio::test]
async fn a_guard_goes_with_the_last_byte() {
    let dropped = Dropped::default();
    let mut body = MeshBody::full("abc").with_guard(dropped.guard());
    assert_eq!(dropped.count(), 0);
    body.frame().await.expect("a frame").expect("data");
    assert_eq!(dropped.count(), 1);
    // Two guards, on a stream whose end is only known by its end.
    let mut body = stream(vec![Ok("a")])
        .with_guard(dropped.guard())
        .with_guard(dropped.guard());
    body.frame().await.expect("a frame").expect("data");
    assert_eq!(dropped.count(), 1);
    assert!(body.frame().await.is_none());
    assert_eq!(dropped.count(), 3);
}

#[tokio::test]
async fn a_guard_goes_on_error_on_drop_and_at_once_when_nothing_follows() {
    let dropped = Dropped::default();
    let mut body = stream(vec![Err("broken"), Ok("a")]).with_guard(dropped.guard());
    body.frame().await.expect("a frame").expect_err("an error");
    assert_eq!(dropped.count(), 1);
    drop(stream(vec![Ok("a")]).with_guard(dropped.guard()));
    assert_eq!(dropped.count(), 2);
    let body = MeshBody::empty().with_guard(dropped.guard());
    assert_eq!(dropped.count(), 3);
    drop(body);
}

#[tokio::test]
async fn collecting_has_a_limit() {
    let whole = stream(vec![Ok("ab"), Ok("cd"), Ok("e")])
        .collect_to_bytes(5)
        .await;
    assert_eq!(whole.expect("within"), "abcde");
    let error = stream(vec![Ok("ab"), Ok("cd")])
        .collect_to_bytes(3)
        .await
        .expect_err("too large");
    assert_eq!(error.downcast_ref(), Some(&TooLarge { limit: 3 }));
    MeshBody::full("abcd")
        .collect_to_bytes(3)
        .await
        .expect_err("known before");
    assert_eq!(
        MeshBody::empty()
            .collect_to_bytes(0)
            .await
            .expect("nothing"),
        ""
    );
    assert!(
        stream(vec![Ok("a"), Err("broken")])
            .collect_to_bytes(9)
            .await
            .is_err()
    );
}
