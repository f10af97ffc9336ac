//! Prefixed integers (RFC 7541, 5.1), limited to what a header block of ours can need.

use super::Corrupt;

/// No length or index beyond this is believed.
const VALUE_MAX: u32 = 1 << 24;

/// Reads an integer whose first byte, at `*at`, gives it the low `prefix_bits`.
pub(super) fn read(block: &[u8], at: &mut usize, prefix_bits: u32) -> Result<usize, Corrupt> {
    let mask = (1u32 << prefix_bits) - 1;
    let mut value = u32::from(*block.get(*at).ok_or(Corrupt)?) & mask;
    *at += 1;
    if value < mask {
        return Ok(value as usize);
    }
    let mut shift = 0;
    loop {
        let byte = *block.get(*at).ok_or(Corrupt)?;
        *at += 1;
        value += u32::from(byte & 0x7f).checked_shl(shift).ok_or(Corrupt)?;
        if value > VALUE_MAX || shift > 21 {
            return Err(Corrupt);
        }
        if byte & 0x80 == 0 {
            return Ok(value as usize);
        }
        shift += 7;
    }
}

/// Appends `value` with `prefix_bits`; `pattern` holds the bits above the prefix.
pub(super) fn write(value: usize, prefix_bits: u32, pattern: u8, out: &mut Vec<u8>) {
    let mask = (1usize << prefix_bits) - 1;
    if value < mask {
        out.push(pattern | value as u8);
        return;
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
