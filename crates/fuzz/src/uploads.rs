//! Uploaded lists: any bytes, said to be of any format, plain or packed, in parts of any size.

use std::io::{self, Cursor, Read, Write as _};

use audience::{Asked, Limits, Verdict, validate_reader};
use model::audience::{BadRows, Defaults, PPM, Packing, UploadFormat, UploadRows};
use model::{Platform, Timestamp};

use crate::heap;
use crate::source::Source;

const FORMATS: [UploadFormat; 5] = [
    UploadFormat::Csv,
    UploadFormat::Ndjson,
    UploadFormat::Pinpoint,
    UploadFormat::Tokens,
    UploadFormat::Users,
];
/// What reading may take of the heap besides what zstd asks the system for: a buffer for lines, one for packed bytes, and what a
/// header of many columns takes.
const BYTES_MAX: usize = 4 << 20;
/// The headers that say anything of a list have a few bytes.
const CHOICES: usize = 3;

/// Three bytes of choices, then the file.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let asked = asked(&mut source);
    let (packing, part) = (source.choose(&[Packing::None, Packing::Gzip, Packing::Zstd]), source.byte());
    let text = source.bytes(usize::MAX);
    let bytes = pack(text, packing);
    let read = || validate_reader(Parts { bytes: Cursor::new(bytes.clone()), most: usize::MAX }, &asked);
    let verdict = heap::within(BYTES_MAX, read).expect("reading from memory never fails");
    // What is packed in the file itself has places that are not those of its bytes.
    let is_plain = packing != Packing::None || !is_packed(text);
    if is_plain {
        check(text, &verdict);
    }
    let parts = Parts { bytes: Cursor::new(bytes.clone()), most: usize::from(part).max(1) };
    let in_parts = validate_reader(parts, &asked).expect("reading from memory never fails");
    if is_plain || verdict.refused.is_none() {
        assert_eq!(in_parts, verdict, "read in parts of {part}");
    } else {
        // How many rows come out before damage shows depends on how much is unpacked at once.
        assert!(in_parts.refused.is_some(), "read in parts of {part}");
    }
    let otherwise = match packing {
        Packing::None if is_packed(text) => return,
        Packing::None => pack(text, Packing::Gzip),
        _ => text.to_vec(),
    };
    let whole = Parts { bytes: Cursor::new(otherwise), most: usize::MAX };
    let otherwise = validate_reader(whole, &asked).expect("reading from memory never fails");
    if is_plain && !is_packed(text) && verdict.refused.is_none() {
        assert_eq!(otherwise.read, verdict.read, "packed otherwise");
    }
}

fn asked(source: &mut Source<'_>) -> Asked {
    let format = source.choose(&FORMATS);
    let choices = source.byte();
    let has_defaults = choices & 1 != 0;
    let said = |text: &str| has_defaults.then(|| text.to_owned());
    let defaults = Defaults {
        platform: has_defaults.then_some(if choices & 2 != 0 { Platform::Fcm } else { Platform::Apns }),
        apns_app: said("a.b"),
        fcm_app: said("p"),
        locale: said("en"),
        market: said("us"),
    };
    let limits = Limits {
        line_bytes_max: [16, 200, 1_024, 65_536][usize::from(choices >> 2 & 3)],
        columns_max: [10, 1_000][usize::from(choices >> 4 & 1)],
        rows_max: [5, 1_000_000][usize::from(choices >> 5 & 1)],
        unpacked_bytes_max: 1 << 20,
        ratio_free_bytes: 4_096,
        ..Limits::default()
    };
    let rows = match choices >> 6 {
        1 => Some(UploadRows::Users),
        2 => Some(UploadRows::Devices),
        _ => None,
    };
    let bad_rows = BadRows::AcceptValid { share_ppm_max: PPM };
    Asked { format, packing: Packing::None, rows, bad_rows, defaults, limits, uploaded_at: Timestamp(1) }
}

/// Every row is counted once, and every bad one stands where it is said to.
fn check(text: &[u8], verdict: &Verdict) {
    let read = &verdict.read;
    let left_out: u64 = read.left_out.values().sum();
    let devices: u64 = verdict.by_platform.values().sum();
    assert_eq!(read.bad_by_reason.values().sum::<u64>(), read.bad_rows);
    // Behind a ceiling the row that was one too many is counted, and is neither good nor bad.
    let good = (read.rows + 1).checked_sub(read.bad_rows + left_out).expect("no row counts twice");
    assert!(devices <= good, "{devices} of {good}");
    assert!(read.unpacked_bytes <= text.len() as u64, "{} of {}", read.unpacked_bytes, text.len());
    let mut line = 0;
    for bad in &read.first_bad_rows {
        let at = bad.byte as usize;
        assert!(at < text.len(), "byte {at} of {}", text.len());
        assert!(at == 0 || matches!(text[at - 1], b'\n' | b'\r'), "byte {at} begins no line");
        assert!(bad.line > line && bad.line <= bad.byte + 1, "line {} at byte {at}", bad.line);
        line = bad.line;
    }
}

