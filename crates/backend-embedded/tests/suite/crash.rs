//! Processes that are killed while they write: what they had been told is done is done. This test starts itself again as those
//! processes.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use backend::queues::{CALL_MESSAGES_MAX, LEASE};
use backend::store::{Transacted, Written, query_all};
use backend::{Backend, Expect, Key, Outgoing, Queue, Write};
use backend_embedded::{Place, open};
use model::{Device, Platform, Timestamp};

use crate::support::runtime;

const FOLDER: &str = "FANFARE_CRASH_FOLDER";
const NAME: &str = "FANFARE_CRASH_NAME";
/// Processes at once.
const CHILDREN: usize = 2;

#[tokio::test]
async fn killed_processes_lose_nothing_they_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..4 {
        let children: Vec<Child> =
            (0..CHILDREN).map(|child| start(folder.path(), &format!("{round}-{child}"))).collect();
        let readers = children
            .into_iter()
            .map(|child| tokio::task::spawn_blocking(move || read_and_kill(child, 400 + round * 150)));
        for reader in readers.collect::<Vec<_>>() {
            acknowledged.extend(reader.await.unwrap());
        }
        check(folder.path(), &acknowledged, (round + 1) * CHILDREN).await;
    }
}

fn start(folder: &std::path::Path, name: &str) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "crash::writes_until_it_is_killed", "--nocapture"]);
    command.env(FOLDER, folder).env(NAME, name);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap()
}

/// Reads what the child was told, kills it in the middle, and reads what it still got out.
fn read_and_kill(mut child: Child, lines: usize) -> Vec<String> {
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    for line in output.lines().map_while(Result::ok) {
        // The test harness of the child writes lines of its own, and a killed child leaves half a line.
        if let Some(what) = line.strip_prefix("done ").and_then(|rest| rest.strip_suffix('.')) {
            acknowledged.push(what.to_owned());
        }
        if acknowledged.len() == lines {
            child.kill().unwrap();
        }
    }
    assert!(acknowledged.len() >= lines, "the child ended by itself: {:?}", child.wait());
    child.wait().unwrap();
    acknowledged
}

/// The child: writes whatever can be written and says what was acknowledged. Passes at once when it runs as a test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_until_it_is_killed() {
    let (Ok(folder), Ok(name)) = (std::env::var(FOLDER), std::env::var(NAME)) else { return };
    let backend = open(&Place::of(folder), &runtime().0).unwrap().backend;
    let (backend, name) = (&backend, name.as_str());
    let each = |what: &'static str| async move {
        for number in 0_u64.. {
            let word = format!("{what}-{name}-{number}");
            act(backend, what, &word).await.unwrap();
            println!("done {word}.");
        }
    };
    futures::join!(
        each("write"),
        each("transact"),
        each("send"),
        each("delete"),
        each("device"),
        each("blob"),
        each("grow")
    );
}

pub(crate) async fn act(backend: &Backend, what: &str, word: &str) -> backend::Result<()> {
    let put = || vec![Write::put(Key::new(what, word), Expect::Absent, vec![7; 300])];
    match what {
        "write" => assert_eq!(backend.store.write(put()).await?, [Written::Done(1)]),
        "transact" => assert_eq!(backend.store.transact(put()).await?, Transacted::Done),
        "send" => backend.queues.send(Queue::Resolve, vec![Outgoing::now(word.into())]).await?,
        "delete" => send_and_delete(backend, word).await?,
        "device" => assert_eq!(backend.directory.import(vec![device(word)]).await?.added, 1),
        "grow" => grow(backend, word).await?,
        _ => drop(backend.blobs.put(word, word.into()).await?),
    }
    Ok(())
}

/// The name of the object to which all processes append.
const GROWING: &str = "growing";

/// Appends a line to an object that the other process wants too.
async fn grow(backend: &Backend, word: &str) -> backend::Result<()> {
    let mut growing = loop {
        match backend.blobs.grow(GROWING).await? {
            Some(growing) => break growing,
            None => tokio::task::yield_now().await,
        }
    };
    growing.append(format!("{word}\n").into()).await
}

/// The lines appended.
async fn grown(backend: &Backend) -> Vec<String> {
    let Some(mut growing) = backend.blobs.grow(GROWING).await.unwrap() else { panic!("it is still held") };
    let text = std::fs::read_to_string(growing.file().await.unwrap()).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// On a queue that the two processes share, so that each takes the other's messages too.
async fn send_and_delete(backend: &Backend, word: &str) -> backend::Result<()> {
    let queue = Queue::Shards(Platform::Apns);
    backend.queues.send(queue, vec![Outgoing::now(word.into())]).await?;
    for delivery in backend.queues.receive(queue, 1, Duration::ZERO).await? {
        backend.queues.delete(queue, vec![delivery.receipt]).await?;
        println!("done deleted-{}.", delivery.body);
    }
    Ok(())
}

fn device(word: &str) -> Device {
    Device {
        user: word.into(),
        platform: Platform::Fcm,
        key: word.into(),
        app: "a".into(),
        locale: "de".into(),
        market: "de".into(),
        registered_at: Timestamp(1),
    }
}

/// Checks that everything acknowledged is there. `broken` processes may each have done a little more than they said.
pub(crate) async fn check(folder: &std::path::Path, acknowledged: &BTreeSet<String>, broken: usize) {
    let (runtime, clock) = runtime();
    let embedded = open(&Place::of(folder), &runtime).unwrap();
    let backend = &embedded.backend;
    // What the killed ones had in flight comes again.
    clock.advance(LEASE * 7);
    let mut found: BTreeSet<String> = backend.blobs.list("").await.unwrap().into_iter().collect();
    for partition in ["write", "transact"] {
        found
            .extend(query_all(&*backend.store, partition).await.unwrap().into_iter().map(|row| row.key.sort));
    }
    found.extend(grown(backend).await);
    found.extend(messages(backend, Queue::Resolve).await);
    let waiting = messages(backend, Queue::Shards(Platform::Apns)).await;
    let mut unexplained = 0;
    for word in acknowledged {
        let (what, rest) = word.split_once('-').unwrap();
        match what {
            "deleted" => assert!(!waiting.contains(rest), "{rest} came back after it was deleted"),
            "delete" => {
                let is_explained =
                    waiting.contains(word) || acknowledged.contains(&format!("deleted-{word}"));
                unexplained += usize::from(!is_explained);
            }
            "device" => {
                let devices = backend.directory.devices(std::slice::from_ref(word)).await.unwrap();
                assert_eq!(devices[0], [device(word)]);
            }
            _ => assert!(found.contains(word), "{word} is lost"),
        }
    }
    // Each may have ended between deleting a message and saying so.
    assert!(unexplained <= broken, "{unexplained} messages are lost");
    let devices = backend.directory.count().await.unwrap().1;
    let known = acknowledged.iter().filter(|word| word.starts_with("device-")).count() as u64;
    assert!((known..=known + broken as u64).contains(&devices));
    embedded.close().await;
}

/// All messages that wait.
async fn messages(backend: &Backend, queue: Queue) -> BTreeSet<String> {
    let (mut bodies, mut receipts) = (BTreeSet::new(), Vec::new());
    loop {
        let deliveries = backend.queues.receive(queue, CALL_MESSAGES_MAX, Duration::ZERO).await.unwrap();
        if deliveries.is_empty() {
            backend.queues.give_back(queue, receipts, Duration::ZERO).await.unwrap();
            return bodies;
        }
        for delivery in deliveries {
            bodies.insert(delivery.body);
            receipts.push(delivery.receipt);
        }
    }
}
