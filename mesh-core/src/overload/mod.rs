//! What keeps an overload from growing.
//!
//! | part | side | what it does |
//! | --- | --- | --- |
//! | [`throttle`] | client | holds calls back from a backend that refuses most of them |

pub mod throttle;
