//! Reading takes the same memory whatever is read. Alone in its program, for it counts what the whole of it takes: of the heap, and,
//! where zstd asks the system itself, of the machine.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails its test")]

use std::io::{self, BufReader, Read};
use std::sync::Mutex;

use audience::{Asked, Limits, Verdict, validate_reader};
use flate2::Compression;
use model::Timestamp;
use model::audience::{BadRows, Defaults, PPM, Packing, UploadFormat};
use peak_alloc::PeakAlloc;
use proptest::prelude::*;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The heap is everybody's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

const MIB: usize = 1 << 20;
const GIB: u64 = 1 << 30;

/// What a list may take of the heap: the buffer for lines, that for packed bytes, a row's texts in all their forms, and what packs and
/// unpacks by gzip; however long the list is.
const fn heap_bytes_max(line_bytes_max: usize) -> usize {
    let buffer = if MIB > 2 * (line_bytes_max + 2) { MIB } else { 2 * (line_bytes_max + 2) };
    buffer + 4 * line_bytes_max + MIB
}

/// Of zstd's own: the largest window that is taken, and its tables.
const WINDOW_BYTES_MAX: u64 = (128 << 20) + (16 << 20);

fn asked(format: UploadFormat, line_bytes_max: usize) -> Asked {
    let said = |text: &str| Some(text.to_owned());
    let limits = Limits {
        line_bytes_max,
        ratio_max: u64::MAX,
        unpacked_bytes_max: u64::MAX,
        rows_max: u64::MAX,
        ..Limits::default()
    };
    Asked {
        format,
        packing: Packing::None,
        rows: None,
        bad_rows: BadRows::AcceptValid { share_ppm_max: PPM },
        defaults: Defaults {
            platform: Some(model::Platform::Fcm),
            apns_app: said("a.b"),
            fcm_app: said("p"),
            locale: said("en"),
            market: said("us"),
        },
        limits,
        uploaded_at: Timestamp(1),
    }
}

/// Reads `content`, packed on the way; what was said of it, and what that took of the heap.
fn read(content: impl Read + Send + 'static, packing: Packing, asked: &Asked) -> (Verdict, usize) {
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let verdict = match packing {
        Packing::None => validate_reader(content, asked),
        Packing::Gzip => {
            let packed = flate2::bufread::GzEncoder::new(BufReader::new(content), Compression::fast());
            validate_reader(packed, asked)
        }
        Packing::Zstd => validate_reader(zstd::stream::read::Encoder::new(content, 1).unwrap(), asked),
    };
    (verdict.unwrap(), HEAP.peak_usage().saturating_sub(before))
}

/// The same row again and again behind a head, to the last byte of so many.
struct Rows {
    head: io::Cursor<Vec<u8>>,
    row: Vec<u8>,
    at: usize,
    left: u64,
}

impl Rows {
    fn new(head: &str, row: Vec<u8>, bytes: u64) -> Self {
        Self { head: io::Cursor::new(head.as_bytes().to_vec()), row, at: 0, left: bytes }
    }
}

impl Read for Rows {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.head.read(into)?;
        if read > 0 {
            return Ok(read);
        }
        let rest = &self.row[self.at..];
        let bytes = rest.len().min(into.len()).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        into[..bytes].copy_from_slice(&rest[..bytes]);
        (self.at, self.left) = ((self.at + bytes) % self.row.len(), self.left - bytes as u64);
        Ok(bytes)
    }
}

/// A format with its head, and how a row of it is made of a text and columns that nobody needs.
#[derive(Clone, Copy, Debug)]
struct Written {
    format: UploadFormat,
    head: fn(usize) -> String,
    row: fn(&str, usize) -> String,
}

const WRITTEN: [Written; 8] = [
    Written { format: UploadFormat::Csv, head: |_| "user\n".into(), row: |text, _| format!("{text}\n") },
    // Doubled quotes need a text of their own, and so do quotes that are not closed.
    Written {
        format: UploadFormat::Csv,
        head: |_| "user\n".into(),
        row: |text, _| format!("\"\"\"{text}\"\n"),
    },
    Written { format: UploadFormat::Csv, head: |_| "user\n".into(), row: |text, _| format!("\"{text}\n") },
    Written {
        format: UploadFormat::Csv,
        head: |_| "user,platform,key,app,locale,market\n".into(),
        row: |text, _| format!("u,fcm,{text},p,en,us\n"),
    },
    Written {
        format: UploadFormat::Ndjson,
        head: |_| "{\"user\":\"u\"}\n".into(),
        row: |text, _| format!("{{\"user\":\"\\u0041{text}\"}}\n"),
    },
    Written {
        format: UploadFormat::Pinpoint,
        head: |columns| format!("ChannelType,Address,Id{}\n", columns_of(columns, ",Attributes.a")),
        row: |text, columns| format!("GCM,{text},i{}\n", columns_of(columns, ",x")),
    },
    Written {
        format: UploadFormat::Pinpoint,
        head: |_| "{\"ChannelType\":\"GCM\",\"Address\":\"a\",\"Id\":\"i\"}\n".into(),
        row: |text, columns| {
            let attributes = columns_of(columns, "\"x\",");
            format!(
                "{{\"ChannelType\":\"GCM\",\"Attributes\":{{\"a\":[{attributes}\"y\"]}},\"Address\":\"{text}\",\"Id\":\"i\"}}\n"
            )
        },
    },
    Written { format: UploadFormat::Tokens, head: |_| String::new(), row: |text, _| format!("{text}\n") },
];

