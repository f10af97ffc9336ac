//! Uploads as people send them, good and bad.

use std::io::Cursor;

use model::Platform;
use proptest::prelude::*;

use super::*;
use crate::lines::tests::Parted;
use crate::unpack::tests::{gzip, zstd};

proptest! {
    #[test]
    fn whatever_is_uploaded_is_read_or_refused_and_every_row_is_counted(
        format in prop_oneof![
            Just(UploadFormat::Csv), Just(UploadFormat::Ndjson), Just(UploadFormat::Pinpoint), Just(UploadFormat::Tokens)
        ],
        head in prop_oneof![
            Just("user\n"), Just("user,platform,key,app,locale,market\n"), Just("{\"user\":\"u\"}\n"),
            Just("ChannelType,Address\r"), Just("{\"ChannelType\":\"GCM\",\"Address\":\"a\",\"Id\":\"i\"}\n"), Just("")
        ],
        tail in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..200),
            "[u,\"{}:a\r\n]{0,120}".prop_map(String::into_bytes),
        ],
        parts in proptest::collection::vec(1..50_usize, 1..4),
    ) {
        let text = [head.as_bytes(), &tail].concat();
        let whole = read_all(Cursor::new(text.clone()), format);
        if let Ok((good, report)) = &whole {
            let left_out: u64 = report.left_out.values().sum();
            prop_assert_eq!(report.rows, good.len() as u64 + report.bad_rows + left_out);
            prop_assert_eq!(report.bad_by_reason.values().sum::<u64>(), report.bad_rows);
            prop_assert_eq!(report.unpacked_bytes, text.len() as u64);
            prop_assert!(report.first_bad_rows.iter().all(|bad| bad.byte < text.len() as u64));
        }
        let parted = Parted { inner: Cursor::new(text.clone()), parts, next: 0 };
        prop_assert_eq!(&read_all(parted, format), &whole, "parted");
        if whole.is_ok() {
            prop_assert_eq!(&read_all(Cursor::new(gzip(&text)), format), &whole, "packed");
        }
    }

    #[test]
    fn the_same_devices_are_read_from_every_format(
        devices in proptest::collection::vec(("[a-zA-Z0-9@\\., \"é]{1,12}", any::<bool>(), "[0-9a-f]{2,20}"), 1..12),
    ) {
        let devices: Vec<Device> = devices.into_iter().map(|(user, is_apns, key)| Device {
            user,
            platform: if is_apns { Platform::Apns } else { Platform::Fcm },
            key: if is_apns { key.repeat(2) } else { key },
            app: if is_apns { "a.b".into() } else { "p".into() },
            locale: "pt-BR".into(),
            market: "br".into(),
            registered_at: Timestamp::from_secs(5),
        }).collect();
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(["user", "platform", "key", "registered_at"]).unwrap();
        let (mut ndjson, mut pinpoint) = (String::new(), String::new());
        for device in &devices {
            let Device { user, platform, key, registered_at, .. } = device;
            csv.write_record([user, platform.name(), key, &registered_at.to_string()]).unwrap();
            ndjson += &serde_json::to_string(device).unwrap();
            ndjson += "\n";
            let channel = if *platform == Platform::Apns { "APNS" } else { "GCM" };
            let endpoint = serde_json::json!({
                "ChannelType": channel, "Address": key, "Id": "e", "User": { "UserId": user },
                "EffectiveDate": registered_at, "Demographic": { "Locale": "pt_BR" }, "Location": { "Country": "BR" },
            });
            pinpoint += &format!("{endpoint}\n");
        }
        let files = [
            (UploadFormat::Csv, csv.into_inner().unwrap()),
            (UploadFormat::Ndjson, ndjson.into_bytes()),
            (UploadFormat::Pinpoint, pinpoint.into_bytes()),
        ];
        for (format, file) in files {
            for file in [zstd(&file), file] {
                let (found, report) = read_all(Cursor::new(file), format).unwrap();
                prop_assert_eq!(report.bad_rows, 0);
                let wanted: Vec<String> = devices.iter().map(|device| format!("{device:?}")).collect();
                prop_assert_eq!(&found, &wanted, "{:?}", format);
            }
        }
    }
}

