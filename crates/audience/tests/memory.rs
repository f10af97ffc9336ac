//! Reading takes the same memory whatever is read. Alone in its program, for it asks how much that had.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a helper of a test fails its test")]

use std::io::{self, Read, Write as _};
use std::path::Path;

use audience::{Asked, Limits, Verdict, validate};
use model::Timestamp;
use model::audience::{BadRows, Defaults, PPM, Packing, UploadFormat};

/// What reading may take beside the program itself.
const GROWTH_BYTES_MAX: u64 = 48 << 20;
const GIB: u64 = 1 << 30;

/// The most memory that this process had.
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Has what `content` yields read through a pipe: no disk holds it.
fn read(folder: &Path, format: UploadFormat, content: impl Read + Send) -> Verdict {
    let pipe = folder.join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    let asked = Asked {
        format,
        packing: Packing::None,
        rows: None,
        bad_rows: BadRows::AcceptValid { share_ppm_max: PPM },
        defaults: Defaults { locale: Some("en".into()), market: Some("us".into()), ..Defaults::default() },
        limits: Limits::default(),
        uploaded_at: Timestamp(1),
    };
    let verdict = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut content, mut out) = (content, std::fs::File::create(&pipe).unwrap());
            // Whoever reads may have had enough.
            drop(io::copy(&mut io::BufReader::with_capacity(1 << 20, &mut content), &mut out));
            out.flush().unwrap();
        });
        validate(&pipe, &asked, None, |_| {}).unwrap()
    });
    std::fs::remove_file(&pipe).unwrap();
    verdict
}

fn text(text: &'static str) -> impl Read + Send {
    io::Cursor::new(text)
}

#[test]
fn a_line_of_ten_gigabytes_and_lists_of_every_format_take_the_same_memory() {
    let folder = tempfile::tempdir().unwrap();
    read(folder.path(), UploadFormat::Csv, text("user\nu1\n"));
    let before = peak_bytes();
    let grown = || peak_bytes().saturating_sub(before);

    let long = text("user\nu1\n").chain(io::repeat(b'x').take(10 * GIB)).chain(text("\nu2\n"));
    let verdict = read(folder.path(), UploadFormat::Csv, long);
    assert_eq!((verdict.read.rows, verdict.read.bad_rows), (3, 1));
    assert_eq!(verdict.read.bad_by_reason["line_too_long"], 1);
    assert!(grown() < GROWTH_BYTES_MAX, "a long line: {} bytes", grown());

    for (format, head, row) in [
        (UploadFormat::Csv, "user\n", "user-1\n"),
        (UploadFormat::Csv, "user,platform,key,app,locale,market\n", "u,fcm,a:b,p,en,us\n"),
        (UploadFormat::Csv, "user\n", "\"a\n"),
        (UploadFormat::Ndjson, "{\"user\":\"u\"}\n", "{\"user\":\"user-1\"}\n"),
        (UploadFormat::Ndjson, "{\"user\":\"u\"}\n", "rubbish\n"),
    ] {
        let rows = 3_000_000;
        let lines = row.bytes().cycle().take(row.len() * rows);
        let verdict = read(folder.path(), format, text(head).chain(Bytes(lines)));
        assert!(verdict.read.rows >= rows as u64, "{format:?} {row:?}: {verdict:?}");
        assert!(grown() < GROWTH_BYTES_MAX, "{format:?} {row:?}: {} bytes", grown());
    }
}

/// Bytes as something to read.
struct Bytes<I>(I);

impl<I: Iterator<Item = u8>> Read for Bytes<I> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        for (place, byte) in into.iter_mut().zip(&mut self.0) {
            *place = byte;
            read += 1;
        }
        Ok(read)
    }
}
