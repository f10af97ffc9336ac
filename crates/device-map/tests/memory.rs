//! Two snapshots are compared in memory that depends neither on how many devices they have nor on how many groups these lie in.
//! Alone in its program, for it counts what the whole of it takes of the heap.

use std::path::Path;

use device_map::{
    Compared, DeviceFields, Error, Limits, SnapshotBuilder, SnapshotFile, compare, snapshot_path,
};
use model::runtime::mix;
use model::{Platform, Timestamp};
use peak_alloc::PeakAlloc;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const GROUPS: u64 = 1 << 13;
/// Of each group: its keys alone are more than 4 KiB.
const DEVICES: u64 = 140;
/// Windows of both sides, and for each group what is needed to find on in it.
const COMPARING_BYTES_MAX: usize = 2 * (16 << 20) + 2 * GROUPS as usize * 100 + (1 << 20);

/// Devices in as many groups, without those of every `left_out`th user.
fn build(folder: &Path, left_out: u64) -> SnapshotFile {
    let mut builder = SnapshotBuilder::new(folder, Limits::default());
    for number in (0..GROUPS * DEVICES).filter(|number| !(number / GROUPS).is_multiple_of(left_out)) {
        let key: String = (0..4).map(|part| format!("{:016x}", mix(4 * number + part))).collect();
        let (user, market) = (format!("u{:07}", number / 2), format!("m{}", number % GROUPS));
        let device = DeviceFields {
            user: &user,
            platform: Platform::Apns,
            key: &key,
            app: "a",
            locale: "en",
            market: &market,
            registered_at: Timestamp(1),
        };
        builder.push_fields(&device).expect("a good device");
    }
    let manifest = builder.finish().expect("a good build");
    assert_eq!(manifest.groups.len() as u64, GROUPS);
    SnapshotFile::open(&snapshot_path(folder, &manifest.digest), manifest.digest).expect("a good file")
}

#[test]
fn many_groups_are_compared_in_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let (one, other) = (build(folder.path(), DEVICES), build(folder.path(), 7));
    HEAP.reset_peak_usage();
    let (before, mut counts) = (HEAP.current_usage(), [0_u64; 3]);
    compare::<Error>(&one, &other, |compared| {
        counts[match compared {
            Compared::First(_) => 0,
            Compared::Second(_) => 1,
            Compared::Both(..) => 2,
        }] += 1;
        Ok(())
    })
    .expect("good files");
    let grown = HEAP.peak_usage().saturating_sub(before);
    // Of 140 devices of a group the first has all but one, the second all but 20, that one among them.
    assert_eq!(counts, [19 * GROUPS, 0, 120 * GROUPS]);
    println!("{grown} bytes of the heap for {GROUPS} groups on both sides");
    assert!(grown < COMPARING_BYTES_MAX, "{grown} bytes of {COMPARING_BYTES_MAX}");
}
