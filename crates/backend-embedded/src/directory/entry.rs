//! What stands in the log: labels, which many devices share, and users with their devices.
//!
//! A label: 1, platform, and app, locale and market, each with its length in a byte. A user: 2, the length of what follows in
//! four bytes, the user with its length in two, and the devices; a user who was forgotten: 3 in its place, and no device. A device: label, twice the key's length plus whether it is packed
//! hex (both of variable length), the key, and the time of registration in eight bytes. Little end first.

use std::collections::HashMap;

use backend::directory::Label;
use model::{Device, Platform, Timestamp};

use super::index::hash;

pub(super) const LABEL: u8 = 1;
pub(super) const USER: u8 = 2;
pub(super) const FORGOTTEN: u8 = 3;
/// Bytes of a user entry before the user's own length.
pub(super) const USER_HEAD_BYTES: usize = 5;

/// The labels of a log, numbered in the order in which they stand in it.
#[derive(Default)]
pub(super) struct Labels {
    labels: Vec<Label>,
    /// For each the first label of its platform and app.
    firsts: Vec<u32>,
    /// The same by platform and app: a mistaken column makes as many apps as there are rows.
    first_of: HashMap<(Platform, String), u32>,
    by_hash: HashMap<u64, u32>,
}

impl Labels {
    pub(super) fn get(&self, number: u32) -> Option<&Label> {
        self.labels.get(number as usize)
    }

    /// The number of a device's label, once it has one.
    pub(super) fn find(&self, device: &Device) -> Option<u32> {
        let Device { platform, app, locale, market, .. } = device;
        let mut hash = hash_of(*platform, app, locale, market);
        loop {
            let number = *self.by_hash.get(&hash)?;
            let label = &self.labels[number as usize];
            if label.platform == *platform
                && label.app == *app
                && label.locale == *locale
                && label.market == *market
            {
                return Some(number);
            }
            hash = hash.wrapping_add(1);
        }
    }

    /// Adds a label that is not there yet.
    pub(super) fn add(&mut self, label: Label) -> u32 {
        let mut hash = hash_of(label.platform, &label.app, &label.locale, &label.market);
        while self.by_hash.contains_key(&hash) {
            hash = hash.wrapping_add(1);
        }
        let number = self.labels.len() as u32;
        let first = *self.first_of.entry((label.platform, label.app.clone())).or_insert(number);
        self.by_hash.insert(hash, number);
        self.labels.push(label);
        self.firsts.push(first);
        number
    }

    /// Whether devices of these labels have the same platform and app.
    pub(super) fn are_alike(&self, one: u32, other: u32) -> bool {
        let first = |number: u32| self.firsts.get(number as usize);
        one == other || (first(one).is_some() && first(one) == first(other))
    }
}

fn hash_of(platform: Platform, app: &str, locale: &str, market: &str) -> u64 {
    let parts = [app, locale, market].map(|part| hash(part.as_bytes()));
    parts.iter().fold(platform as u64, |state, part| model::runtime::mix(state ^ part))
}

/// A device of a user entry, its key still in the entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored<'a> {
    pub(super) label: u32,
    pub(super) is_packed: bool,
    pub(super) key: &'a [u8],
    pub(super) registered_at: Timestamp,
}

impl Stored<'_> {
    /// Whether the key is what a key may be.
    pub(super) fn is_whole(&self) -> bool {
        self.is_packed || std::str::from_utf8(self.key).is_ok()
    }

    /// Appends the key as the directory's callers write it.
    pub(super) fn write_key(&self, text: &mut String) {
        if self.is_packed {
            unpack(self.key, text);
        } else {
            text.push_str(std::str::from_utf8(self.key).unwrap_or_default());
        }
    }
}

/// Puts a key into its stored form at the end of `bytes`; whether it is packed. Only what unpacks to itself is packed.
pub(super) fn pack(platform: Platform, key: &str, bytes: &mut Vec<u8>) -> bool {
    let start = bytes.len();
    let (pairs, rest) = key.as_bytes().as_chunks::<2>();
    let is_hex = platform == Platform::Apns && rest.is_empty() && {
        bytes.reserve(pairs.len());
        pairs.iter().all(|[high, low]| {
            let (high, low) = (NIBBLES[*high as usize], NIBBLES[*low as usize]);
            bytes.push(high << 4 | low & 0xf);
            (high | low) < 16
        })
    };
    if !is_hex {
        bytes.truncate(start);
        bytes.extend_from_slice(key.as_bytes());
    }
    is_hex
}

