//! How a key is packed, and how it gets its text back. Packing is exact: the text that comes out is the text that
//! went in (an APNs token in lower case).

use model::Platform;
use model::device::{DeviceError, KEY_CHARS_MAX};

/// What a key is to its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// An APNs device token; its text is lower-case hex.
    ApnsToken,
    /// An FCM registration token, for `message.token`.
    FcmToken,
    /// A Firebase Installation ID of 22 characters, for `message.fid`.
    FcmFid,
}

/// How the keys of a run are packed. With the number of characters it fixes the bytes per key.
/// The numbers stand in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(crate) enum Encoding {
    /// APNs: the bytes that the hex digits spell.
    Binary = 1,
    /// FCM, 22 characters of base64url.
    Fid = 2,
    /// FCM, 22 characters of base64url, a colon, and more base64url: today's tokens.
    Token = 3,
    /// FCM, base64url of any other length: tokens of older phones.
    Base64 = 4,
    /// FCM, whatever else: the text itself.
    Raw = 5,
}

/// Characters of a FID, and of a token before its colon.
const FID_CHARS: usize = 22;
const FID_BYTES: usize = packed_bytes(FID_CHARS);

impl Encoding {
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        use Encoding::{Base64, Binary, Fid, Raw, Token};
        [Binary, Fid, Token, Base64, Raw].into_iter().find(|encoding| *encoding as u8 == number)
    }

    pub(crate) const fn kind(self) -> KeyKind {
        match self {
            Encoding::Binary => KeyKind::ApnsToken,
            Encoding::Fid => KeyKind::FcmFid,
            Encoding::Token | Encoding::Base64 | Encoding::Raw => KeyKind::FcmToken,
        }
    }

    pub(crate) const fn platform(self) -> Platform {
        match self {
            Encoding::Binary => Platform::Apns,
            _ => Platform::Fcm,
        }
    }

    /// Bytes of a packed key whose text has `chars` characters; `None` where no such text exists.
    pub(crate) const fn key_bytes(self, chars: usize) -> Option<usize> {
        if chars == 0 || chars > KEY_CHARS_MAX {
            return None;
        }
        match self {
            Encoding::Binary if chars.is_multiple_of(2) => Some(chars / 2),
            Encoding::Fid if chars == FID_CHARS => Some(FID_BYTES),
            Encoding::Token if chars > FID_CHARS + 1 => Some(FID_BYTES + packed_bytes(chars - FID_CHARS - 1)),
            Encoding::Base64 => Some(packed_bytes(chars)),
            Encoding::Raw => Some(chars),
            _ => None,
        }
    }
}

/// A key as it stands in a builder's rows.
#[derive(Clone, Copy)]
pub(crate) struct Packed<'a> {
    pub(crate) encoding: Encoding,
    /// Characters of the text.
    pub(crate) chars: u16,
    pub(crate) bytes: &'a [u8],
}

/// Room for the longest packed key.
pub(crate) type Scratch = [u8; KEY_CHARS_MAX];

/// Packs `text` into `scratch`.
pub(crate) fn pack<'a>(
    platform: Platform,
    text: &str,
    scratch: &'a mut Scratch,
) -> Result<Packed<'a>, DeviceError> {
    let text = text.as_bytes();
    let encoding = match platform {
        Platform::Apns => pack_hex(text, scratch).ok_or(DeviceError::ApnsKey)?,
        Platform::Fcm => pack_fcm(text, scratch).ok_or(DeviceError::FcmKey)?,
    };
    let bytes = encoding.key_bytes(text.len()).expect("the encoding was chosen for this length");
    Ok(Packed { encoding, chars: text.len() as u16, bytes: &scratch[..bytes] })
}

fn pack_hex(text: &[u8], out: &mut Scratch) -> Option<Encoding> {
    Encoding::Binary.key_bytes(text.len())?;
    let mut has_other = false;
    for (bytes, text) in out.chunks_mut(HEX_CHARS_AT_ONCE / 2).zip(text.chunks(HEX_CHARS_AT_ONCE)) {
        let mut digits = [0; HEX_CHARS_AT_ONCE];
        for (digit, char) in digits.iter_mut().zip(text) {
            let (decimal, letter) = (char.wrapping_sub(b'0'), (char | 0x20).wrapping_sub(b'a'));
            *digit = if decimal < 10 { decimal } else { letter.wrapping_add(10) };
            has_other |= decimal >= 10 && letter >= 6;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks().0) {
            *byte = high << 4 | low & 15;
        }
    }
    (!has_other).then_some(Encoding::Binary)
}

/// Arithmetic on this many characters becomes vector instructions, several times as fast as a table.
const HEX_CHARS_AT_ONCE: usize = 64;

fn pack_fcm(text: &[u8], out: &mut Scratch) -> Option<Encoding> {
    if text.is_empty() || text.len() > KEY_CHARS_MAX {
        return None;
    }
    let is_packed = match text.get(FID_CHARS) {
        Some(b':') if text.len() > FID_CHARS + 1 => {
            let (fid, rest) = out.split_at_mut(FID_BYTES);
            let is_token = pack_base64(&text[..FID_CHARS], fid) & pack_base64(&text[FID_CHARS + 1..], rest);
            is_token.then_some(Encoding::Token)
        }
        _ => {
            let packed = if text.len() == FID_CHARS { Encoding::Fid } else { Encoding::Base64 };
            pack_base64(text, out).then_some(packed)
        }
    };
    is_packed.or_else(|| pack_raw(text, out))
}

