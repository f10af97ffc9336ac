//! `fanfare bench`: parts measured on this machine.

pub(crate) mod audience;
pub(crate) mod push;
mod singles;
pub(crate) mod snapshot;