/// The value of a lower-case hex digit, 255 for any other byte.
const NIBBLES: [u8; 256] = {
    let mut nibbles = [255; 256];
    let mut value = 0;
    while value < 16 {
        nibbles[DIGITS[value] as usize] = value as u8;
        value += 1;
    }
    nibbles
};
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends the hex digits of `key`.
fn unpack(key: &[u8], text: &mut String) {
    const BYTES: usize = 64;
    for key in key.chunks(BYTES) {
        let mut digits = [0; 2 * BYTES];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(key) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]];
        }
        text.push_str(std::str::from_utf8(&digits[..2 * key.len()]).expect("hex digits are ASCII"));
    }
}

pub(super) fn write_label(label: &Label, bytes: &mut Vec<u8>) {
    bytes.extend([LABEL, label.platform as u8]);
    for text in [&label.app, &label.locale, &label.market] {
        // The directory takes checked devices, whose labels are at most 128 bytes long.
        let text = &text.as_bytes()[..text.len().min(255)];
        bytes.push(text.len() as u8);
        bytes.extend_from_slice(text);
    }
}

/// Reads a label; what stands behind it.
pub(super) fn read_label(bytes: &[u8]) -> Option<(Label, &[u8])> {
    let (&[LABEL, platform], mut rest) = bytes.split_first_chunk()? else { return None };
    let platform = *Platform::ALL.get(platform as usize)?;
    let mut text = || {
        let (&length, behind) = rest.split_first()?;
        let (text, behind) = behind.split_at_checked(length as usize)?;
        rest = behind;
        String::from_utf8(text.to_vec()).ok()
    };
    let label = Label { platform, app: text()?, locale: text()?, market: text()? };
    Some((label, rest))
}

/// Writes an entry of `kind`, [`USER`] or [`FORGOTTEN`]; its devices are written by the closure.
pub(super) fn write_user(kind: u8, user: &str, bytes: &mut Vec<u8>, devices: impl FnOnce(&mut Vec<u8>)) {
    bytes.extend([kind, 0, 0, 0, 0]);
    let start = bytes.len();
    bytes.extend((user.len() as u16).to_le_bytes());
    bytes.extend_from_slice(user.as_bytes());
    devices(bytes);
    let length = (bytes.len() - start) as u32;
    bytes[start - 4..start].copy_from_slice(&length.to_le_bytes());
}

pub(super) fn write_device(device: &Stored<'_>, bytes: &mut Vec<u8>) {
    write_number(u64::from(device.label), bytes);
    write_number((device.key.len() as u64) << 1 | u64::from(device.is_packed), bytes);
    bytes.extend_from_slice(device.key);
    bytes.extend(device.registered_at.as_micros().to_le_bytes());
}

/// The bytes of the user entry that begins with these, head included.
pub(super) fn user_bytes(head: &[u8]) -> Option<usize> {
    let (&[USER | FORGOTTEN, a, b, c, d], _) = head.split_first_chunk::<USER_HEAD_BYTES>()? else {
        return None;
    };
    Some(USER_HEAD_BYTES + u32::from_le_bytes([a, b, c, d]) as usize)
}

/// A user entry that was read: the user, and the devices still to be read.
#[derive(Clone, Copy)]
pub(super) struct User<'a> {
    pub(super) user: &'a [u8],
    devices: &'a [u8],
    /// Nobody knows the user any more.
    pub(super) is_forgotten: bool,
}

/// Reads the user entry that fills `bytes`.
pub(super) fn read_user(bytes: &[u8]) -> Option<User<'_>> {
    let rest = bytes.get(USER_HEAD_BYTES..)?;
    let (length, rest) = rest.split_first_chunk()?;
    let (user, devices) = rest.split_at_checked(u16::from_le_bytes(*length) as usize)?;
    Some(User { user, devices, is_forgotten: bytes[0] == FORGOTTEN })
}

