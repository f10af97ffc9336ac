//! Walking over the devices of a group: what the sender does while the burst runs. Nothing here allocates,
//! except where the name says text.

use std::fmt;

use crate::key::{Encoding, KeyKind, unpack_into};

/// Devices of one group whose keys are packed alike, resolved to where they lie in the file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) encoding: Encoding,
    /// Characters of each key's text.
    pub(crate) chars: u16,
    /// Bytes of each packed key, at least 1.
    pub(crate) key_bytes: u16,
    /// Its first device, counted within the group.
    pub(crate) first: u32,
    pub(crate) devices: u32,
    /// Where its keys begin in the section of keys.
    pub(crate) keys_at: usize,
}

impl Run {
    pub(crate) fn key<'a>(&self, keys: &'a [u8], device: u32) -> &'a [u8] {
        let bytes = usize::from(self.key_bytes);
        let at = self.keys_at + (device - self.first) as usize * bytes;
        &keys[at..at + bytes]
    }
}

/// A device of a snapshot.
#[derive(Clone, Copy)]
pub struct DeviceRef<'a> {
    pub(crate) encoding: Encoding,
    pub(crate) chars: u16,
    pub(crate) key: &'a [u8],
    pub(crate) user_ordinal: u32,
}

impl<'a> DeviceRef<'a> {
    /// What its key is to the provider.
    pub const fn kind(&self) -> KeyKind {
        self.encoding.kind()
    }

    /// The key as it is packed. For [`KeyKind::ApnsToken`] that is the device token itself, in bytes.
    pub const fn packed(&self) -> &'a [u8] {
        self.key
    }

    /// Characters of the key's text, 1 to [`model::device::KEY_CHARS_MAX`]; all ASCII.
    pub const fn text_chars(&self) -> usize {
        self.chars as usize
    }

    /// Writes the key's text (APNs: lower-case hex) to the start of `out` and says how many bytes it takes.
    ///
    /// # Panics
    /// If `out` is shorter than [`DeviceRef::text_chars`].
    #[inline]
    pub fn text_into(&self, out: &mut [u8]) -> usize {
        let chars = self.text_chars();
        unpack_into(self.encoding, self.key, &mut out[..chars]);
        chars
    }

    /// Appends the key's text to `out`.
    #[inline]
    pub fn append_text(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.resize(at + self.text_chars(), 0);
        self.text_into(&mut out[at..]);
    }

    /// The key's text, for an export.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        self.append_text(&mut text);
        text.into_iter().map(char::from).collect()
    }

    /// Its owner's place in the users file.
    pub const fn user_ordinal(&self) -> u32 {
        self.user_ordinal
    }
}

impl fmt::Debug for DeviceRef<'_> {
    /// Never shows the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceRef")
            .field("kind", &self.kind())
            .field("user_ordinal", &self.user_ordinal)
            .finish_non_exhaustive()
    }
}

/// An iterator over a range of one group's devices.
#[derive(Clone)]
pub struct Range<'a> {
    runs: &'a [Run],
    keys: &'a [u8],
    /// Four bytes for each device that is left.
    ordinals: &'a [u8],
    /// What is left of the run being read.
    run_keys: &'a [u8],
    encoding: Encoding,
    chars: u16,
    key_bytes: u16,
}

impl<'a> Range<'a> {
    /// `runs` are the group's, `ordinals` those of the range, which the group must have.
    pub(crate) fn new(runs: &'a [Run], keys: &'a [u8], ordinals: &'a [u8], start: u32) -> Self {
        let at = runs.partition_point(|run| run.first + run.devices <= start);
        let mut range = Self {
            runs: &runs[at..],
            keys,
            ordinals,
            run_keys: &[],
            encoding: Encoding::Raw,
            chars: 0,
            key_bytes: 1,
        };
        range.enter_run(start);
        range
    }

    /// Makes the next run the one being read, from the group's device `start`.
    fn enter_run(&mut self, start: u32) {
        let Some((run, rest)) = self.runs.split_first() else { return };
        self.runs = rest;
        let skipped = start.saturating_sub(run.first);
        let at = run.keys_at + skipped as usize * usize::from(run.key_bytes);
        let bytes = (run.devices - skipped) as usize * usize::from(run.key_bytes);
        self.run_keys = &self.keys[at..at + bytes];
        (self.encoding, self.chars, self.key_bytes) = (run.encoding, run.chars, run.key_bytes);
    }
}

impl<'a> Iterator for Range<'a> {
    type Item = DeviceRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<DeviceRef<'a>> {
        let (ordinal, ordinals) = self.ordinals.split_first_chunk()?;
        if self.run_keys.is_empty() {
            self.enter_run(0);
        }
        let (key, run_keys) = self.run_keys.split_at(usize::from(self.key_bytes));
        (self.ordinals, self.run_keys) = (ordinals, run_keys);
        let user_ordinal = u32::from_le_bytes(*ordinal);
        Some(DeviceRef { encoding: self.encoding, chars: self.chars, key, user_ordinal })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.ordinals.len() / 4;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Range<'_> {}

impl fmt::Debug for Range<'_> {
    /// Never shows a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Range").field("left", &self.len()).finish_non_exhaustive()
    }
}