const TOKEN: &str = "00aa";

fn defaults() -> Defaults {
    Defaults {
        platform: None,
        apns_app: Some("a.b".into()),
        fcm_app: Some("p".into()),
        locale: Some("pt-BR".into()),
        market: Some("br".into()),
    }
}

fn reading(format: UploadFormat) -> Reading {
    Reading {
        format,
        packing: Packing::None,
        rows: None,
        defaults: Defaults::default(),
        limits: Limits { line_bytes_max: 400, ..Limits::default() },
        uploaded_at: Timestamp::from_secs(9),
    }
}

fn open(text: &[u8], reading: &Reading) -> io::Result<Rows> {
    Rows::open(Cursor::new(text.to_vec()), reading)
}

/// What is good, as text, and the report; or why the file was refused. With defaults for everything.
fn read_all(
    reader: impl Read + Send + 'static,
    format: UploadFormat,
) -> Result<(Vec<String>, ReadReport), Unreadable> {
    let platform = (format == UploadFormat::Tokens).then_some(Platform::Fcm);
    let reading = Reading { defaults: Defaults { platform, ..defaults() }, ..reading(format) };
    let fault = |error: io::Error| error.downcast::<Unreadable>().unwrap();
    let mut rows = Rows::open(reader, &reading).map_err(fault)?;
    let mut good = Vec::new();
    match rows.kind() {
        UploadRows::Users => {
            while let Some(user) = rows.next_user().map_err(fault)? {
                good.push(user.to_owned());
            }
        }
        UploadRows::Devices => {
            while let Some(device) = rows.next_device().map_err(fault)? {
                good.push(format!("{device:?}"));
                rows.reuse(device);
            }
        }
    }
    Ok((good, rows.report()))
}

fn users(format: UploadFormat, text: &[u8]) -> (Vec<String>, ReadReport) {
    let mut rows = open(text, &reading(format)).unwrap();
    assert_eq!(rows.kind(), UploadRows::Users);
    let mut users = Vec::new();
    while let Some(user) = rows.next_user().unwrap() {
        users.push(user.to_owned());
    }
    (users, rows.report())
}

fn devices(format: UploadFormat, text: &[u8]) -> (Vec<Device>, ReadReport) {
    devices_of(&reading(format), text)
}

fn devices_of(reading: &Reading, text: &[u8]) -> (Vec<Device>, ReadReport) {
    let mut rows = open(text, reading).unwrap();
    assert_eq!(rows.kind(), UploadRows::Devices);
    let mut devices = Vec::new();
    while let Some(device) = rows.next_device().unwrap() {
        rows.reuse(device.clone());
        devices.push(device);
    }
    (devices, rows.report())
}

fn refused(format: UploadFormat, text: &[u8]) -> String {
    open(text, &reading(format)).err().expect("the file is refused").to_string()
}

fn bad(report: &ReadReport) -> Vec<(u64, u64, &str, &str)> {
    let first = report.first_bad_rows.iter();
    first.map(|bad| (bad.line, bad.byte, bad.reason.as_str(), bad.cause.as_str())).collect()
}

#[test]
fn users_are_read_from_both_formats() {
    let (found, count) = users(UploadFormat::Csv, b"\xef\xbb\xbfuser\r\nu1\r\n\r\n\"a,\"\"b\"\"\"\r\nu3");
    assert_eq!(found, ["u1", "a,\"b\"", "u3"]);
    assert_eq!((count.rows, count.bad_rows, count.unpacked_bytes), (3, 0, 28));
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
    assert_eq!((count.rows, count.bad_rows), (2, 0));
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
    assert_eq!((count.rows, count.bad_rows), (6, 4));
    let wanted = [
        (3, 8, "field_count", "the row has 2 fields, the header 1"),
        (4, 13, "not_utf8", "the line is not UTF-8 from its byte 1 on: save the file as UTF-8"),
        (5, 16, "open_quote", "a quoted field is not closed"),
        (6, 22, "user", "user is empty, longer than 256 bytes or has control characters"),
    ];
    assert_eq!(bad(&count), wanted);
    assert_eq!(count.bad_by_reason, wanted.map(|(_, _, reason, _)| (reason.into(), 1)).into());
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
    for (bad, wanted) in count.first_bad_rows.iter().zip(wanted) {
        assert!(bad.cause.starts_with(wanted), "{} {wanted}", bad.cause);
    }
    assert_eq!(count.bad_rows, 5);
}