fn columns_of(columns: usize, one: &str) -> String {
    one.repeat(columns)
}

/// Enough that whatever keeps it is found.
const LIST_BYTES: u64 = 24 << 20;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 16, ..ProptestConfig::default() })]

    #[test]
    fn rows_of_any_length_and_columns_packed_or_not_take_the_memory_of_two_lines(
        written in proptest::sample::select(&WRITTEN[..]),
        packing in proptest::sample::select(&[Packing::None, Packing::Gzip, Packing::Zstd][..]),
        line_bytes_max in prop_oneof![Just(200_usize), Just(65_536), Just(MIB), 64_usize..MIB],
        // Of a line's ceiling in hundredths, or a few bytes.
        share in prop_oneof![Just(0_usize), 0..120_usize, Just(95), Just(400)],
        columns in prop_oneof![Just(0_usize), 1..900_usize],
    ) {
        let _alone = ALONE.lock();
        let text = "a".repeat((line_bytes_max * share / 100).clamp(1, 2 * MIB));
        let row = (written.row)(&text, columns).into_bytes();
        let content = Rows::new(&(written.head)(columns), row, LIST_BYTES);
        let (verdict, taken) = read(content, packing, &asked(written.format, line_bytes_max));
        // A header that is longer than a line may be refuses the file.
        prop_assert!(verdict.refused.is_none() || verdict.read.rows == 0 || verdict.read.bad_rows > 0, "{:?}", verdict.refused);
        prop_assert!(verdict.refused.is_some() || verdict.read.unpacked_bytes >= LIST_BYTES);
        let most = heap_bytes_max(line_bytes_max);
        prop_assert!(taken <= most, "{taken} bytes, {most} may be");
    }
}

#[test]
fn a_line_of_ten_gigabytes_takes_what_a_short_one_does() {
    let _alone = ALONE.lock();
    let long = io::Cursor::new("user\nu1\n").chain(io::repeat(b'x').take(10 * GIB)).chain(&b"\nu2\n"[..]);
    let asked = asked(UploadFormat::Csv, Limits::default().line_bytes_max);
    let (verdict, taken) = read(long, Packing::None, &asked);
    assert_eq!((verdict.read.rows, verdict.read.bad_rows), (3, 1));
    assert_eq!(verdict.read.bad_by_reason["line_too_long"], 1);
    assert!(taken <= heap_bytes_max(asked.limits.line_bytes_max), "{taken} bytes");
}

/// Resident memory of this process by a word of `/proc/self/status`.
fn resident_bytes(word: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(word)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// A list packed by zstd to be unpacked in a window of so many bits, and its bytes.
fn windowed(bits: u32) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(bits).unwrap();
    io::copy(&mut Rows::new("user\n", b"user-with-a-name\n".to_vec(), 160 << 20), &mut encoder).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_zstd_window_takes_128_mib_at_most_and_a_larger_one_is_refused() {
    let _alone = ALONE.lock();
    let asked = asked(UploadFormat::Csv, 65_536);
    for (bits, is_taken) in [(27, true), (28, false)] {
        let packed = windowed(bits);
        // What packing it took is forgotten.
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = resident_bytes("VmRSS:");
        let (verdict, taken) = read(io::Cursor::new(packed), Packing::None, &asked);
        assert_eq!(verdict.refused.is_none(), is_taken, "{bits} bits: {:?}", verdict.refused);
        assert!(verdict.refused.is_none_or(|why| why.contains("--long=27")));
        let grown = resident_bytes("VmHWM:").saturating_sub(before);
        assert!(taken <= heap_bytes_max(65_536), "{taken} bytes");
        assert!(grown <= WINDOW_BYTES_MAX, "{bits} bits: {grown} bytes resident");
    }
}
