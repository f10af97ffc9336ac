//! What a request to APNs looks like: constants once per group, and per device the path and the `apns-id`.
//! Source: Apple, "Sending notification requests to APNs", read in 2026.

use burst_h2::{Field, Values};
use message::{ApnsMessage, CollapseId};
use model::LaunchId;
use model::device::topic;

const PATH: &[u8] = b"/3/device/";
/// The longest key, in bytes: half of the directory's longest text.
pub(crate) const KEY_BYTES_MAX: usize = model::device::KEY_CHARS_MAX / 2;
const ID_PREFIX_BYTES: usize = 19;
const ID_BYTES: usize = 36;

/// The fields of all requests of a group except `authorization`, in the order of sending.
pub(crate) fn fields(authority: &str, app: &str, message: &ApnsMessage) -> Vec<Field> {
    vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "https"),
        Field::constant(":authority", authority),
        Field::varying(":path"),
        Field::varying("apns-id"),
        Field::constant("apns-topic", topic(app)),
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

/// What one device's request has and another's has not: its path and its `apns-id`, in the order of [`fields`].
pub(crate) struct Device<'a> {
    pub(crate) launch: &'a IdPrefix,
    /// At most [`KEY_BYTES_MAX`] bytes.
    pub(crate) key: &'a [u8],
    pub(crate) ordinal: u64,
}

impl Device<'_> {
    #[inline]
    fn put_path(&self, room: &mut [u8]) {
        let (path, digits) = room.split_at_mut(PATH.len());
        path.copy_from_slice(PATH);
        put_hex(self.key, digits);
    }

    #[inline]
    fn put_id(&self, room: &mut [u8; ID_BYTES]) {
        let digits = hex_of_8((VARIANT | self.ordinal & ORDINAL_MASK).to_be_bytes());
        room[..ID_PREFIX_BYTES].copy_from_slice(&self.launch.0);
        room[ID_PREFIX_BYTES..ID_PREFIX_BYTES + 4].copy_from_slice(&digits[..4]);
        room[ID_PREFIX_BYTES + 4] = b'-';
        room[ID_PREFIX_BYTES + 5..].copy_from_slice(&digits[4..]);
    }
}

impl Values for Device<'_> {
    #[inline]
    fn count(&self) -> usize {
        2
    }

    #[inline]
    fn bytes(&self, place: usize) -> usize {
        if place == 0 { PATH.len() + 2 * self.key.len() } else { ID_BYTES }
    }

    #[inline]
    fn put(&self, place: usize, room: &mut [u8]) {
        if place == 0 {
            self.put_path(room);
        } else if let Ok(room) = room.try_into() {
            self.put_id(room);
        }
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

/// The two lower-case hex digits of each byte.
static HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        pairs[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    pairs
};

/// Hex of `bytes`, at the start of `out`.
#[inline]
fn put_hex(bytes: &[u8], out: &mut [u8]) {
    let (sixteens, rest) = bytes.as_chunks();
    let (places, out) = out.as_chunks_mut();
    sixteens.iter().zip(&mut *places).for_each(|(bytes, place)| *place = hex_of_16(bytes));
    for (byte, place) in rest.iter().zip(out.as_chunks_mut().0) {
        *place = HEX[usize::from(*byte)];
    }
}

/// Plain loops over arrays, for the compiler makes vector instructions of them: two thirds of the time of the table.
#[inline]
fn hex_of_16(bytes: &[u8; 16]) -> [u8; 32] {
    let digit = |nibble: u8| nibble + b'0' + if nibble > 9 { b'a' - b'0' - 10 } else { 0 };
    let (mut high, mut low, mut digits) = ([0; 16], [0; 16], [0; 32]);
    for at in 0..16 {
        high[at] = digit(bytes[at] >> 4);
        low[at] = digit(bytes[at] & 15);
    }
    for at in 0..16 {
        digits[2 * at] = high[at];
        digits[2 * at + 1] = low[at];
    }
    digits
}

#[inline]
fn hex_of_8(bytes: [u8; 8]) -> [u8; 16] {
    // Sixteen bytes as vectors take less time than eight by the table.
    let mut sixteen = [0; 16];
    sixteen[..8].copy_from_slice(&bytes);
    let digits = hex_of_16(&sixteen);
    std::array::from_fn(|at| digits[at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn text(device: &Device<'_>, place: usize) -> String {
        let mut room = vec![0xff; device.bytes(place)];
        device.put(place, &mut room);
        String::from_utf8(room).unwrap()
    }

    fn id_of(launch: u128, ordinal: u64) -> String {
        let launch = IdPrefix::of(LaunchId(launch));
        text(&Device { launch: &launch, key: &[1], ordinal }, 1)
    }

    #[test]
    fn a_topic_is_sent_without_the_mark_of_the_sandbox() {
        let topic = |app| {
            let fields = fields("localhost", app, &canary());
            fields.into_iter().find(|field| field.name() == "apns-topic").unwrap()
        };
        let wanted = Field::constant("apns-topic", "org.example.app");
        assert_eq!((topic("org.example.app@sandbox"), topic("org.example.app")), (wanted.clone(), wanted));
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
            let device = Device { launch: &IdPrefix::of(LaunchId(7)), key: &key, ordinal: 0 };
            let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
            prop_assert_eq!(text(&device, 0), format!("/3/device/{hex}"));
        }
    }
}
