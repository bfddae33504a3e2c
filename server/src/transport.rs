//! Transports: how frames of a session travel.
//!
//! Both speak the same frames. [`webtransport`] has one stream that the client opens, each frame behind its length, and
//! datagrams; [`websocket`] has a binary message a frame. Each ends with a `Bye`, then the transport's own close with
//! the reason's code and sentence.

pub(crate) mod websocket;
pub(crate) mod webtransport;
