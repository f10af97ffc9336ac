//! Keys that follow from their numbers, of the length and form of real ones.

use model::Platform;
use model::runtime::mix;
use push::{Key, KeyBuf, Keys};

/// Length of today's APNs device tokens.
const APNS_KEY_BYTES: usize = 32;
/// Length of today's FCM registration tokens.
const FCM_TOKEN_CHARS: usize = 163;
/// Where their colon stands.
const FCM_COLON: usize = 22;
/// What a token's number does not decide.
const FCM_FILLING: &[u8; FCM_TOKEN_CHARS] = &[b'x'; FCM_TOKEN_CHARS];

/// A range of made-up devices. Making a key costs about as much as reading one from a snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct MadeUpKeys {
    pub(super) platform: Platform,
    pub(super) first: u64,
    pub(super) count: u32,
    /// After so many devices the same keys come again.
    pub(super) distinct: u64,
}

impl Keys for MadeUpKeys {
    fn len(&self) -> u32 {
        self.count
    }

    #[inline]
    fn key<'a>(&'a self, index: u32, room: &'a mut KeyBuf) -> Key<'a> {
        let ordinal = self.ordinal(index);
        // Nothing is divided where every device differs.
        let number = if ordinal < self.distinct { ordinal } else { ordinal % self.distinct };
        let room = room.bytes();
        match self.platform {
            Platform::Apns => {
                let key = &mut room[..APNS_KEY_BYTES];
                key.copy_from_slice(&apns_key(number));
                Key::Apns(key)
            }
            Platform::Fcm => {
                let token = &mut room[..FCM_TOKEN_CHARS];
                token.copy_from_slice(FCM_FILLING);
                token[FCM_COLON] = b':';
                write_number(number, &mut token[..16]);
                Key::FcmToken(token)
            }
        }
    }

    #[inline]
    fn ordinal(&self, index: u32) -> u64 {
        self.first + u64::from(index)
    }
}

/// APNs device token `number`.
#[inline]
pub(super) fn apns_key(number: u64) -> [u8; APNS_KEY_BYTES] {
    let mut key = [0; APNS_KEY_BYTES];
    for (place, word) in key.as_chunks_mut::<8>().0.iter_mut().zip(0..) {
        *place = mix(number * 4 + word).to_be_bytes();
    }
    key
}

/// As sixteen letters, a to p.
fn write_number(number: u64, place: &mut [u8]) {
    for (place, shift) in place.iter_mut().zip((0..64).step_by(4)) {
        *place = b'a' + (number >> shift & 15) as u8;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn numbers_become_different_texts_of_letters() {
        let text = |number| {
            let mut text = [0; 16];
            write_number(number, &mut text);
            text
        };
        let texts: HashSet<_> = (0..1_000).map(text).collect();
        assert_eq!(texts.len(), 1_000);
        assert!(texts.iter().flatten().all(u8::is_ascii_lowercase));
    }
}
