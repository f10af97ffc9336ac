//! The connections to one provider for one app and credential.

/// A pool of an engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolId(pub(crate) u32);
