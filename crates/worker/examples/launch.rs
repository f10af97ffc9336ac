//! A launch in one process, and where its CPU time goes by thread: `cargo run --release -p worker --example launch --
//! [APNS] [FCM] [memory|folder]`. Simulators answer at once; what is measured is everything besides them and `push`.
#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![allow(dead_code, reason = "the stage is shared with the tests")]

#[path = "../tests/flow/clock.rs"]
mod clock;
#[path = "../tests/flow/stage.rs"]
mod stage;

use std::collections::BTreeMap;
use std::time::Duration;

use backend::rows::launch;
use model::ShardSizes;
use report::Stages;
use stage::{Play, Stage};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = || arguments.next().map_or(500_000, |text| text.parse().unwrap());
    let (apns_devices, fcm_devices) = (number(), number());
    let folder = arguments.next().is_none_or(|place| place == "folder").then(|| tempfile::tempdir().unwrap());
    let mut play = Play { apns_devices, fcm_devices, sizes: ShardSizes::default(), ..Play::default() };
    play.folder = folder.as_ref().map(|folder| folder.path().to_owned());
    play.apns.latency.base = Duration::from_millis(60);
    play.fcm.latency.base = Duration::from_millis(100);
    play.connections = [240, 1_500];
    let stage = Stage::new(play).await;
    let dispatcher = stage.dispatcher("d1");
    let worker = stage.worker("w1");
    stage.ready(&worker).await;
    stage.runtime.clock.sleep(Duration::from_secs(3)).await;
    let before = cpu_by_thread();
    let launch = stage.press().await;
    let finish = loop {
        // Seldom enough to cost nothing.
        stage.runtime.clock.sleep(Duration::from_millis(250)).await;
        if let Some(finish) = stage.finish(&launch).await {
            break finish;
        }
    };
    let after = cpu_by_thread();
    let devices = f64::from(apns_devices + fcm_devices);
    for (name, us) in after {
        let us = us - before.get(&name).copied().unwrap_or(0);
        println!("{name:<20} {us:>9} us {:>7.3} us/device", us as f64 / devices);
    }
    let mut stages = Stages::default();
    for row in launch::stages(&*stage.backend.store, launch.id).await.unwrap() {
        stages.merge(&Stages::decode(&row).unwrap());
    }
    for (stage, figures) in stages.quantiles() {
        let ms = |us: u64| us as f64 / 1_000.0;
        let (first, middle, last) = (ms(figures.min_us), ms(figures.p50_us), ms(figures.max_us));
        println!(
            "{:<12} {:>6} first {first:>8.1} half {middle:>8.1} last {last:>8.1} ms",
            stage.name(),
            figures.count
        );
    }
    println!("finished {:.1} ms after the press", finish.at.since(launch.pressed_at).as_secs_f64() * 1_000.0);
    dispatcher.stop().await;
    worker.stop().await;
}

/// User and system time in microseconds by the name of the thread, without its number.
fn cpu_by_thread() -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let Ok(stat) = std::fs::read_to_string(task.unwrap().path().join("stat")) else { continue };
        let (head, tail) = stat.rsplit_once(')').unwrap();
        let name = head.split_once('(').unwrap().1.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
        let ticks: u64 = tail.split(' ').skip(12).take(2).map(|text| text.parse::<u64>().unwrap()).sum();
        *sums.entry(name.to_owned()).or_default() += ticks * 10_000;
    }
    sums
}
