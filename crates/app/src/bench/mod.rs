//! `fanfare bench`: parts measured on this machine.

pub(crate) mod audience;
mod lists;
pub(crate) mod push;
mod singles;
pub(crate) mod snapshot;
