//! What names one receive of a message.

use std::fmt;

use backend::Result;

use crate::error::invalid;

/// A message and the nonce of its last receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) id: i64,
    /// Random, never 0: ids are used again, receipts never.
    pub(super) nonce: i64,
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:016x}", self.id, self.nonce)
    }
}

impl Receipt {
    pub(super) fn parse(operation: &'static str, text: &str) -> Result<Self> {
        let read = |text: &str| {
            let (id, nonce) = text.split_once('-')?;
            let nonce = u64::from_str_radix(nonce, 16).ok()? as i64;
            Some(Self { id: id.parse().ok()?, nonce })
        };
        read(text).ok_or_else(|| invalid(operation, "not a receipt of this backend"))
    }
}