/// Whether the first bytes say that something is packed, as the reader sees it.
fn is_packed(text: &[u8]) -> bool {
    let is_skippable = text.len() >= 4 && text[0] & 0xf0 == 0x50 && text[1..4] == *b"\x2a\x4d\x18";
    text.starts_with(b"\x1f\x8b") || text.starts_with(b"\x28\xb5\x2f\xfd") || is_skippable
}

fn pack(text: &[u8], packing: Packing) -> Vec<u8> {
    match packing {
        Packing::None => text.to_vec(),
        Packing::Gzip => {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            writer.write_all(text).and_then(|()| writer.finish()).expect("memory takes every byte")
        }
        Packing::Zstd => zstd::encode_all(text, 1).expect("memory takes every byte"),
    }
}

/// Gives at most so many bytes at a time.
struct Parts {
    bytes: Cursor<Vec<u8>>,
    most: usize,
}

impl Read for Parts {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let most = into.len().min(self.most);
        self.bytes.read(&mut into[..most])
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let of = |format: UploadFormat| FORMATS.iter().position(|one| *one == format).expect("it is one") as u8;
    let texts: [(UploadFormat, &[u8]); 15] = [
        (UploadFormat::Csv, b"user\nann\n\"b,ob\"\n\"c\"\"d\"\n"),
        (UploadFormat::Csv, b"\xef\xbb\xbfuser\r\nann\r\n\"b\r\nob\"\r\n\r\n"),
        (UploadFormat::Csv, b"user\rann\rbob\r"),
        (UploadFormat::Csv, b"user,platform,key,app,locale,market,registered_at,environment\n\
            u,apns,00aa,a.b,en-US,us,2026-02-01T12:00:00Z,sandbox\nu,fcm,a:b-_,p,en,us,,\nu,fcm,a b,p,en,us,never,x\n"),
        (UploadFormat::Csv, b"key\n00aa\n"),
        (UploadFormat::Csv, b"user\n\"open\n\"odd\" end\nu\0x\n\xff\xfe\n"),
        (UploadFormat::Csv, b"c0,c1,c2,c3,c4,c5,c6,c7,c8,c9,c10,c11\n"),
        (UploadFormat::Ndjson, b"{\"user\":\"ann\"}\n{\"user\":\"\\u00fc\\n\"}\n{\"usr\":1}\n[]\n{\"user\":\"a\",\"user\":\"b\"}\n"),
        (UploadFormat::Ndjson, b"{\"user\":\"u\",\"platform\":\"fcm\",\"key\":\"a:b\",\"app\":\"p\",\"locale\":null,\"market\":\"us\"}\n"),
        (UploadFormat::Pinpoint, b"{\"ChannelType\":\"GCM\",\"Address\":\"a:b\",\"Id\":\"i\",\"User\":{\"UserId\":\"u\"},\"OptOut\":\"NONE\",\
            \"Demographic\":{\"Locale\":\"pt_BR\"},\"Location\":{\"Country\":\"BR\"},\"EffectiveDate\":\"2026-02-01T12:00:00.000Z\"}\n"),
        (UploadFormat::Pinpoint, b"ChannelType,Address,Id,User.UserId,Attributes.a\nAPNS,00aa,i,u,x\nEMAIL,a@b,i,u,\nAPNS_SANDBOX,00bb,j,,y\n"),
        (UploadFormat::Tokens, b"00aa\n00bb\nzz\n\n0\n"),
        (UploadFormat::Users, b"ann\n{bob}\n\"c\"\n\x01\n"),
        (UploadFormat::Csv, b"\xff\xfeu\0s\0e\0r\0\n\0"),
        (UploadFormat::Csv, b"PK\x03\x04zip"),
    ];
    let mut seeds = Vec::new();
    for (number, (format, text)) in texts.iter().enumerate() {
        for choices in [0b0010_1100, 0b0010_1101, 0b0000_0001] {
            let head = [of(*format), choices, number as u8 % 3, 7];
            seeds.push([&head[..], text].concat());
        }
        // Packed by whoever sent it: the packing itself is damaged then.
        for packing in [Packing::Gzip, Packing::Zstd] {
            let head = [of(*format), 0b0010_1101, 0, 3];
            seeds.push([&head[..], &pack(text, packing)].concat());
        }
    }
    debug_assert!(seeds.iter().all(|seed| seed.len() > CHOICES));
    seeds
}
