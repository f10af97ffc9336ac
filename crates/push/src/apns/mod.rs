//! APNs: who signs, what a request looks like, what an answer means.

pub mod answer;
pub mod auth;
pub(crate) mod template;
