//! What a request to APNs looks like: constants once per group, and per device the path and the `apns-id`.
//! Source: Apple, "Sending notification requests to APNs", read in 2026.

use burst_h2::Field;
use message::{ApnsMessage, CollapseId};
use model::LaunchId;

const PATH: &[u8] = b"/3/device/";
/// The longest key, in bytes: half of the directory's longest text.
pub(crate) const KEY_BYTES_MAX: usize = model::device::KEY_CHARS_MAX / 2;
const PATH_BYTES_MAX: usize = PATH.len() + 2 * KEY_BYTES_MAX;
const ID_PREFIX_BYTES: usize = 19;
const ID_BYTES: usize = 36;

/// The fields of all requests of a group except `authorization`, in the order of sending.
pub(crate) fn fields(authority: &str, topic: &str, message: &ApnsMessage) -> Vec<Field> {
    vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "https"),
        Field::constant(":authority", authority),
        Field::varying(":path"),
        Field::varying("apns-id"),
        Field::constant("apns-topic", topic),
        Field::constant("apns-push-type", message.push_type.as_str()),
        Field::constant("apns-priority", message.priority.as_str()),
        Field::constant("apns-expiration", message.expiration_s.to_string()),
        Field::constant("apns-collapse-id", message.collapse_id.as_str()),
    ]
}

/// What canaries get: a push in the background that shows nothing and is not kept for later.
pub(crate) fn canary() -> ApnsMessage {
    let collapse_id = CollapseId::new("fanfare-warm-up").expect("15 visible characters are a collapse id");
    ApnsMessage::canary(collapse_id, 0)
}

/// The bytes of one device's request that differ from another's. Owned by a sending thread and written over.
pub(crate) struct Device {
    path: [u8; PATH_BYTES_MAX],
    path_bytes: usize,
    id: [u8; ID_BYTES],
}

impl Device {
    pub(crate) fn new() -> Self {
        let mut path = [0; PATH_BYTES_MAX];
        path[..PATH.len()].copy_from_slice(PATH);
        Self { path, path_bytes: PATH.len(), id: [0; ID_BYTES] }
    }

    /// Makes it that of another device. The key has at most [`KEY_BYTES_MAX`] bytes.
    #[inline]
    pub(crate) fn set(&mut self, launch: &IdPrefix, key: &[u8], ordinal: u64) {
        self.id[..ID_PREFIX_BYTES].copy_from_slice(&launch.0);
        self.path_bytes = PATH.len() + 2 * key.len();
        write_hex(key, &mut self.path[PATH.len()..]);
        let digits = hex_of_8((VARIANT | ordinal & ORDINAL_MASK).to_be_bytes());
        self.id[ID_PREFIX_BYTES..ID_PREFIX_BYTES + 4].copy_from_slice(&digits[..4]);
        self.id[ID_PREFIX_BYTES + 4] = b'-';
        self.id[ID_PREFIX_BYTES + 5..].copy_from_slice(&digits[4..]);
    }

    #[inline]
    pub(crate) fn path(&self) -> &[u8] {
        &self.path[..self.path_bytes]
    }

    #[inline]
    pub(crate) fn id(&self) -> &[u8] {
        &self.id
    }
}

/// The variant bits of a UUID, above the ordinal.
const VARIANT: u64 = 1 << 63;
const ORDINAL_MASK: u64 = (1 << 62) - 1;

/// The part of `apns-id` that all devices of a launch share. The id is a UUID of version 8 (RFC 9562): 60 bits of the
/// launch, then the device's ordinal, so that no two devices of a launch share one and every attempt has the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct IdPrefix([u8; ID_PREFIX_BYTES]);

impl IdPrefix {
    pub(crate) fn of(launch: LaunchId) -> Self {
        let digits = hex_of_8(((launch.0 >> 64) as u64).to_be_bytes());
        let mut prefix = [b'-'; ID_PREFIX_BYTES];
        prefix[..8].copy_from_slice(&digits[..8]);
        prefix[9..13].copy_from_slice(&digits[8..12]);
        prefix[14] = b'8';
        prefix[15..18].copy_from_slice(&digits[12..15]);
        Self(prefix)
    }
}

/// Bytes whose digits are made together: what the compiler turns into a few vector instructions.
const LANE: usize = 16;

/// Lower-case hex of `bytes`, at the start of `out`.
#[inline]
fn write_hex(bytes: &[u8], out: &mut [u8]) {
    let (lanes, rest) = bytes.as_chunks::<LANE>();
    let (places, rest_out) = out.as_chunks_mut::<{ 2 * LANE }>();
    for (lane, place) in lanes.iter().zip(&mut *places) {
        *place = hex(lane);
    }
    if !rest.is_empty() {
        let mut last = [0; LANE];
        last[..rest.len()].copy_from_slice(rest);
        let digits = &hex(&last)[..2 * rest.len()];
        match places.get_mut(lanes.len()) {
            Some(place) => place[..digits.len()].copy_from_slice(digits),
            None => rest_out[..digits.len()].copy_from_slice(digits),
        }
    }
}

#[inline]
fn hex_of_8(bytes: [u8; 8]) -> [u8; 16] {
    let mut lane = [0; LANE];
    lane[..8].copy_from_slice(&bytes);
    let digits = hex(&lane);
    std::array::from_fn(|at| digits[at])
}

#[inline]
fn hex(bytes: &[u8; LANE]) -> [u8; 2 * LANE] {
    let digit = |nibble: u8| nibble + if nibble > 9 { b'a' - 10 } else { b'0' };
    let high = bytes.map(|byte| digit(byte >> 4));
    let low = bytes.map(|byte| digit(byte & 15));
    let mut out = [0; 2 * LANE];
    for at in 0..LANE {
        out[2 * at] = high[at];
        out[2 * at + 1] = low[at];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn id_of(launch: u128, ordinal: u64) -> String {
        let mut device = Device::new();
        device.set(&IdPrefix::of(LaunchId(launch)), &[1], ordinal);
        String::from_utf8(device.id().to_vec()).unwrap()
    }

    #[test]
    fn an_apns_id_is_a_lower_case_uuid_of_launch_and_ordinal() {
        let id = id_of(0xfedc_ba98_7654_3210_ffff_ffff_ffff_ffff, 0xabc);
        assert_eq!(id, "fedcba98-7654-8321-8000-000000000abc");
        assert_eq!(id_of(1 << 127, u64::MAX), "80000000-0000-8000-bfff-ffffffffffff");
    }

    #[test]
    fn no_two_devices_or_launches_share_an_apns_id() {
        let launches = [0x1_0000_0000_0000_0000_0000_u128, 0x2_0000_0000_0000_0000_0000];
        let ids: HashSet<_> =
            launches.iter().flat_map(|launch| (0..500).map(|n| id_of(*launch, n))).collect();
        assert_eq!(ids.len(), 1_000);
    }

    proptest! {
        #[test]
        fn a_path_is_the_key_in_lower_case_hex(key in proptest::collection::vec(any::<u8>(), 1..KEY_BYTES_MAX)) {
            let mut device = Device::new();
            let launch = IdPrefix::of(LaunchId(7));
            device.set(&launch, &[0xff; KEY_BYTES_MAX], 0);
            device.set(&launch, &key, 0);
            let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            let path = format!("/3/device/{hex}");
            prop_assert_eq!(device.path(), path.as_bytes());
        }
    }
}
