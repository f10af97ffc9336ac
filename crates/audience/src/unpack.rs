//! The bytes of an upload, unpacked. What they begin with says how they are packed, whatever their sender said; what they
//! become is limited, in itself and against what they were.

use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use model::audience::Packing;

use crate::cause::Unreadable;
use crate::config::Limits;

/// The bytes that tell kinds apart.
const HEAD_BYTES: usize = 8;
const PACKED_BUFFER_BYTES: usize = 256 << 10;
/// Log of the largest window that a zstd frame may ask memory for: 128 MiB, as zstd itself takes without being told.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// Bytes being read, and how far.
pub(crate) struct Unpacked {
    reader: Box<dyn Read + Send>,
    /// How it is packed.
    packing: Packing,
    /// Packed bytes that were needed so far.
    packed: Arc<AtomicU64>,
    unpacked: u64,
    limits: Limits,
}

impl Unpacked {
    /// Looks at how the bytes of `reader` begin. What is no text is refused by its name.
    pub(crate) fn open(
        reader: impl Read + Send + 'static,
        said: Packing,
        limits: Limits,
    ) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(PACKED_BUFFER_BYTES, reader);
        let head = head(&mut reader)?;
        let packing = packing(&head);
        if said != Packing::None && said != packing {
            return Err(Unreadable::NotPacked(name(said)).into());
        }
        let packed = Arc::new(AtomicU64::new(0));
        let reader = Counted { inner: Cursor::new(head).chain(reader), bytes: packed.clone() };
        let reader: Box<dyn Read + Send> = match packing {
            Packing::None => Box::new(reader),
            Packing::Gzip => Box::new(MultiGzDecoder::new(reader)),
            Packing::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
                Box::new(decoder)
            }
        };
        let mut unpacked = Self { reader, packing, packed, unpacked: 0, limits };
        let head = self::head(&mut unpacked)?;
        refuse_foreign(&head)?;
        unpacked.unpacked = 0;
        unpacked.reader = Box::new(Cursor::new(head).chain(unpacked.reader));
        Ok(unpacked)
    }

    /// Packed bytes that were needed so far, to be looked at from anywhere.
    pub(crate) fn packed_bytes(&self) -> Arc<AtomicU64> {
        self.packed.clone()
    }

    fn check(&self) -> Result<(), Unreadable> {
        let Limits { unpacked_bytes_max, ratio_max, ratio_free_bytes, .. } = self.limits;
        if self.unpacked > unpacked_bytes_max {
            return Err(Unreadable::TooManyBytes(unpacked_bytes_max));
        }
        let packed = self.packed.load(Ordering::Relaxed);
        if self.packing != Packing::None
            && self.unpacked > ratio_free_bytes
            && self.unpacked > packed.saturating_mul(ratio_max)
        {
            return Err(Unreadable::Bomb { unpacked: self.unpacked, packed, ratio_max });
        }
        Ok(())
    }

    /// What an error of the decoder means. One of the file stays what it is.
    fn damaged(&self, error: io::Error) -> io::Error {
        if self.packing == Packing::None || error.raw_os_error().is_some() {
            return error;
        }
        let (packing, byte) = (name(self.packing), self.packed.load(Ordering::Relaxed));
        match error.kind() {
            io::ErrorKind::Interrupted => error,
            // The library has no word for it but this.
            _ if error.to_string().contains("Frame requires too much memory") => Unreadable::Window.into(),
            io::ErrorKind::UnexpectedEof => Unreadable::CutOff { packing, byte }.into(),
            _ => Unreadable::Damaged { packing, byte }.into(),
        }
    }
}

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer).map_err(|error| self.damaged(error))?;
        self.unpacked += read as u64;
        self.check()?;
        Ok(read)
    }
}

/// Counts the bytes that are used.
struct Counted<R> {
    inner: R,
    bytes: Arc<AtomicU64>,
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.inner.consume(bytes);
    }
}

/// The first bytes, however they arrive.
fn head(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    reader.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn packing(head: &[u8]) -> Packing {
    // A zstd file may begin with a frame that is to be skipped: RFC 8878, section 3.1.2.
    let is_skippable = head.len() >= 4 && head[0] & 0xf0 == 0x50 && head[1..4] == *b"\x2a\x4d\x18";
    if head.starts_with(b"\x1f\x8b") {
        Packing::Gzip
    } else if head.starts_with(b"\x28\xb5\x2f\xfd") || is_skippable {
        Packing::Zstd
    } else {
        Packing::None
    }
}

pub(crate) const fn name(packing: Packing) -> &'static str {
    match packing {
        Packing::None => "nothing",
        Packing::Gzip => "gzip",
        Packing::Zstd => "zstd",
    }
}

/// What people upload by mistake, by how it begins.
fn refuse_foreign(head: &[u8]) -> Result<(), Unreadable> {
    const KINDS: [(&[u8], &str); 8] = [
        (b"\x1f\x8b", "packed twice, by gzip within"),
        (b"\x28\xb5\x2f\xfd", "packed twice, by zstd within"),
        (b"PK\x03\x04", "a zip archive or a spreadsheet"),
        (b"BZh91AY&", "packed by bzip2"),
        (b"\xd0\xcf\x11\xe0", "a spreadsheet or document of an old Office"),
        (b"%PDF-1", "a PDF document"),
        (b"\xfd7zXZ", "packed by xz"),
        (b"7z\xbc\xaf", "a 7z archive"),
    ];
    // Of bzip2 a digit says how large its blocks are.
    let mut start = head.to_vec();
    if start.starts_with(b"BZh") && start.get(3).is_some_and(u8::is_ascii_digit) {
        start[3] = b'9';
    }
    if let Some((_, name)) = KINDS.iter().find(|(kind, _)| start.starts_with(kind)) {
        return Err(Unreadable::Foreign(name));
    }
    // Letters of UTF-16 have a NUL before or behind them.
    let is_wide = |zero: usize, letter: usize| {
        head.len() >= 4 && [0, 2].iter().all(|&pair| head[pair + zero] == 0 && head[pair + letter] != 0)
    };
    let has_mark = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    if has_mark || is_wide(0, 1) || is_wide(1, 0) { Err(Unreadable::Utf16) } else { Ok(()) }
}

#[cfg(test)]
pub(crate) mod tests;
