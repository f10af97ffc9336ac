//! Imports: a call's devices are grouped by user, merged with what is known, and written where they change something.

use std::ops::Range;

use backend::ErrorKind;
use backend::directory::{Imported, Label, USER_DEVICES_MAX};
use model::device::{LABEL_BYTES_MAX, USER_BYTES_MAX};
use model::{Device, Timestamp};

use super::batch::{Batch, Before};
use super::entry::{Labels, Stored, USER, User, pack, write_device};
use super::index::hash;
use super::shared::Shared;
use super::state::State;
use super::window::Window;
use crate::error::Failure;

/// A device of the call, by the hash of its user and its place in the call.
type Place = (u64, u32);

/// Adds or changes `devices`. The caller has no lock.
pub(super) fn import(shared: &Shared, devices: &[Device]) -> Result<Imported, Failure> {
    devices.iter().try_for_each(check)?;
    let places = sort(devices);
    let _turn = shared.begin()?;
    // Labels that are known here but were not written would shift the numbers of those that follow.
    import_sorted(shared, devices, &places).inspect_err(|_| shared.forget())
}

fn import_sorted(shared: &Shared, devices: &[Device], places: &[Place]) -> Result<Imported, Failure> {
    let mut batch = Batch::new(shared);
    let labels = label(shared, devices, &mut batch);
    let mut merge = Merge { imported: Imported::default(), parts: Vec::new(), keys: Vec::new() };
    let mut groups = places.chunk_by(|one, other| is_same_user(devices, *one, *other)).peekable();
    while groups.peek().is_some() {
        {
            let state = shared.state();
            let mut window = Window::new(&state.log);
            while let Some(group) = groups.next_if(|_| !batch.is_full()) {
                merge.group(&state, &mut window, &mut batch, devices, &labels, group)?;
            }
        }
        batch.append()?;
    }
    Ok(merge.imported)
}

/// Lengths that the log cannot hold; everything else is the caller's to check.
fn check(device: &Device) -> Result<(), Failure> {
    let Device { user, app, locale, market, .. } = device;
    let fits = user.len() <= USER_BYTES_MAX
        && [app, locale, market].iter().all(|text| text.len() <= LABEL_BYTES_MAX);
    let message = "a device whose user, app, locale or market is too long";
    fits.then_some(()).ok_or_else(|| Failure::new(ErrorKind::Invalid, message))
}

fn sort(devices: &[Device]) -> Vec<Place> {
    let hashes = devices.iter().map(|device| hash(device.user.as_bytes()));
    let mut places: Vec<Place> = hashes.zip(0..).collect();
    places.sort_unstable();
    if places.windows(2).any(|pair| pair[0].0 == pair[1].0 && !is_same_user(devices, pair[0], pair[1])) {
        // Two users of one hash in a call: bring each one's devices together.
        places.sort_by(|(hash, one), (other_hash, other)| {
            let user = |place: &u32| &devices[*place as usize].user;
            (hash, user(one), one).cmp(&(other_hash, user(other), other))
        });
    }
    places
}

fn is_same_user(devices: &[Device], (hash, one): Place, (other_hash, other): Place) -> bool {
    hash == other_hash && devices[one as usize].user == devices[other as usize].user
}

/// The number of each device's label; new ones go into the state and the batch.
fn label(shared: &Shared, devices: &[Device], batch: &mut Batch<'_>) -> Vec<u32> {
    let found: Vec<Option<u32>> = {
        let state = shared.state();
        devices.iter().map(|device| state.labels.find(device)).collect()
    };
    let mut number = |(found, device): (Option<u32>, &Device)| {
        found.unwrap_or_else(|| {
            let mut state = shared.state_mut();
            // An earlier device of this call may have brought it.
            state.labels.find(device).unwrap_or_else(|| {
                let Device { platform, app, locale, market, .. } = device.clone();
                let label = Label { platform, app, locale, market };
                batch.label(&label);
                state.labels.add(label)
            })
        })
    };
    found.into_iter().zip(devices).map(&mut number).collect()
}

