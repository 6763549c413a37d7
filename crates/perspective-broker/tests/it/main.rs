//! The public face, as a program sees it.

#![expect(clippy::unwrap_used, reason = "what panics here is a test that failed")]

mod conversation;
mod differential;
mod golden;
mod notation;
mod peers;
mod playback;
mod tls;
mod transport;
