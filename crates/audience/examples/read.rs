//! Measures reading alone: CPU for each row of every format, plain and packed, and the peak of memory:
//! `cargo run --release -p audience --example read -- 2000000`; a second word picks the formats that begin with it.
#![allow(clippy::disallowed_methods, reason = "a driver: the real clock")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use audience::{Asked, Limits, validate};
use model::audience::{BadRows, Defaults, Packing, UploadFormat};
use model::runtime::mix;
use model::{Platform, Timestamp};

type Fault = Box<dyn std::error::Error>;

fn main() -> Result<(), Fault> {
    let rows: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let picked = std::env::args().nth(2).unwrap_or_default();
    let folder = tempfile::tempdir()?;
    println!("{:<28}{:>12}{:>14}{:>14}{:>12}", "", "MB", "rows/s", "MB/s", "CPU us/row");
    for (name, format, line) in [
        ("users, csv", UploadFormat::Csv, user as fn(u64) -> String),
        ("users, ndjson", UploadFormat::Ndjson, |number| format!("{{\"user\":\"user-{number:08}\"}}\n")),
        ("devices, csv", UploadFormat::Csv, csv),
        ("devices, ndjson", UploadFormat::Ndjson, ndjson),
        ("devices, pinpoint", UploadFormat::Pinpoint, pinpoint),
        ("devices, tokens", UploadFormat::Tokens, |number| format!("{}\n", token(number))),
    ] {
        if !name.starts_with(&picked) {
            continue;
        }
        let plain = folder.path().join("plain");
        let text = text(name, rows, line)?;
        fs::write(&plain, &text)?;
        measure(name, format, &plain, rows, text.len())?;
        let gzip = folder.path().join("gzip");
        let mut encoder =
            flate2::write::GzEncoder::new(fs::File::create(&gzip)?, flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, text.as_bytes())?;
        encoder.finish()?;
        measure(&format!("{name}, gzip"), format, &gzip, rows, text.len())?;
        let zstd = folder.path().join("zstd");
        fs::write(&zstd, zstd::encode_all(text.as_bytes(), 3)?)?;
        measure(&format!("{name}, zstd"), format, &zstd, rows, text.len())?;
    }
    Ok(())
}

fn measure(name: &str, format: UploadFormat, path: &PathBuf, rows: u64, bytes: usize) -> Result<(), Fault> {
    let asked = Asked {
        format,
        packing: Packing::None,
        rows: None,
        bad_rows: BadRows::RejectAll,
        defaults: Defaults {
            platform: Some(Platform::Apns),
            apns_app: Some("org.example.fanfare".into()),
            fcm_app: Some("fanfare-demo".into()),
            locale: Some("en-US".into()),
            market: Some("us".into()),
        },
        limits: Limits { ratio_max: 10_000, ..Limits::default() },
        uploaded_at: Timestamp(1),
    };
    let (before, begun) = (cpu_s()?, Instant::now());
    let verdict = validate(Path::new(path), &asked, None, |_| {})?;
    let (took, cpu) = (begun.elapsed().as_secs_f64(), cpu_s()? - before);
    if verdict.refused.is_some() || verdict.read.rows != rows {
        return Err(format!("{name}: {verdict:?}").into());
    }
    let megabytes = bytes as f64 / 1e6;
    let (per_second, speed, us) = (rows as f64 / took, megabytes / took, cpu * 1e6 / rows as f64);
    println!("{name:<28}{megabytes:>12.0}{per_second:>14.0}{speed:>14.0}{us:>12.3}");
    Ok(())
}

fn text(name: &str, rows: u64, line: impl Fn(u64) -> String) -> Result<String, Fault> {
    let mut text = String::new();
    match name {
        "users, csv" => text.push_str("user\n"),
        "devices, csv" => text.push_str("user,platform,key,app,locale,market,registered_at\n"),
        _ => {}
    }
    (0..rows).try_for_each(|number| text.write_str(&line(number)))?;
    Ok(text)
}

fn user(number: u64) -> String {
    format!("user-{:08}\n", mix(number) % 100_000_000)
}

fn token(number: u64) -> String {
    (0..4).map(|part| format!("{:016x}", mix(number * 4 + part))).collect()
}

/// Every other device is one of FCM, whose keys have some 160 characters.
fn device(number: u64) -> (&'static str, String, &'static str) {
    let token = token(number);
    match number % 2 {
        0 => ("apns", token, "org.example.fanfare"),
        _ => ("fcm", format!("{}:APA91b{token}{}", &token[..22], token.to_uppercase()), "fanfare-demo"),
    }
}

fn csv(number: u64) -> String {
    let (platform, key, app) = device(number);
    format!("user-{number:08},{platform},{key},{app},en-US,us,2026-01-01T00:00:00Z\n")
}

fn ndjson(number: u64) -> String {
    let (platform, key, app) = device(number);
    format!(
        "{{\"user\":\"user-{number:08}\",\"platform\":\"{platform}\",\"key\":\"{key}\",\"app\":\"{app}\",\"locale\":\"en-US\",\
         \"market\":\"us\",\"registered_at\":\"2026-01-01T00:00:00Z\"}}\n"
    )
}

fn pinpoint(number: u64) -> String {
    let (platform, key, _) = device(number);
    let channel = if platform == "apns" { "APNS" } else { "GCM" };
    format!(
        "{{\"Id\":\"{number:032x}\",\"ChannelType\":\"{channel}\",\"Address\":\"{key}\",\"EndpointStatus\":\"ACTIVE\",\
         \"OptOut\":\"NONE\",\"RequestId\":\"{number:032x}\",\"Location\":{{\"Country\":\"US\"}},\"Demographic\":{{\
         \"Make\":\"apple\",\"Model\":\"iPhone\",\"Locale\":\"en_US\"}},\"EffectiveDate\":\"2026-01-01T00:00:00.000Z\",\
         \"Attributes\":{{\"teams\":[\"a\",\"b\"]}},\"Metrics\":{{}},\"User\":{{\"UserId\":\"user-{number:08}\"}},\
         \"CohortId\":\"39\",\"CreationDate\":\"2025-01-01T00:00:00.000Z\"}}\n"
    )
}

/// CPU seconds of this process, which other processes on the machine do not change.
fn cpu_s() -> Result<f64, Fault> {
    let text = fs::read_to_string("/proc/self/schedstat")?;
    let nanoseconds: u64 = text.split(' ').next().ok_or("no figure")?.parse()?;
    Ok(nanoseconds as f64 / 1e9)
}
