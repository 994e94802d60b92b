//! Frames about the connection and its streams: SETTINGS, PRIORITY, RST_STREAM, PING, GOAWAY,
//! WINDOW_UPDATE.

use super::errors::Case;
use super::{FLOW_CONTROL, FRAME_SIZE, PROTOCOL};
use crate::frames::*;

pub(super) const CASES: &[Case] = &[
    (
        "an unknown frame is skipped",
        || [frame(0x99, 0xff, 0, b"x"), get(1)].concat(),
        1,
        &[End::Status(200)],
    ),
    (
        "PRIORITY on stream 0",
        || frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 16]),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "PRIORITY of four bytes",
        || [post(1), frame(PRIORITY, 0, 1, &[0; 4])].concat(),
        1,
        &[End::Reset(FRAME_SIZE), End::GoAway(FRAME_SIZE)],
    ),
    (
        "RST_STREAM on stream 0",
        || frame(RST_STREAM, 0, 0, &[0; 4]),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "RST_STREAM on an idle stream",
        || frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "RST_STREAM of three bytes",
        || [post(1), frame(RST_STREAM, 0, 1, &[0; 3])].concat(),
        1,
        &[End::GoAway(FRAME_SIZE)],
    ),
    (
        "SETTINGS on a stream",
        || frame(SETTINGS, 0, 1, &[]),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "SETTINGS of five bytes",
        || frame(SETTINGS, 0, 0, &[0; 5]),
        0,
        &[End::GoAway(FRAME_SIZE)],
    ),
    (
        "SETTINGS acknowledged with a payload",
        || frame(SETTINGS, 1, 0, &[0; 6]),
        0,
        &[End::GoAway(FRAME_SIZE)],
    ),
    (
        "ENABLE_PUSH of 2",
        || frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 2]),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "a window above 2^31",
        || frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0]),
        0,
        &[End::GoAway(FLOW_CONTROL)],
    ),
    (
        "MAX_FRAME_SIZE of 1",
        || frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 1]),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "MAX_FRAME_SIZE of 2^24",
        || frame(SETTINGS, 0, 0, &[0, 5, 1, 0, 0, 0]),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "an unknown setting is skipped",
        || [frame(SETTINGS, 0, 0, &[0, 0xff, 0, 0, 0, 1]), get(1)].concat(),
        1,
        &[End::Status(200)],
    ),
    (
        "PING on a stream",
        || frame(PING, 0, 1, &[0; 8]),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "PING of seven bytes",
        || frame(PING, 0, 0, &[0; 7]),
        0,
        &[End::GoAway(FRAME_SIZE)],
    ),
    (
        "GOAWAY on a stream",
        || frame(GOAWAY, 0, 1, &[0; 8]),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "WINDOW_UPDATE of zero on the connection",
        || frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        0,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "WINDOW_UPDATE of zero on a stream",
        || [post(1), frame(WINDOW_UPDATE, 0, 1, &[0; 4])].concat(),
        1,
        &[End::Reset(PROTOCOL), End::GoAway(PROTOCOL)],
    ),
    (
        "WINDOW_UPDATE of three bytes",
        || frame(WINDOW_UPDATE, 0, 0, &[0; 3]),
        0,
        &[End::GoAway(FRAME_SIZE)],
    ),
    (
        "WINDOW_UPDATE on an idle stream",
        || frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
        1,
        &[End::GoAway(PROTOCOL)],
    ),
    (
        "the connection's window above 2^31",
        || {
            [
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
                frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat()
        },
        0,
        &[End::GoAway(FLOW_CONTROL)],
    ),
    (
        "a stream's window above 2^31",
        || {
            [
                post(1),
                frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
                frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff]),
            ]
            .concat()
        },
        1,
        &[End::Reset(FLOW_CONTROL), End::GoAway(FLOW_CONTROL)],
    ),
];