#[test]
fn a_very_long_line_is_one_bad_row() {
    let text = format!("user\n{}\nu2\n", "x".repeat(100_000));
    let (found, count) = users(UploadFormat::Csv, text.as_bytes());
    assert_eq!(found, ["u2"]);
    assert_eq!(bad(&count), [(2, 5, "line_too_long", "the line is longer than 400 bytes")]);
}

#[test]
fn only_the_first_bad_rows_are_kept_and_all_are_counted() {
    let (_, count) = users(UploadFormat::Csv, format!("user\n{}", "a,b\n".repeat(1_000)).as_bytes());
    assert_eq!((count.bad_rows, count.first_bad_rows.len()), (1_000, BAD_ROWS_MAX));
}

#[test]
fn a_device_among_users_is_a_bad_row() {
    let (found, count) =
        users(UploadFormat::Ndjson, b"{\"user\":\"u\"}\n{\"user\":\"v\",\"key\":\"k\"}\n{}\n");
    assert_eq!(found, ["u"]);
    assert_eq!(
        bad(&count).iter().map(|bad| bad.2).collect::<Vec<_>>(),
        ["device_among_users", "user_missing"]
    );
}

#[test]
fn files_that_are_something_else_are_refused_by_name() {
    assert_eq!(refused(UploadFormat::Csv, b""), "the file is empty");
    assert_eq!(refused(UploadFormat::Ndjson, b"\n\r\n\n"), "the file is empty");
    assert!(refused(UploadFormat::Csv, b"\x1f\x8b\x08\0").contains("gzip packed, at its byte 4"));
    assert!(refused(UploadFormat::Csv, b"PK\x03\x04..").contains("spreadsheet"));
    assert!(refused(UploadFormat::Csv, b"\xff\xfeu\0").contains("UTF-16"));
    assert!(refused(UploadFormat::Csv, b"u\xffser\n").contains("line 1, the header: the line is not UTF-8"));
    assert!(refused(UploadFormat::Csv, b"name\nx\n").contains("column 1 is none of"));
}

#[test]
fn rows_of_another_kind_than_announced_are_refused() {
    let reading = Reading { rows: Some(UploadRows::Devices), ..reading(UploadFormat::Csv) };
    let error = open(b"user\nu", &reading).err().unwrap().to_string();
    assert_eq!(error, "the rows are users, and must be devices");
}

#[test]
fn a_quoted_line_end_makes_one_bad_row_of_its_lines() {
    let (found, report) = users(UploadFormat::Csv, b"user\r\nu1\r\n\"u\r\n2\"\r\nu3\r\n");
    assert_eq!((found, report.rows), (vec!["u1".to_owned(), "u3".to_owned()], 3));
    assert_eq!(bad(&report).iter().map(|bad| (bad.0, bad.2)).collect::<Vec<_>>(), [(3, "user")]);
}

#[test]
fn quotes_that_pair_up_by_chance_cost_no_row_between_them() {
    let text = "user,platform,key,app,locale,market\n\"u1,fcm,k1,p,en,us\nu2,fcm,k2,p,en,us\nu3,fcm,k3,\"p,en,us\n\"u4\",fcm,k4,p,en,us\n";
    let (found, report) = devices(UploadFormat::Csv, text.as_bytes());
    assert_eq!(found.iter().map(|device| device.user.as_str()).collect::<Vec<_>>(), ["u2", "u4"]);
    assert_eq!(
        bad(&report).iter().map(|bad| (bad.0, bad.2)).collect::<Vec<_>>(),
        [(2, "open_quote"), (4, "open_quote")]
    );
}

