//! FCM: who signs, what a request looks like, what an answer means.

pub mod answer;
pub mod auth;
pub mod retry_after;
pub(crate) mod template;
