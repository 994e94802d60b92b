//! HTTP/2 that is none: framing errors with the codes of RFC 9113, after h2spec; requests that say two
//! things; floods; an application's bad frames.

mod answers;
mod control;
mod errors;
mod floods;
mod messages;
mod requests;

const PROTOCOL: u32 = 1;
const FLOW_CONTROL: u32 = 3;
const STREAM_CLOSED: u32 = 5;
const FRAME_SIZE: u32 = 6;
const COMPRESSION: u32 = 9;
const ENHANCE_YOUR_CALM: u32 = 11;