#[test]
fn a_file_of_the_old_mac_is_read() {
    assert_eq!(users(UploadFormat::Csv, b"user\ru1\ru2\r").0, ["u1", "u2"]);
    assert_eq!(users(UploadFormat::Ndjson, b"{\"user\":\"u1\"}\r{\"user\":\"u2\"}").0, ["u1", "u2"]);
}

#[test]
fn nul_bytes_are_bad_rows() {
    let (found, report) = users(UploadFormat::Csv, b"user\nu1\n\0\0\0\nu\0\nu2\n");
    assert_eq!((found.len(), report.bad_by_reason), (2, [("user".to_owned(), 2)].into()));
}

#[test]
fn an_id_of_ten_kilobytes_is_a_bad_row() {
    let limits = Limits::default();
    let text = format!("user\nu1\n{}\n", "u".repeat(10 << 10));
    let mut rows = open(text.as_bytes(), &Reading { limits, ..reading(UploadFormat::Csv) }).unwrap();
    while rows.next_user().unwrap().is_some() {}
    assert_eq!((rows.report().rows, rows.report().bad_by_reason), (2, [("user".to_owned(), 1)].into()));
}

#[test]
fn tokens_of_odd_length_or_with_foreign_characters_are_bad_rows() {
    let head = "user,platform,key,app,locale,market\n";
    let rows = [
        "u,apns,abc,a,en,us",
        "u,apns,ab\u{e9}f,a,en,us",
        "u,apns,<00aa>,a,en,us",
        "u,fcm,a b,p,en,us",
        "u,fcm,\u{ff1a},p,en,us",
    ];
    let (found, report) = devices(UploadFormat::Csv, format!("{head}{}\n", rows.join("\n")).as_bytes());
    assert!(found.is_empty());
    assert_eq!(report.bad_by_reason, [("apns_key".to_owned(), 3), ("fcm_key".to_owned(), 2)].into());
}

#[test]
fn a_row_of_ten_thousand_fields_is_a_bad_row() {
    let limits = Limits::default();
    let text = format!("user\n{}\nu1\n", ",".repeat(9_999));
    let mut rows = open(text.as_bytes(), &Reading { limits, ..reading(UploadFormat::Csv) }).unwrap();
    assert_eq!(rows.next_user().unwrap(), Some("u1"));
    assert_eq!(bad(&rows.report())[0].3, "the row has 10000 fields, the header 1");
}

#[test]
fn a_file_that_is_not_what_its_type_says_is_refused_by_what_it_is() {
    assert_eq!(
        refused(UploadFormat::Csv, b"{\"user\":\"u\"}\n"),
        "the file is JSON, announced was csv: say another format, or upload another file"
    );
    assert_eq!(
        refused(UploadFormat::Ndjson, b"user\nu1\n"),
        "the file is CSV, announced was ndjson: say another format, or upload another file"
    );
    assert!(refused(UploadFormat::Ndjson, b"[\n{\"user\":\"u\"}]").contains("a JSON array"));
    assert_eq!(
        refused(UploadFormat::Csv, b"PAR1\x15\x04"),
        "the file is Parquet, announced was csv: say another format, or upload another file"
    );
}

#[test]
fn a_plain_list_of_tokens_takes_everything_else_from_the_defaults() {
    let defaults = Defaults { platform: Some(Platform::Apns), ..defaults() };
    let reading = Reading { defaults, ..reading(UploadFormat::Tokens) };
    let (found, report) = devices_of(&reading, b"00AA\n00bb\nnope\n00aa\n");
    assert_eq!((found.len(), report.bad_by_reason), (3, [("apns_key".to_owned(), 1)].into()));
    assert_eq!(
        (found[0].key.as_str(), found[0].app.as_str(), found[0].market.as_str()),
        ("00aa", "a.b", "br")
    );
    assert!(found[0].user.starts_with("key-") && found[0].user.len() == 36, "{}", found[0].user);
    assert!(found[0].user == found[2].user && found[0].user != found[1].user);
    assert!(!found[0].user.contains("00aa"));
}