fn pack_raw(text: &[u8], out: &mut Scratch) -> Option<Encoding> {
    out[..text.len()].copy_from_slice(text);
    let is_key_byte = |&byte: &u8| byte == b':' || BASE64_DIGITS[0][usize::from(byte)] != NO_DIGIT;
    text.iter().all(is_key_byte).then_some(Encoding::Raw)
}

/// Bytes that hold `chars` characters of six bits.
const fn packed_bytes(chars: usize) -> usize {
    (chars * 6).div_ceil(8)
}

/// Packs characters of six bits, the last byte filled up with zero bits; false if one is not base64url.
fn pack_base64(text: &[u8], out: &mut [u8]) -> bool {
    let (fours, rest) = text.as_chunks::<4>();
    let (threes, _) = out.as_chunks_mut::<3>();
    let mut seen = 0;
    for (three, four) in threes.iter_mut().zip(fours) {
        let bits = bits_of(four);
        seen |= bits;
        *three = [(bits >> 16) as u8, (bits >> 8) as u8, bits as u8];
    }
    if !rest.is_empty() {
        let mut four = [b'A'; 4];
        four[..rest.len()].copy_from_slice(rest);
        let bits = bits_of(&four);
        seen |= bits;
        let (at, bytes) = (fours.len() * 3, packed_bytes(rest.len()));
        out[at..at + bytes].copy_from_slice(&bits.to_be_bytes()[1..=bytes]);
    }
    seen & NO_DIGIT == 0
}

/// The 24 bits that four characters spell, and [`NO_DIGIT`] if one is not base64url.
fn bits_of(four: &[u8; 4]) -> u32 {
    let [a, b, c, d] = four.map(usize::from);
    BASE64_DIGITS[0][a] | BASE64_DIGITS[1][b] | BASE64_DIGITS[2][c] | BASE64_DIGITS[3][d]
}

/// Writes the text of a packed key to the start of `out`, which must have room for its `chars` characters.
pub(crate) fn unpack_into(encoding: Encoding, key: &[u8], out: &mut [u8]) {
    match encoding {
        Encoding::Binary => hex_into(key, out),
        Encoding::Fid | Encoding::Base64 => unpack_base64(key, out),
        Encoding::Token => {
            unpack_base64(&key[..FID_BYTES], &mut out[..FID_CHARS]);
            out[FID_CHARS] = b':';
            unpack_base64(&key[FID_BYTES..], &mut out[FID_CHARS + 1..]);
        }
        Encoding::Raw => out.copy_from_slice(key),
    }
}

/// Fills `out` with the characters that `key` holds.
fn unpack_base64(key: &[u8], out: &mut [u8]) {
    let (threes, rest) = key.as_chunks::<3>();
    let (fours, rest_out) = out.as_chunks_mut::<4>();
    for (four, three) in fours.iter_mut().zip(threes) {
        let bits = usize::from(three[0]) << 16 | usize::from(three[1]) << 8 | usize::from(three[2]);
        let ([a, b], [c, d]) = (PAIRS[bits >> 12], PAIRS[bits & 0xfff]);
        *four = [a, b, c, d];
    }
    // Three characters take three bytes, so the last whole group of three may belong to them.
    let last = if rest_out.len() == 3 { threes.last().map_or(rest, |three| &three[..]) } else { rest };
    let mut bits = [0; 3];
    bits[..last.len()].copy_from_slice(last);
    let bits = usize::from(bits[0]) << 16 | usize::from(bits[1]) << 8 | usize::from(bits[2]);
    let ([a, b], [c, d]) = (PAIRS[bits >> 12], PAIRS[bits & 0xfff]);
    rest_out.copy_from_slice(&[a, b, c, d][..rest_out.len()]);
}

/// Writes `bytes` as lower-case hex to the start of `out`.
///
/// # Panics
/// If `out` is shorter than twice `bytes`.
#[inline]
pub fn hex_into(bytes: &[u8], out: &mut [u8]) {
    let (pairs, _) = out[..bytes.len() * 2].as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(bytes) {
        *pair = [hex_char(byte >> 4), hex_char(byte & 15)];
    }
}

/// Without a table, so that it becomes vector instructions.
const fn hex_char(digit: u8) -> u8 {
    digit + if digit < 10 { b'0' } else { b'a' - 10 }
}

const BASE64_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// What a table of digits holds for a byte that is none; above the 24 bits of four digits.
const NO_DIGIT: u32 = 1 << 31;

/// What each character stands for as the first, second, third and last of four.
static BASE64_DIGITS: [[u32; 256]; 4] = [digits(18), digits(12), digits(6), digits(0)];

const fn digits(shift: u32) -> [u32; 256] {
    let mut table = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 64 {
        table[BASE64_CHARS[digit] as usize] = (digit as u32) << shift;
        digit += 1;
    }
    table
}

/// Two characters for twelve bits: 8 KiB that stay in the first-level cache. Vector arithmetic, as for hex, is
/// slower here: without byte shuffles, which not every x86-64 has, most of it goes into spreading the bits.
static PAIRS: [[u8; 2]; 4096] = {
    let mut table = [[0; 2]; 4096];
    let mut bits = 0;
    while bits < 4096 {
        table[bits] = [BASE64_CHARS[bits >> 6], BASE64_CHARS[bits & 63]];
        bits += 1;
    }
    table
};

#[cfg(test)]
mod tests;
