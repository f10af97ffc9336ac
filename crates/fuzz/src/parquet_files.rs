//! Parquet files after any damage. The library that reads them panics where a file contradicts itself, which the reader turns into
//! an error: only what gets out of there is found here.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Once};

use audience::{Asked, Limits, validate};
use model::Timestamp;
use model::audience::{BadRows, Defaults, PPM, Packing, UploadFormat};
use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::heap;
use crate::source::Source;

/// What reading may take of the heap: a page of each column, unpacked, and the footer.
const BYTES_MAX: usize = 256 << 20;

thread_local! {
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// A byte of choices, then the file.
pub(crate) fn run(data: &[u8]) {
    quiet();
    let mut source = Source::new(data);
    let choices = source.byte();
    let text = |is_said: bool| is_said.then(|| "us".to_owned());
    let asked = Asked {
        format: UploadFormat::Parquet,
        packing: Packing::None,
        rows: None,
        bad_rows: BadRows::AcceptValid { share_ppm_max: PPM },
        defaults: Defaults {
            market: text(choices & 1 != 0),
            locale: text(choices & 2 != 0),
            ..Defaults::default()
        },
        limits: Limits { unpacked_bytes_max: 1 << 20, rows_max: 10_000, ..Limits::default() },
        uploaded_at: Timestamp(1),
    };
    let path = file(source.bytes(usize::MAX));
    let verdict = heap::within(BYTES_MAX, || validate(&path, &asked, None, |_| {}));
    let verdict = verdict.expect("the file itself can be read");
    let read = &verdict.read;
    assert_eq!(read.bad_by_reason.values().sum::<u64>(), read.bad_rows);
    assert!(read.first_bad_rows.iter().all(|bad| bad.byte == 0 && (1..=read.rows).contains(&bad.line)));
}

/// Panics within the library are no news. Whatever gets out ends the process all the same.
fn quiet() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let of_ours = panic.location().is_some_and(|place| place.file().starts_with("crates/"));
            if of_ours {
                before(panic);
            }
        }));
    });
}

fn file(bytes: &[u8]) -> PathBuf {
    FOLDER.with_borrow_mut(|folder| {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let made = || tempfile::tempdir_in(place).expect("a folder can be made");
        let path = folder.get_or_insert_with(made).path().join("file.parquet");
        std::fs::write(&path, bytes).expect("a file can be written");
        path
    })
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let users = "message m { required binary user (UTF8); }";
    let devices = "message m { required binary user (UTF8); required binary platform (UTF8); required binary key (UTF8);
        required binary app (UTF8); optional int64 registered_at (TIMESTAMP(MILLIS,true)); }";
    let mut seeds = Vec::new();
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(Default::default())]
    {
        for schema in [users, devices] {
            seeds.push([&[3], &written(schema, compression)[..]].concat());
        }
    }
    seeds
}

/// A file of three rows.
fn written(schema: &str, compression: Compression) -> Vec<u8> {
    const FAULT: &str = "a good file can be written";
    let schema = Arc::new(parse_message_type(schema).expect(FAULT));
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let columns = schema.get_fields().len();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).expect(FAULT);
    let mut out = writer.next_row_group().expect(FAULT);
    for column in 0..columns {
        let mut chunk = out.next_column().expect(FAULT).expect(FAULT);
        if column == 4 {
            chunk.typed::<Int64Type>().write_batch(&[5_000, 6_000], Some(&[1, 0, 1]), None).expect(FAULT);
        } else {
            let text = |number: usize| ["u", "fcm", "a:b", "p"][column].to_owned() + &"x".repeat(number % 2);
            let texts: Vec<ByteArray> = (0..3).map(|number| text(number).into_bytes().into()).collect();
            chunk.typed::<ByteArrayType>().write_batch(&texts, None, None).expect(FAULT);
        }
        chunk.close().expect(FAULT);
    }
    out.close().expect(FAULT);
    writer.into_inner().expect(FAULT)
}