#[test]
fn a_missing_default_is_one_error_before_anything_is_read() {
    let bare = refused(UploadFormat::Tokens, b"00aa\n");
    assert!(
        bare.ends_with("say platform (and apns_app or fcm_app), locale, market for all of them"),
        "{bare}"
    );
    assert!(refused(UploadFormat::Pinpoint, b"{}\n").contains("say apns_app, fcm_app or both"));
}

#[test]
fn endpoints_of_an_app_that_nobody_named_are_bad_rows_and_others_left_out() {
    let defaults = Defaults { fcm_app: None, ..defaults() };
    let reading = Reading { defaults, ..reading(UploadFormat::Pinpoint) };
    let text = b"{\"Id\":\"e\",\"ChannelType\":\"APNS\",\"Address\":\"00aa\"}\n{\"Id\":\"f\",\"ChannelType\":\"GCM\",\"Address\":\"a\"}\n{\"ChannelType\":\"SMS\"}\n";
    let (found, report) = devices_of(&reading, text);
    assert_eq!((found.len(), found[0].user.as_str(), report.rows), (1, "e", 3));
    assert_eq!(report.bad_by_reason, [("app_missing".to_owned(), 1)].into());
    assert_eq!(report.left_out, [("channel_sms".to_owned(), 1)].into());
}

#[test]
fn more_rows_than_may_be_are_refused() {
    let limits = Limits { rows_max: 2, ..Limits::default() };
    let mut rows = open(b"user\na\nb\nc\n", &Reading { limits, ..reading(UploadFormat::Csv) }).unwrap();
    assert!(rows.next_user().unwrap().is_some() && rows.next_user().unwrap().is_some());
    assert_eq!(rows.next_user().unwrap_err().to_string(), "the file has more than 2 rows (uploads.rows_max)");
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_is_refused_by_a_program_that_was_built_without_it() {
    let error =
        Rows::open_file(tempfile::tempfile().unwrap(), &reading(UploadFormat::Parquet)).err().unwrap();
    assert!(error.to_string().contains("was built without reading Parquet"), "{error}");
}

#[test]
fn an_environment_marks_the_app_of_an_apns_device_and_is_checked() {
    let head = "user,platform,key,app,locale,market,environment\n";
    let row = |platform: &str, app: &str, environment: &str| {
        let text = format!("{head}u,{platform},00aa,{app},en,us,{environment}\n");
        let (devices, report) = devices(UploadFormat::Csv, text.as_bytes());
        let reasons: Vec<String> = report.bad_by_reason.keys().cloned().collect();
        (devices.into_iter().next().map(|device| device.app), reasons)
    };
    let good = |app: &str| (Some(app.to_owned()), Vec::new());
    assert_eq!(row("apns", "a", "sandbox"), good("a@sandbox"));
    assert_eq!(row("apns", "a@sandbox", "sandbox"), good("a@sandbox"));
    assert_eq!(row("apns", "a@sandbox", ""), good("a@sandbox"));
    assert_eq!(row("apns", "a", "production"), good("a"));
    assert_eq!(row("fcm", "a", ""), good("a"));
    for (platform, app, environment) in
        [("apns", "a", "Sandbox"), ("apns", "a@sandbox", "production"), ("fcm", "a", "sandbox")]
    {
        assert_eq!(row(platform, app, environment), (None, vec!["environment".into()]), "{environment}");
    }
    let line = r#"{"user":"u","platform":"apns","key":"00aa","app":"a","locale":"en","market":"us","environment":"sandbox"}"#;
    assert_eq!(devices(UploadFormat::Ndjson, line.as_bytes()).0[0].app, "a@sandbox");
    let tokens = Reading {
        defaults: Defaults {
            platform: Some(Platform::Apns),
            apns_app: Some("a@sandbox".into()),
            locale: Some("en".into()),
            market: Some("us".into()),
            ..Defaults::default()
        },
        ..reading(UploadFormat::Tokens)
    };
    assert_eq!(devices_of(&tokens, b"00aa\n").0[0].app, "a@sandbox");
}
