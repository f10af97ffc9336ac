//! `fanfare audience validate`: what the service would say of a list, and by which exit code.

use std::path::{Path, PathBuf};

use crate::support::run;

fn file(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let path: PathBuf = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_good_list_ends_with_0_and_says_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let users = file(folder.path(), "fans.csv", "user\nann\nbob\n");
    let ran = run(&["audience", "validate", &users]).must_end_with(0);
    assert!(ran.out.starts_with("the list would be taken"), "{}", ran.out);
    let json = run(&["audience", "validate", &users, "--rows", "users", "--json"]).must_end_with(0).json();
    assert_eq!((&json["kind"], &json["rows"], &json["refused"]), (&"users".into(), &2.into(), &().into()));
    let tokens = file(folder.path(), "tokens.txt", "00aa\n00bb\n");
    let defaults = ["--platform", "apns", "--apns-app", "a.b", "--locale", "en", "--market", "us", "--json"];
    let json = run(&[&["audience", "validate", &tokens], &defaults[..]].concat()).must_end_with(0).json();
    assert_eq!(json["by_platform"]["apns"], 2);
}

#[test]
fn a_bad_list_ends_with_1_and_every_bad_row_is_listed() {
    let folder = tempfile::tempdir().unwrap();
    let rows: String = (0..50).map(|number| format!("u{number},\n")).collect();
    let bad = file(folder.path(), "bad.csv", format!("user\nann\n{rows}"));
    let list = folder.path().join("list.ndjson");
    let ran = run(&["audience", "validate", &bad, "--list", list.to_str().unwrap()]).must_end_with(1);
    for part in ["50 of 51 rows are bad; the first: line 3", "bad, field_count", "and 30 more"] {
        assert!(ran.out.contains(part), "{part} not in\n{}", ran.out);
    }
    let list = std::fs::read_to_string(list).unwrap();
    assert_eq!(list.lines().count(), 50);
    assert!(list.starts_with("{\"line\":3,\"byte\":9,\"reason\":\"field_count\","), "{list}");
    let accepting = ["--bad-rows", "accept_valid", "--bad-share-max", "0.99"];
    run(&[&["audience", "validate", &bad], &accepting[..]].concat()).must_end_with(0);
    let json = run(&["audience", "validate", &bad, "--rows", "devices", "--json"]).must_end_with(1).json();
    assert_eq!(json["refused"], "the rows are users, and must be devices");
}

#[test]
fn what_cannot_be_asked_ends_with_2_and_what_cannot_be_read_with_3() {
    let folder = tempfile::tempdir().unwrap();
    let users = file(folder.path(), "fans", "user\nann\n");
    let ran = run(&["audience", "validate", &users]).must_end_with(2);
    assert!(ran.err.contains("say --format"), "{}", ran.err);
    run(&["audience", "validate", &users, "--format", "csv", "--bad-share-max", "0.5"]).must_end_with(2);
    run(&["audience", "validate", &users, "--format", "csv", "--market", ""]).must_end_with(2);
    let ran = run(&["audience", "validate", "/nowhere/fans.csv"]).must_end_with(3);
    assert!(ran.err.contains("/nowhere/fans.csv"), "{}", ran.err);
}

