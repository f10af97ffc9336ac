//! The contract in memory and in a folder, and what only a folder can show.
#![allow(clippy::unwrap_used, reason = "these are tests, helpers included")]

mod crash;
mod dropped;
mod fault;
mod full;
mod reopen;
mod support;
mod twins;
mod wake;

mod memory {
    backend::contract_tests!(crate::support::memory);
}

mod folder {
    backend::contract_tests!(crate::support::folder);
}

mod without_faults {
    backend::contract_tests!(crate::support::without_faults);
}

mod two_on_one_folder {
    backend::contract_tests!(crate::twins::twins);
}
