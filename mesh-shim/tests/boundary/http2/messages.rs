//! Frames that make up a message: HEADERS, CONTINUATION, DATA, PUSH_PROMISE.

use super::errors::Case;
use super::{COMPRESSION, FRAME_SIZE, PROTOCOL, STREAM_CLOSED};
use crate::frames::*;

pub(super) const CASES: &[Case] = &[
    ("a request", || get(1), 1, &[End::Status(200)]),
    (
        "DATA on stream 0",
        || frame(DATA, 0, 0, b"x"),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "DATA on an idle stream",
        || frame(DATA, 0, 1, b"x"),
        1,
        &[End::GoAway(PROTOCOL), End::GoAway(STREAM_CLOSED)],
    ),
    (
        "DATA with more padding than data",
        || [post(1), frame(DATA, 8, 1, &[5, 0])].concat(),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "HEADERS on stream 0",
        || frame(HEADERS, 5, 0, &block(GET)),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "HEADERS on an even stream",
        || frame(HEADERS, 5, 2, &block(GET)),
        2,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "HEADERS on a lower stream",
        || [get(5), frame(HEADERS, 5, 3, &block(GET))].concat(),
        3,
        &[
            End::GoAway(PROTOCOL),
            End::GoAway(STREAM_CLOSED),
            End::Reset(STREAM_CLOSED),
        ],
    ),
    (
        "a block that is none",
        || frame(HEADERS, 5, 1, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        1,
        &[End::GoAway(COMPRESSION)],
    ),
    (
        "an index that is not there",
        || frame(HEADERS, 5, 1, &[0xff, 0x80, 0x01]),
        1,
        &[End::GoAway(COMPRESSION)],
    ),
    (
        "a stream that depends on itself",
        || {
            frame(
                HEADERS,
                0x25,
                1,
                &[&[0, 0, 0, 1, 16][..], &block(GET)].concat(),
            )
        },
        1,
        &[End::Reset(PROTOCOL), End::GoAway(PROTOCOL)],
    ),
    (
        "PUSH_PROMISE from a client",
        || {
            frame(
                PUSH_PROMISE,
                4,
                1,
                &[&[0, 0, 0, 2][..], &block(GET)].concat(),
            )
        },
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "CONTINUATION of nothing",
        || frame(CONTINUATION, 4, 1, &block(GET)),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "CONTINUATION after the last",
        || [get(1), frame(CONTINUATION, 4, 1, &block(GET))].concat(),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "CONTINUATION of another stream",
        || {
            [
                frame(HEADERS, 1, 1, &block(GET)),
                frame(CONTINUATION, 4, 3, &[]),
            ]
            .concat()
        },
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "another frame within a block",
        || {
            [
                frame(HEADERS, 1, 1, &block(GET)),
                frame(PING, 0, 0, &[0; 8]),
            ]
            .concat()
        },
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "a frame above the maximum",
        || [post(1), frame(DATA, 0, 1, &[0; 16_385])].concat(),
        1,
        &[End::GoAway(FRAME_SIZE), End::Reset(FRAME_SIZE)],
    ),
    (
        "a block above the maximum",
        || frame(HEADERS, 5, 1, &[0; 16_385]),
        1,
        &[End::GoAway(FRAME_SIZE)],
    ),
    (
        "DATA after END_STREAM",
        || [get(1), frame(DATA, 0, 1, b"x")].concat(),
        1,
        &[End::GoAway(STREAM_CLOSED), End::Reset(STREAM_CLOSED)],
    ),
    (
        "HEADERS after END_STREAM",
        || [get(1), frame(HEADERS, 5, 1, &block(GET))].concat(),
        1,
        &[End::GoAway(STREAM_CLOSED), End::Reset(STREAM_CLOSED)],
    ),
    (
        "trailers without END_STREAM",
        || [post(1), frame(HEADERS, 4, 1, &block(&[("x", "1")]))].concat(),
        1,
        &[End::Reset(PROTOCOL), End::GoAway(PROTOCOL)],
    ),
    (
        "a pseudo-field in trailers",
        || [post(1), frame(HEADERS, 5, 1, &block(&[(":path", "/evil")]))].concat(),
        1,
        &[End::Reset(PROTOCOL), End::Status(200)],
    ),
    (
        "a body longer than its length",
        || request_with_body("1", b"abc"),
        1,
        &[End::Reset(PROTOCOL), End::Status(400), End::Status(502)],
    ),
    (
        "a body shorter than its length",
        || request_with_body("9", b"abc"),
        1,
        &[End::Reset(PROTOCOL), End::Status(400), End::Status(502)],
    ),
];

fn request_with_body(length: &str, body: &[u8]) -> Vec<u8> {
    let mut fields = GET.to_vec();
    fields[0].1 = "POST";
    fields.push(("content-length", length));
    let head = frame(HEADERS, END_HEADERS, 1, &block(&fields));
    [head, frame(DATA, END_STREAM, 1, body)].concat()
}
