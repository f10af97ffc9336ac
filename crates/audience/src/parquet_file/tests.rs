//! Parquet files, whole and broken.

use std::io::Write as _;

use model::Platform;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use proptest::prelude::*;

use super::*;

const DEVICES: &str =
    "message m { required binary user (UTF8); required binary platform (UTF8); required binary key (UTF8);
    required binary app (UTF8); optional binary locale (UTF8); required binary market (UTF8);
    optional int64 registered_at (TIMESTAMP(MILLIS,true)); }";

/// A file of `rows` devices in groups of `group`; every third says no locale and no time.
pub(crate) fn file(rows: usize, group: usize, compression: Compression) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(DEVICES).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_compression(compression).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
    let numbers: Vec<usize> = (0..rows).collect();
    for numbers in numbers.chunks(group) {
        let mut out = writer.next_row_group().unwrap();
        let levels: Vec<i16> = numbers.iter().map(|number| i16::from(number % 3 != 0)).collect();
        for column in 0..7 {
            let mut chunk = out.next_column().unwrap().unwrap();
            if column == 6 {
                let there = numbers.iter().filter(|number| *number % 3 != 0);
                let times: Vec<i64> = there.map(|number| 5_000 + *number as i64).collect();
                chunk.typed::<Int64Type>().write_batch(&times, Some(&levels), None).unwrap();
            } else {
                let text = |number: &usize| match column {
                    0 => format!("u{number}"),
                    1 => "fcm".into(),
                    2 => format!("key:{number}"),
                    3 => "p".into(),
                    4 => "pt-BR".into(),
                    _ => "br".into(),
                };
                let is_there = |number: &&usize| column != 4 || !number.is_multiple_of(3);
                let texts: Vec<ByteArray> =
                    numbers.iter().filter(is_there).map(|number| text(number).into_bytes().into()).collect();
                let levels = (column == 4).then_some(&levels[..]);
                chunk.typed::<ByteArrayType>().write_batch(&texts, levels, None).unwrap();
            }
            chunk.close().unwrap();
        }
        out.close().unwrap();
    }
    writer.into_inner().unwrap()
}

fn open(bytes: &[u8], limits: Limits) -> io::Result<ParquetFile> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    let defaults = Defaults { locale: Some("en".into()), ..Defaults::default() };
    ParquetFile::open(file, &defaults, limits)
}

fn fault(bytes: &[u8], limits: Limits) -> String {
    let read = open(bytes, limits).and_then(|mut rows| {
        while rows.advance()? {
            let _ = rows.read(&mut Texts::default());
        }
        Ok(())
    });
    read.unwrap_err().downcast::<Unreadable>().unwrap().to_string()
}

#[test]
fn rows_are_read_over_batches_and_row_groups() {
    for compression in [Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::ZSTD(Default::default())]
    {
        let mut rows = open(&file(10_000, 4_500, compression), Limits::default()).unwrap();
        assert_eq!(rows.kind(), UploadRows::Devices);
        for number in 0..10_000 {
            assert!(rows.advance().unwrap());
            let mut texts = Texts::default();
            rows.read(&mut texts).unwrap();
            let text = |column: Column| texts[column as usize].as_deref();
            assert_eq!(text(Column::User), Some(&*format!("u{number}")));
            assert_eq!(text(Column::Platform), Some(Platform::Fcm.name()));
            assert_eq!(text(Column::Locale), (number % 3 != 0).then_some("pt-BR"));
            let time = Timestamp::from_millis(5_000 + number).to_string();
            assert_eq!(text(Column::RegisteredAt), (number % 3 != 0).then_some(&*time));
        }
        assert!(!rows.advance().unwrap());
        assert_eq!(rows.number(), 10_000);
    }
}

#[test]
fn what_is_no_parquet_file_is_refused_by_name() {
    let whole = file(100, 100, Compression::SNAPPY);
    assert_eq!(fault(b"", Limits::default()), "the file is empty");
    assert_eq!(
        fault(b"user\nu1\nu2\nu3\n", Limits::default()),
        "the file is something else, announced was Parquet: say another format, or upload another file"
    );
    assert!(fault(&whole[..whole.len() - 1], Limits::default()).contains("it was cut off"));
    let few = Limits { columns_max: 6, ..Limits::default() };
    assert!(fault(&whole, few).contains("more than 6 columns"));
    let small = Limits { unpacked_bytes_max: 100, ..Limits::default() };
    assert!(fault(&whole, small).contains("more than 100 bytes when unpacked"));
}

proptest! {
    #[test]
    fn a_damaged_file_is_read_or_refused_and_never_a_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = file(50, 20, Compression::SNAPPY);
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(mut rows) = open(&bytes, Limits::default()) {
            while matches!(rows.advance(), Ok(true)) {
                let _ = rows.read(&mut Texts::default());
            }
        }
    }
}