#[test]
fn every_ceiling_of_reading_is_a_configuration_key() {
    let folder = tempfile::tempdir().unwrap();
    let users = file(folder.path(), "fans.csv", "user\nann\nbob\n");
    let long = file(folder.path(), "long.csv", format!("user\nann\n{}\n", "x".repeat(1_100)));
    let wide = file(folder.path(), "wide.csv", format!("ChannelType,Address{}\n", ",a".repeat(7)));
    let bad = file(folder.path(), "bad.csv", "user\n,\n,\n,\n");
    // From 16 MiB on the ratio counts.
    let bomb = [b"user\n".to_vec(), b"ann\n".repeat(5 << 20)].concat();
    let bomb = file(folder.path(), "bomb.csv.zst", zstd::encode_all(&bomb[..], 1).unwrap());
    for (key, value, list, said) in [
        ("rows_max", 1, &users, "the file has more than 1 rows (uploads.rows_max)"),
        ("unpacked_bytes_max", 10, &users, "more than 10 bytes when unpacked (uploads.unpacked_bytes_max)"),
        ("line_bytes_max", 1_024, &long, "line 3, byte 9: the line is longer than 1024 bytes"),
        ("columns_max", 8, &wide, "line 1, the header: there are more than 8 columns (uploads.columns_max)"),
        ("unpacked_ratio_max", 10, &bomb, "more than 10 times as many (uploads.unpacked_ratio_max)"),
    ] {
        let config = crate::support::config(folder.path(), &format!("[uploads]\n{key} = {value}\n"));
        let pinpoint = ["--format", "pinpoint", "--apns-app", "a.b"];
        let format = if key == "columns_max" { &pinpoint[..] } else { &[] };
        let arguments = [&["audience", "validate", list, "--config", &config], format].concat();
        let ran = run(&arguments).must_end_with(1);
        assert!(ran.out.contains(said), "{key}: {said:?} not in {}", ran.out);
    }
    let config = crate::support::config(folder.path(), "[uploads]\nbad_rows_listed_max = 2\n");
    let list = folder.path().join("list.ndjson");
    let listing = ["--config", &config, "--list", list.to_str().unwrap()];
    run(&[&["audience", "validate", &bad], &listing[..]].concat()).must_end_with(1);
    assert_eq!(std::fs::read_to_string(list).unwrap().lines().count(), 2);
}

/// What people upload by mistake, and what they are told: what is wrong, where, and what to do.
#[test]
fn a_broken_list_is_told_with_its_place_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let gzip = |bytes: &[u8]| {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut writer, bytes).unwrap();
        writer.finish().unwrap()
    };
    let packed = gzip(b"user\nann\nbob\n");
    let cut = packed.len() - 3;
    let ends_at =
        format!("ends in the middle of what gzip packed, at its byte {cut}: it was cut off; upload it whole");
    let wide: Vec<u8> = "user\nann\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cases: [(&str, &[u8], &str); 16] = [
        ("empty.csv", b"", "the file is empty"),
        ("head.csv", b"user\n", "the file has no rows"),
        ("no-head.csv", b"ann\nbob\n", "line 1, the header: column 1 is none of user, platform, key"),
        ("no-head.csv", b"ann\nbob\n", "the first line must name the columns, separated by commas"),
        ("excel.csv", b"user;platform\nann;apns\n", "separated by commas: these are separated otherwise"),
        ("case.csv", b"User\nann\n", "in small letters and without blanks"),
        ("sheet.csv", b"PK\x03\x04\x14\0", "a zip archive or a spreadsheet: upload the list that is in it"),
        ("wide.csv", &wide, "the file is UTF-16 text: save it as UTF-8 and upload that"),
        ("json.csv", b"{\"user\":\"ann\"}\n", "the file is JSON, announced was csv: say another format"),
        ("array.ndjson", b"[{\"user\":\"ann\"}]\n", "a JSON array, not an object a line"),
        ("cut.csv.gz", &packed[..cut], &ends_at),
        (
            "latin.csv",
            b"user\nj\xf6rg\n",
            "line 2, byte 5: the line is not UTF-8 from its byte 2 on: save the file as UTF-8",
        ),
        ("quote.csv", b"user\nann\n\"bob\n", "line 3, byte 9: a quoted field is not closed"),
        (
            "number.ndjson",
            b"{\"user\":7}\n",
            "line 1, byte 0: field user is no text before byte 9 of the line: put its value in quotes",
        ),
        ("odd.ndjson", b"{\"user\":\"ann\"\n", "line 1, byte 0: the line is not JSON from its byte 13 on"),
        ("nul.csv", b"user\nan\0n\n", "line 2, byte 5: user"),
    ];
    for (name, bytes, said) in cases {
        let list = file(folder.path(), name, bytes);
        let ran = run(&["audience", "validate", &list]).must_end_with(1);
        assert!(ran.out.contains(said), "{name}: {said:?} not in {}", ran.out);
    }
}
