//! The name of a request in flight: which device of which shard, what was tried before, and with which token.

use crate::again::Attempt;

/// Travels with the request as a number, so that a device needs no memory of its own while it is in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tag {
    /// Device of the shard.
    pub(crate) index: u32,
    /// Place of the shard in its thread.
    pub(crate) slot: u16,
    /// What was tried for the device.
    pub(crate) attempt: Attempt,
    /// The low bits of the token's generation.
    pub(crate) token: u8,
}

impl Tag {
    /// The request that warms a connection; no shard has its slot.
    pub(crate) const WARM_UP: u16 = u16::MAX;

    #[inline]
    pub(crate) fn code(self) -> u64 {
        u64::from(self.index)
            | u64::from(self.slot) << 32
            | u64::from(self.attempt.code()) << 48
            | u64::from(self.token) << 56
    }

    #[inline]
    pub(crate) fn from_code(code: u64) -> Self {
        Self {
            index: code as u32,
            slot: (code >> 32) as u16,
            attempt: Attempt::from_code((code >> 48) as u8),
            token: (code >> 56) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_tag_survives_its_request(code in any::<u64>()) {
            prop_assert_eq!(Tag::from_code(code).code(), code);
        }
    }
}
