//! The control channel, the account it tells about, and the process around a simulator.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use crate::harness::{Client, token};
use provider_sim::config::{Manner, Quota};
use provider_sim::{Config, Control, KeyCount, Ready, Simulator, read_dump, run, start};

async fn arrivals(simulator: &Simulator, numbers: impl Iterator<Item = u32>) {
    let mut client = Client::connect(simulator).await;
    for number in numbers {
        client.apns(&token(number)).await.unwrap();
    }
}

#[tokio::test]
async fn the_account_is_told_and_dumped_and_forgotten() {
    let simulator = start(Config::apns()).unwrap();
    arrivals(&simulator, (0..50).chain(10..15)).await;
    let mut control = Control::connect(simulator.control_address()).unwrap();
    assert_eq!(control.ready().unwrap(), *simulator.ready());
    assert_eq!(control.stats().unwrap().accepted, 55);
    let report = control.report().unwrap();
    assert_eq!((report.received, report.distinct, report.received_twice), (55, 50, 5));
    assert!(report.cpu_us_per_request > 0.0 && report.stats.serving_cpu_us > 0);
    let twice = control.twice().unwrap();
    assert_eq!(twice.iter().map(|count| count.received).collect::<Vec<_>>(), [2; 5]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    assert_eq!(control.dump(&path).unwrap(), 50);
    let keys = read_dump(&path).unwrap();
    assert_eq!(keys, simulator.keys().unwrap());
    assert_eq!(keys.iter().filter(|count| count.received == 2).copied().collect::<Vec<_>>(), twice);
    control.reset().unwrap();
    let report = control.report().unwrap();
    assert_eq!((report.arrived, report.stats.requests, report.latency.count), (0, 0, 0));
    arrivals(&simulator, 0..1).await;
    assert_eq!(simulator.report().unwrap().distinct, 1);
}

#[tokio::test]
async fn a_miscount_hides_or_doubles_an_arrival() {
    for (miscount, received, twice) in [(1, 19, 0), (-1, 21, 1), (0, 20, 0), (100, 0, 0)] {
        let simulator = start(Config { miscount, ..Config::apns() }).unwrap();
        arrivals(&simulator, 0..20).await;
        let report = simulator.report().unwrap();
        assert_eq!((report.received, report.received_twice), (received, twice), "{miscount}");
        assert_eq!(
            simulator.keys().unwrap().iter().map(|key| u64::from(key.received)).sum::<u64>(),
            received
        );
    }
}

#[test]
fn nonsense_is_answered_and_the_channel_goes_on() {
    let simulator = start(Config::apns()).unwrap();
    let mut socket = TcpStream::connect(simulator.control_address()).unwrap();
    let mut lines = BufReader::new(socket.try_clone().unwrap()).lines();
    for (line, reply) in [
        ("nonsense", "{\"error\":"),
        (r#"{"command":"fly"}"#, "{\"error\":"),
        (r#"{"command":"dump","path":"/nowhere/at/all"}"#, "{\"error\":"),
        (r#"{"command":"stats"}"#, "{\"stats\":"),
    ] {
        socket.write_all(format!("{line}\n").as_bytes()).unwrap();
        let answer = lines.next().unwrap().unwrap();
        assert!(answer.starts_with(reply), "{answer}");
    }
}

#[test]
fn a_configuration_that_cannot_be_meant_is_refused() {
    type Change = fn(&mut Config);
    let bad: [(Config, Change, &str); 8] = [
        (Config::apns(), |config| config.threads = 0, "threads"),
        (Config::apns(), |config| config.faults.dead = 1.5, "share"),
        (Config::apns(), |config| config.faults.shares = "UNREGISTERED=0.1".parse().unwrap(), "reason"),
        (Config::fcm(), |config| config.limits.connection_window = 1, "connection window"),
        (Config::apns(), |config| config.faults.quota = Some(Quota::per_minute(9)), "quota"),
        (
            Config::fcm(),
            |config| config.faults.shares = "UNAVAILABLE=0.6,INTERNAL=0.6".parse().unwrap(),
            "sum",
        ),
        (Config::fcm(), |config| (config.faults.refused, config.faults.silent) = (0.7, 0.4), "sum"),
        (Config::apns(), |config| config.faults.goaway.reason = "\"".into(), "goaway reason"),
    ];
    for (mut config, change, what) in bad {
        change(&mut config);
        let error = start(config).unwrap_err().to_string();
        assert!(error.starts_with(what), "{error}");
    }
    let mut full = Config::fcm();
    full.faults.shares =
        "UNAVAILABLE=0.1,INTERNAL=0.2,QUOTA_EXCEEDED=0.7,INVALID_ARGUMENT=1".parse().unwrap();
    full.check().unwrap();
    assert!("BadDeviceToken".parse::<provider_sim::config::Shares>().is_err());
}

#[test]
fn a_configuration_reads_back_and_unknown_keys_are_refused() {
    let mut config = Config::fcm();
    config.faults.shares = "UNAVAILABLE=0.25".parse().unwrap();
    config.latency.base = std::time::Duration::from_millis(60);
    let text = serde_json::to_string(&config).unwrap();
    assert!(text.contains("\"60ms\"") && text.contains("\"UNAVAILABLE\":0.25"), "{text}");
    assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    let odd = text.replacen("\"seed\"", "\"sead\"", 1);
    assert!(serde_json::from_str::<Config>(&odd).is_err());
    assert_eq!(serde_json::from_str::<Manner>("\"dropped_before\"").unwrap(), Manner::DroppedBefore);
}

#[test]
fn a_port_in_use_is_named() {
    let simulator = start(Config::apns()).unwrap();
    let error = start(Config { listen: simulator.address(), ..Config::apns() }).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot listen on {}", simulator.address()));
}

#[test]
fn the_process_announces_itself_and_ends_when_told() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let ca_out = folder.path().join("ca.pem");
    let config = Config { ca_out: Some(ca_out.clone()), ..Config::fcm() };
    let process = std::thread::spawn(move || run(config, &mut writer));
    let mut line = String::new();
    BufReader::new(&mut reader).read_line(&mut line).unwrap();
    let ready: Ready = serde_json::from_str(&line).unwrap();
    assert_eq!(std::fs::read_to_string(ca_out).unwrap(), ready.ca_pem);
    Control::connect(ready.control).unwrap().shutdown().unwrap();
    process.join().unwrap().unwrap();
    assert!(TcpStream::connect(ready.address).is_err());
}

#[test]
fn a_key_count_survives_its_dump() {
    let count = KeyCount {
        key: provider_sim::Fingerprint::from_bits(7 << 100),
        received: 1,
        processed: 2,
        accepted: 3,
        refused: 65_535,
    };
    assert_eq!(KeyCount::from_bytes(&count.to_bytes()), count);
}
