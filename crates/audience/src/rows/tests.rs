//! Uploads as people send them, good and bad.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn whatever_is_uploaded_is_read_or_refused_and_every_row_is_counted(
        is_csv in any::<bool>(),
        head in prop_oneof![Just("user\n"), Just("user,platform,key,app,locale,market\n"), Just("{\"user\":\"u\"}\n"), Just("")],
        tail in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[u,\"{}:a\r\n]{0,120}".prop_map(String::into_bytes),
        ],
    ) {
        let format = if is_csv { UploadFormat::Csv } else { UploadFormat::Ndjson };
        let text = [head.as_bytes(), &tail].concat();
        if let Ok(mut rows) = Rows::open(&text[..], &reading(format)) {
            let mut good = 0;
            match rows.kind() {
                UploadRows::Users => while rows.next_user().unwrap().is_some() { good += 1 },
                UploadRows::Devices => while rows.next_device().unwrap().is_some() { good += 1 },
            }
            let count = rows.count();
            prop_assert_eq!(count.rows, good + count.bad);
            prop_assert!(count.first_bad.iter().all(|bad| bad.byte < text.len() as u64));
        }
    }
}

const TOKEN: &str = "00aa";

fn reading(format: UploadFormat) -> Reading {
    Reading { format, rows: None, line_bytes_max: 120, uploaded_at: Timestamp::from_secs(9) }
}

fn users(format: UploadFormat, text: &[u8]) -> (Vec<String>, Count) {
    let mut rows = Rows::open(text, &reading(format)).unwrap();
    assert_eq!(rows.kind(), UploadRows::Users);
    let mut users = Vec::new();
    while let Some(user) = rows.next_user().unwrap() {
        users.push(user.to_owned());
    }
    (users, rows.count().clone())
}

fn devices(format: UploadFormat, text: &[u8]) -> (Vec<Device>, Count) {
    let mut rows = Rows::open(text, &reading(format)).unwrap();
    assert_eq!(rows.kind(), UploadRows::Devices);
    let mut devices = Vec::new();
    while let Some(device) = rows.next_device().unwrap() {
        rows.reuse(device.clone());
        devices.push(device);
    }
    (devices, rows.count().clone())
}

fn refused(format: UploadFormat, text: &[u8]) -> String {
    Rows::open(text, &reading(format)).err().expect("the file is refused").to_string()
}

fn bad(count: &Count) -> Vec<(u64, u64, &str)> {
    count.first_bad.iter().map(|bad| (bad.line, bad.byte, bad.cause.as_str())).collect()
}

#[test]
fn users_are_read_from_both_formats() {
    let (found, count) = users(UploadFormat::Csv, b"\xef\xbb\xbfuser\r\nu1\r\n\r\n\"a,\"\"b\"\"\"\r\nu3");
    assert_eq!(found, ["u1", "a,\"b\"", "u3"]);
    assert_eq!(count, Count { rows: 3, ..Count::default() });
    let (found, _) = users(UploadFormat::Ndjson, b"{\"user\":\"u1\"}\n\n{\"user\":\"u\\u00fc\"}\n");
    assert_eq!(found, ["u1", "u\u{fc}"]);
}

#[test]
fn devices_are_read_in_any_order_of_columns() {
    let text = format!(
        "app,key,user,platform,market,registered_at,locale\n\
         a.b,{TOKEN},u,apns,us,2026-02-08T00:00:00Z,en\na.b,fid,u,fcm,us,,pt-BR\n"
    );
    let (found, count) = devices(UploadFormat::Csv, text.as_bytes());
    assert_eq!((count.rows, count.bad), (2, 0));
    assert_eq!((found[0].platform, found[0].key.as_str()), (Platform::Apns, TOKEN));
    assert_eq!(found[0].registered_at, "2026-02-08T00:00:00Z".parse().unwrap());
    assert_eq!((found[1].registered_at, found[1].locale.as_str()), (Timestamp::from_secs(9), "pt-BR"));
    let line = r#"{"platform":"fcm","key":"fid","user":"u","app":"p","locale":"de","market":"de"}"#;
    let (found, _) = devices(UploadFormat::Ndjson, line.as_bytes());
    assert_eq!((found.len(), found[0].market.as_str()), (1, "de"));
}

