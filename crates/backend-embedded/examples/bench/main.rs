//! What the embedded backend costs: queues, rows and the directory in a fresh folder, wall time and CPU time.
//!
//! cargo run --release -p backend-embedded --example bench -- [FOLDER | :memory:] [DEVICES] [queue claims shards presses wake directory]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a benchmark runs on the real clock")]

mod directory;
mod launch;
mod meter;
mod wake;

use std::path::PathBuf;

use backend_embedded::{Place, open};

#[tokio::main(worker_threads = 2)]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let parent = arguments.next().map_or_else(std::env::temp_dir, PathBuf::from);
    let is_memory = parent.as_os_str() == ":memory:";
    let parent = if is_memory { std::env::temp_dir() } else { parent };
    let devices = arguments.next().map_or(1_000_000, |devices| devices.parse().unwrap());
    let folder = tempfile::tempdir_in(parent).unwrap();
    let runtime = meter::runtime();
    let place = if is_memory { Place::Memory } else { Place::of(folder.path()) };
    let embedded = open(&place, &runtime).unwrap();
    println!("{:<44} {:>12} {:>12} {:>14}", "", "a second", "wall", "CPU each");
    let only: Vec<String> = arguments.collect();
    let runs = |name: &str| only.is_empty() || only.iter().any(|one| one == name);
    if runs("queue") {
        launch::queue(&embedded.backend).await;
    }
    if runs("claims") {
        launch::claims(&embedded.backend).await;
    }
    if runs("shards") {
        launch::shards(&embedded.backend).await;
    }
    if runs("presses") {
        launch::presses(&embedded.backend).await;
    }
    if runs("wake") && !is_memory {
        let other = open(&place, &runtime).unwrap();
        wake::run(&embedded.backend, &other.backend).await;
        other.close().await;
    }
    if runs("directory") {
        directory::run(&embedded.backend, devices).await;
        let again = open(&place, &runtime).unwrap();
        directory::first_use(&again.backend, devices).await;
        again.close().await;
    }
    let closing = meter::Meter::start();
    embedded.close().await;
    closing.stop("close", 1);
}
