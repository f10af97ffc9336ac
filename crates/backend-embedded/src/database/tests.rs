//! The database when things go wrong, and its log.

use backend::store::Written;
use backend::{Expect, Key, Store as _, Write};
use model::Timestamp;
use model::runtime::ManualClock;

use super::checkpoint::{Load, checkpoint, pages};
use super::*;
use crate::store::Rows;

struct Nobody;

impl Watcher for Nobody {
    fn is_waiting(&self) -> bool {
        false
    }

    fn look(&self, _database: &Connection) -> rusqlite::Result<()> {
        Ok(())
    }
}

fn open(folder: &Path) -> Arc<Database> {
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000)));
    Arc::new(Database::open(Some(folder), clock, Arc::new(Nobody)).unwrap())
}

fn put(sort: u32) -> Vec<Write> {
    vec![Write::put(Key::new("p", format!("{sort:06}")), Expect::Absent, vec![7; 3_000])]
}

async fn limit(database: &Database, pages: u32) {
    let limit = move |database: &Connection| database.pragma_update(None, "max_page_count", pages);
    database.write("limit", Survives::Processes, limit, |()| ()).await.unwrap();
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_what_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let rows = Rows::new(Arc::clone(&database));
    limit(&database, 100).await;
    let mut acknowledged = 0;
    let error = loop {
        match rows.write(put(acknowledged)).await {
            Ok(written) => assert_eq!(written, [Written::Done(1)]),
            Err(error) => break error,
        }
        acknowledged += 1;
    };
    assert_eq!(error.kind, ErrorKind::Storage);
    let expected = format!("{}: no space left on the disk", folder.path().join("fanfare.db").display());
    assert!(error.message.contains(&expected), "{error}");
    assert_eq!(rows.transact(put(999)).await.unwrap_err().kind, ErrorKind::Storage);
    let page = rows.query("p", "", 1_000, false).await.unwrap();
    assert_eq!(page.rows.len(), acknowledged as usize);
    limit(&database, 10_000).await;
    assert_eq!(rows.write(put(acknowledged)).await.unwrap(), [Written::Done(1)]);
    database.close().await;
}

#[test]
fn one_bad_call_of_a_group_spoils_no_other() {
    let connection = Connection::open_in_memory().unwrap();
    connection.execute_batch("CREATE TABLE t (n INTEGER)").unwrap();
    let mut answers = Vec::new();
    let mut job = |number: i64| -> Box<dyn Job> {
        let (reply, answer) = oneshot::channel();
        answers.push(answer);
        let run = move |database: &Connection| match number {
            2 => database.execute("INSERT INTO nothing VALUES (?1)", [number]),
            _ => database.execute("INSERT INTO t VALUES (?1)", [number]),
        };
        let survives = Survives::Processes;
        Box::new(Call { operation: "test", survives, run, after: |count| count, value: None, reply })
    };
    writer::commit("test", &connection, (1..=3).map(&mut job).collect());
    let answers: Vec<bool> =
        answers.into_iter().map(|mut answer| answer.try_recv().unwrap().is_ok()).collect();
    assert_eq!(answers, [true, false, true]);
    let sum: i64 = connection.query_row("SELECT sum(n) FROM t", [], |row| row.get(0)).unwrap();
    assert_eq!(sum, 1 + 3);
}

#[tokio::test]
async fn the_log_moves_into_the_database_when_it_is_long_enough_for_the_load() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let rows = Rows::new(Arc::clone(&database));
    rows.write((0..3_000).flat_map(put).collect()).await.unwrap();
    let connection = connect(&folder.path().join(FILE)).unwrap();
    let waiting = pages(&connection, "NOOP").unwrap();
    assert!(waiting > 2_000, "{waiting}");
    for load in [Load::Busy, Load::Quiet] {
        checkpoint(&connection, load).unwrap();
        assert_eq!(pages(&connection, "NOOP").unwrap(), waiting);
    }
    checkpoint(&connection, Load::Idle).unwrap();
    assert_eq!(pages(&connection, "NOOP").unwrap(), 0);
    database.close().await;
}

#[tokio::test]
async fn a_transaction_that_survives_power_makes_every_process_look_closely() {
    let folder = tempfile::tempdir().unwrap();
    let database = open(folder.path());
    let rows = Rows::new(Arc::clone(&database));
    let connection = connect(&folder.path().join(FILE)).unwrap();
    let now = Timestamp::from_secs(1_000);
    let mut watch = watch::Watch::default();
    assert!(watch.has_changed(&connection).unwrap() && !watch.is_lively(now));
    assert!(!watch.has_changed(&connection).unwrap());
    rows.write(put(1)).await.unwrap();
    assert!(watch.has_changed(&connection).unwrap() && !watch.is_lively(now));
    rows.transact(put(2)).await.unwrap();
    assert!(watch.has_changed(&connection).unwrap() && watch.is_lively(now));
    assert!(watch.step(now) < watch.step(now + std::time::Duration::from_secs(3_600)));
    database.close().await;
}