#[test]
fn every_bad_row_is_counted_with_its_place_and_the_others_are_read() {
    let text = b"user\nu1\nu2,x\n\xff\xfe\n\"open\nu\x01\nu3\n";
    let (found, count) = users(UploadFormat::Csv, text);
    assert_eq!(found, ["u1", "u3"]);
    assert_eq!((count.rows, count.bad), (6, 4));
    let wanted = [
        (3, 8, "the row has 2 fields, the header 1"),
        (4, 13, "the line is not UTF-8 from its byte 1 on"),
        (5, 16, "a quoted field is not closed on its line"),
        (6, 22, "user is empty, longer than 256 bytes or has control characters"),
    ];
    assert_eq!(bad(&count), wanted);
}

#[test]
fn faults_of_devices_are_named_and_no_key_is_shown() {
    let head = "user,platform,key,app,locale,market,registered_at\n";
    let rows = [
        "u,web,k,a,en,us,",
        "u,apns,zz,a,en,us,",
        "u,fcm,a b,a,en,us,",
        "u,fcm,k,a,e n,us,",
        "u,fcm,k,a,en,us,now",
    ];
    let (found, count) = devices(UploadFormat::Csv, format!("{head}{}", rows.join("\n")).as_bytes());
    assert!(found.is_empty());
    let wanted = [
        "platform is neither",
        "key is not an APNs",
        "key is not an FCM",
        "locale is not",
        "registered_at is",
    ];
    for (bad, wanted) in count.first_bad.iter().zip(wanted) {
        assert!(bad.cause.starts_with(wanted), "{} {wanted}", bad.cause);
    }
    assert_eq!(count.bad, 5);
}

#[test]
fn a_very_long_line_is_one_bad_row() {
    let text = format!("user\n{}\nu2\n", "x".repeat(100_000));
    let (found, count) = users(UploadFormat::Csv, text.as_bytes());
    assert_eq!(found, ["u2"]);
    assert_eq!(bad(&count), [(2, 5, "the line is longer than 120 bytes")]);
}

#[test]
fn only_the_first_bad_rows_are_kept_and_all_are_counted() {
    let (_, count) = users(UploadFormat::Csv, format!("user\n{}", "a,b\n".repeat(1_000)).as_bytes());
    assert_eq!((count.bad, count.first_bad.len()), (1_000, BAD_ROWS_MAX));
}

#[test]
fn a_device_among_users_is_a_bad_row() {
    let (found, count) =
        users(UploadFormat::Ndjson, b"{\"user\":\"u\"}\n{\"user\":\"v\",\"key\":\"k\"}\n{}\n");
    assert_eq!(found, ["u"]);
    assert!(bad(&count)[0].2.contains("fields of a device") && bad(&count)[1].2 == "field user is missing");
}

#[test]
fn files_that_are_something_else_are_refused_by_name() {
    assert_eq!(refused(UploadFormat::Csv, b""), "the file is empty");
    assert_eq!(refused(UploadFormat::Ndjson, b"\n\r\n\n"), "the file is empty");
    assert!(refused(UploadFormat::Csv, b"\x1f\x8b\x08\0").contains("gzip"));
    assert!(refused(UploadFormat::Csv, b"PK\x03\x04..").contains("spreadsheet"));
    assert!(refused(UploadFormat::Csv, b"\xff\xfeu\0").contains("UTF-16"));
    assert!(refused(UploadFormat::Csv, b"u\xffser\n").contains("line 1, the header: the line is not UTF-8"));
    assert!(refused(UploadFormat::Csv, b"name\nx\n").contains("column 1 \"name\" is none of"));
}

#[test]
fn rows_of_another_kind_than_announced_are_refused() {
    let reading = Reading { rows: Some(UploadRows::Devices), ..reading(UploadFormat::Csv) };
    let error = Rows::open(&b"user\nu"[..], &reading).err().unwrap().to_string();
    assert_eq!(error, "the rows are users, announced were devices");
}
