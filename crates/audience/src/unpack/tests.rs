//! Packed files, whole, several in one, cut off, damaged and made to harm.

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;

use super::*;
use crate::lines::tests::Parted;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).unwrap()
}

fn open(bytes: Vec<u8>, said: Packing, limits: Limits) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    Unpacked::open(Cursor::new(bytes), said, limits)?.read_to_end(&mut all)?;
    Ok(all)
}

fn fault(bytes: &[u8]) -> Unreadable {
    faulty(bytes, Packing::None, Limits::default())
}

fn faulty(bytes: &[u8], said: Packing, limits: Limits) -> Unreadable {
    open(bytes.to_vec(), said, limits).unwrap_err().downcast().unwrap()
}

proptest! {
    #[test]
    fn what_was_packed_comes_out_however_it_arrives(
        bytes in proptest::collection::vec(any::<u8>(), 1..300),
        parts in proptest::collection::vec(1..40_usize, 1..5),
    ) {
        let text = [b"text ", &bytes[..]].concat();
        for packed in [text.clone(), gzip(&text), zstd(&text)] {
            let reader = Parted { inner: Cursor::new(packed), parts: parts.clone(), next: 0 };
            let mut all = Vec::new();
            Unpacked::open(reader, Packing::None, Limits::default()).unwrap().read_to_end(&mut all).unwrap();
            prop_assert_eq!(&all, &text);
        }
    }

    #[test]
    fn rubbish_is_read_or_refused_and_never_a_panic(
        start in prop_oneof![Just(&b"\x1f\x8b\x08"[..]), Just(&b"\x28\xb5\x2f\xfd"[..]), Just(&b"\x50\x2a\x4d\x18"[..]), Just(&b""[..])],
        rest in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        if let Err(error) = open([start, &rest].concat(), Packing::None, Limits::default()) {
            prop_assert!(error.downcast::<Unreadable>().is_ok());
        }
    }

    #[test]
    fn a_packed_file_with_any_byte_changed_is_no_panic(place in 0..200_usize, byte in any::<u8>()) {
        for mut packed in [gzip(&[b'x'; 2_000]), zstd(&[b'x'; 2_000])] {
            let place = place % packed.len();
            packed[place] = byte;
            let _ = open(packed, Packing::None, Limits::default());
        }
    }
}

#[test]
fn members_of_gzip_and_frames_of_zstd_are_read_on() {
    for pack in [gzip, zstd] {
        let packed = [pack(b"user\n"), pack(b""), pack(b"u1\n")].concat();
        assert_eq!(open(packed, Packing::None, Limits::default()).unwrap(), b"user\nu1\n");
    }
    let skipped = [b"\x5a\x2a\x4d\x18\x03\0\0\0abc".to_vec(), zstd(b"user\n")].concat();
    assert_eq!(open(skipped, Packing::Zstd, Limits::default()).unwrap(), b"user\n");
}

#[test]
fn a_packed_file_that_was_cut_off_is_refused_at_the_byte_where_it_ends() {
    let text: Vec<u8> = (0..40_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    for (pack, name) in [(gzip as fn(&[u8]) -> Vec<u8>, "gzip"), (zstd, "zstd")] {
        let packed = pack(&text);
        for bytes in [packed.len() / 2, packed.len() - 1] {
            let wanted = Unreadable::CutOff { packing: name, byte: bytes as u64 };
            assert_eq!(fault(&packed[..bytes]), wanted);
        }
        // Within the second of two.
        let two = [packed.clone(), packed.clone()].concat();
        let bytes = packed.len() + 30;
        assert_eq!(fault(&two[..bytes]), Unreadable::CutOff { packing: name, byte: bytes as u64 });
    }
}

#[test]
fn a_packed_file_that_is_damaged_is_refused() {
    let text: Vec<u8> = (0..4_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    let mut packed = gzip(&text);
    let end = packed.len();
    packed[end - 6] ^= 1;
    assert!(matches!(fault(&packed), Unreadable::Damaged { packing: "gzip", .. }));
    let followed = [gzip(&text), b"and then some".to_vec()].concat();
    assert!(matches!(fault(&followed), Unreadable::Damaged { packing: "gzip", .. }));
}

#[test]
fn what_was_said_of_the_packing_must_be_so() {
    assert_eq!(faulty(b"user\n", Packing::Gzip, Limits::default()), Unreadable::NotPacked("gzip"));
    assert_eq!(faulty(&gzip(b"user\n"), Packing::Zstd, Limits::default()), Unreadable::NotPacked("zstd"));
    assert_eq!(open(gzip(b"user\n"), Packing::Gzip, Limits::default()).unwrap(), b"user\n");
}

#[test]
fn a_zip_bomb_is_refused_long_before_it_is_unpacked() {
    let bomb = gzip(&vec![b'x'; 64 << 20]);
    let limits = Limits { ratio_free_bytes: 1 << 20, ratio_max: 100, ..Limits::default() };
    match faulty(&bomb, Packing::None, limits) {
        Unreadable::Bomb { unpacked, .. } => assert!(unpacked < 4 << 20, "{unpacked}"),
        fault => panic!("{fault}"),
    }
    let limits = Limits { unpacked_bytes_max: 2 << 20, ratio_max: 10_000, ..Limits::default() };
    assert_eq!(faulty(&bomb, Packing::None, limits), Unreadable::TooManyBytes(2 << 20));
    assert_eq!(faulty(&vec![b'x'; 3 << 20], Packing::None, limits), Unreadable::TooManyBytes(2 << 20));
}

#[test]
fn a_list_of_numbered_users_is_no_bomb() {
    use std::fmt::Write as _;
    let mut text = String::new();
    for number in 0..400_000 {
        writeln!(text, "user-{number:08}").unwrap();
    }
    let limits = Limits { ratio_free_bytes: 0, ..Limits::default() };
    for packed in [gzip(text.as_bytes()), zstd(text.as_bytes())] {
        assert_eq!(open(packed, Packing::None, limits).unwrap().len(), text.len());
    }
}

#[test]
fn files_of_other_kinds_are_refused_by_name() {
    let said = |bytes: &[u8]| fault(bytes).to_string();
    assert!(said(b"PK\x03\x04....").contains("a zip archive or a spreadsheet"));
    assert!(said(b"BZh91AY&SY").contains("bzip2") && said(b"BZh11AY&SY").contains("bzip2"));
    // A token may begin so.
    assert_eq!(open(b"BZh9key:APA91b\n".to_vec(), Packing::None, Limits::default()).unwrap().len(), 15);
    assert!(said(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1").contains("an old Office"));
    assert!(said(b"%PDF-1.7\n").contains("a PDF document"));
    assert!(said(b"\xfd7zXZ\0\0").contains("xz"));
    assert!(said(&gzip(&gzip(b"user\n"))).contains("packed twice"));
}

#[test]
fn utf_16_is_refused_with_what_to_do_with_a_mark_and_without() {
    let wide = |mark: &str, big: bool| -> Vec<u8> {
        let units = format!("{mark}user\nu1\n");
        let bytes = |unit: u16| if big { unit.to_be_bytes() } else { unit.to_le_bytes() };
        units.encode_utf16().flat_map(bytes).collect()
    };
    for bytes in [wide("\u{feff}", false), wide("\u{feff}", true), wide("", false), gzip(&wide("", true))] {
        assert_eq!(fault(&bytes), Unreadable::Utf16);
    }
    assert!(Unreadable::Utf16.to_string().contains("save it as UTF-8"));
}