/// Merges one user after the other; the buffers are kept.
struct Merge {
    imported: Imported,
    parts: Vec<Part>,
    keys: Vec<u8>,
}

/// A device of the user at hand, its key in `keys`.
struct Part {
    label: u32,
    is_packed: bool,
    key: Range<usize>,
    registered_at: Timestamp,
    /// Label and registration as they were known.
    known: Option<(u32, Timestamp)>,
    /// Whether the call names it.
    is_named: bool,
}

impl Merge {
    fn group(
        &mut self,
        state: &State,
        window: &mut Window<'_>,
        batch: &mut Batch<'_>,
        devices: &[Device],
        labels: &[u32],
        group: &[Place],
    ) -> Result<(), Failure> {
        self.parts.clear();
        self.keys.clear();
        let (hash, first) = group[0];
        let user = &devices[first as usize].user;
        let mut before = None;
        if let Some(offset) = state.find(hash, user.as_bytes(), window)? {
            let (entry, bytes) = window.user(offset, 0)?;
            self.know(&entry).ok_or_else(|| state.log.damaged(offset))?;
            let devices = self.parts.len() as u64;
            before = Some(Before { offset, bytes, devices, is_forgotten: entry.is_forgotten });
        }
        for (_, place) in group {
            let place = *place as usize;
            self.name(&state.labels, &devices[place], labels[place]);
            if self.parts.len() > USER_DEVICES_MAX {
                // Without the id, which goes into logs and rows.
                let message = format!("one user would have more than {USER_DEVICES_MAX} devices");
                return Err(Failure::new(ErrorKind::Invalid, message));
            }
        }
        if self.count() {
            batch.user(USER, hash, user, before, self.parts.len() as u64, |bytes| self.write(bytes));
        }
        Ok(())
    }

    /// Takes in what is known.
    fn know(&mut self, entry: &User<'_>) -> Option<()> {
        for device in entry.devices() {
            let Stored { label, is_packed, key, registered_at } = device?;
            let start = self.keys.len();
            self.keys.extend_from_slice(key);
            let (key, known) = (start..self.keys.len(), Some((label, registered_at)));
            self.parts.push(Part { label, is_packed, key, registered_at, known, is_named: false });
        }
        Some(())
    }

    /// Takes in a device of the call.
    fn name(&mut self, labels: &Labels, device: &Device, label: u32) {
        let start = self.keys.len();
        let is_packed = pack(device.platform, &device.key, &mut self.keys);
        let (keys, registered_at) = (&self.keys, device.registered_at);
        let is_it = |part: &&mut Part| {
            part.is_packed == is_packed
                && keys[part.key.clone()] == keys[start..]
                && labels.are_alike(part.label, label)
        };
        if let Some(part) = self.parts.iter_mut().find(is_it) {
            (part.label, part.registered_at, part.is_named) = (label, registered_at, true);
            self.keys.truncate(start);
        } else {
            let key = start..self.keys.len();
            self.parts.push(Part { label, is_packed, key, registered_at, known: None, is_named: true });
        }
    }

    /// Counts what the call does to the user; whether it changes anything.
    fn count(&mut self) -> bool {
        let before = self.imported;
        for part in self.parts.iter().filter(|part| part.is_named) {
            match part.known {
                None => self.imported.added += 1,
                Some(known) if known == (part.label, part.registered_at) => self.imported.unchanged += 1,
                Some(_) => self.imported.changed += 1,
            }
        }
        (self.imported.added, self.imported.changed) != (before.added, before.changed)
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        for Part { label, is_packed, key, registered_at, .. } in &self.parts {
            let (label, is_packed, registered_at) = (*label, *is_packed, *registered_at);
            write_device(&Stored { label, is_packed, key: &self.keys[key.clone()], registered_at }, bytes);
        }
    }
}