impl<'a> User<'a> {
    /// Its devices; `None` for what is none.
    pub(super) fn devices(&self) -> impl Iterator<Item = Option<Stored<'a>>> + use<'a> {
        let mut rest = self.devices;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let read = read_device(rest);
            rest = read.map_or(&[], |(_, behind)| behind);
            Some(read.map(|(device, _)| device))
        })
    }
}

fn read_device(bytes: &[u8]) -> Option<(Stored<'_>, &[u8])> {
    let (label, rest) = read_number(bytes)?;
    let (length, rest) = read_number(rest)?;
    let (key, rest) = rest.split_at_checked((length >> 1) as usize)?;
    let (registered_at, rest) = rest.split_first_chunk()?;
    let registered_at = Timestamp(u64::from_le_bytes(*registered_at));
    let label = u32::try_from(label).ok()?;
    Some((Stored { label, is_packed: length & 1 != 0, key, registered_at }, rest))
}

/// Seven bits a byte, the lowest first; the highest bit says that more follow.
fn write_number(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 128 {
        bytes.push(number as u8 | 128);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 127) << (7 * at);
        if byte & 128 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_unpack_to_what_they_were() {
        for (platform, key, bytes) in [
            (Platform::Apns, "00ff7a", 3),
            (Platform::Apns, "", 0),
            (Platform::Apns, "00FF", 4),
            (Platform::Apns, "abc", 3),
            (Platform::Apns, "zz", 2),
            (Platform::Fcm, "00ff", 4),
            (Platform::Fcm, "a:b-_", 5),
        ] {
            let mut packed = vec![9];
            let is_packed = pack(platform, key, &mut packed);
            assert_eq!(packed.len(), 1 + bytes, "{key}");
            let stored = Stored { label: 0, is_packed, key: &packed[1..], registered_at: Timestamp(0) };
            let mut text = String::new();
            stored.write_key(&mut text);
            assert_eq!(text, key);
        }
    }

    #[test]
    fn labels_of_one_hash_are_told_apart() {
        let mut labels = Labels::default();
        let label = |market: &str| Label {
            platform: Platform::Apns,
            app: "a".into(),
            locale: "l".into(),
            market: market.into(),
        };
        let device = |market: &str| Device {
            user: "u".into(),
            platform: Platform::Apns,
            key: "00".into(),
            app: "a".into(),
            locale: "l".into(),
            market: market.into(),
            registered_at: Timestamp(0),
        };
        labels.add(label("x"));
        let hash = *labels.by_hash.keys().next().unwrap();
        // As if "y" had the hash of "x" and "x" came first.
        labels.add(label("y"));
        labels.by_hash.retain(|_, number| *number == 0);
        labels.by_hash.insert(hash.wrapping_add(1), 1);
        assert_eq!(labels.find(&device("x")), Some(0));
        labels.by_hash.insert(hash_of(Platform::Apns, "a", "l", "y"), 0);
        labels.by_hash.insert(hash_of(Platform::Apns, "a", "l", "y").wrapping_add(1), 1);
        assert_eq!(labels.find(&device("y")), Some(1));
        assert_eq!(labels.find(&device("z")), None);
    }

    #[test]
    fn damaged_entries_are_refused_not_read() {
        let mut bytes = Vec::new();
        let device = Stored { label: 300, is_packed: true, key: &[1, 2, 3], registered_at: Timestamp(77) };
        write_user(USER, "user", &mut bytes, |bytes| write_device(&device, bytes));
        assert_eq!(user_bytes(&bytes), Some(bytes.len()));
        let user = read_user(&bytes).unwrap();
        assert_eq!((user.user, user.devices().collect::<Vec<_>>()), (&b"user"[..], vec![Some(device)]));
        for end in 0..bytes.len() {
            let read = read_user(&bytes[..end]).map(|user| user.devices().collect::<Vec<_>>());
            assert!(read.is_none_or(|devices| devices.is_empty() || devices == [None]), "{end}");
        }
        let mut label = Vec::new();
        let known =
            Label { platform: Platform::Fcm, app: "a".into(), locale: "de".into(), market: "m".into() };
        write_label(&known, &mut label);
        assert_eq!(read_label(&label), Some((known, &[][..])));
        assert!((0..label.len()).all(|end| read_label(&label[..end]).is_none()));
    }
}
