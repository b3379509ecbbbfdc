use std::sync::mpsc;
use std::task::{Context, Waker};

use tempfile::TempDir;

use super::super::{files, open};
use super::*;

fn new() -> (TempDir, Writer) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("valetkey.db");
    files::create(&path).expect("a file");
    let conn = open::writer(&path).expect("a connection");
    conn.execute_batch("CREATE TABLE number (n INTEGER PRIMARY KEY, padding BLOB) STRICT")
        .expect("a table");
    (dir, Writer::start(conn).expect("a thread"))
}

fn add(conn: &Connection, number: i64) -> Result<()> {
    conn.execute("INSERT INTO number (n) VALUES (?1)", [number])?;
    Ok(())
}

fn numbers(dir: &TempDir) -> Vec<i64> {
    let conn = open::reader(&dir.path().join("valetkey.db")).expect("a connection");
    let mut statement = conn.prepare("SELECT n FROM number ORDER BY n").expect("a statement");
    statement
        .query_map([], |row| row.get(0))
        .expect("rows")
        .collect::<rusqlite::Result<_>>()
        .expect("numbers")
}

type Work = Box<dyn FnOnce(&Connection) -> Result<()> + Send>;

/// Queues all of them while the writer is busy with something else, so that they share a commit.
async fn run_together(writer: &Writer, work: Vec<Work>) -> Vec<Result<()>> {
    let (go, gate) = mpsc::channel();
    let (started, is_busy) = mpsc::channel();
    let mut context = Context::from_waker(Waker::noop());
    let mut busy = Box::pin(writer.run(move |_| {
        started.send(()).map_err(|_| closed())?;
        gate.recv().map_err(|_| closed())
    }));
    assert!(busy.as_mut().poll(&mut context).is_pending());
    is_busy.recv().expect("it runs");
    let mut waiting: Vec<_> = work.into_iter().map(|work| Box::pin(writer.run(work))).collect();
    for operation in &mut waiting {
        assert!(operation.as_mut().poll(&mut context).is_pending());
    }
    go.send(()).expect("the writer waits");
    busy.await.expect("done");
    let mut answers = Vec::new();
    for operation in waiting {
        answers.push(operation.await);
    }
    answers
}

#[tokio::test]
async fn an_operation_that_fails_takes_only_its_own_writes_with_it() {
    let (dir, writer) = new();
    let work: Vec<Work> = vec![
        Box::new(|conn| add(conn, 1)),
        Box::new(|conn| add(conn, 2).and_then(|()| add(conn, 1))),
        Box::new(|conn| add(conn, 3)),
    ];
    let answers = run_together(&writer, work).await;
    assert!(
        matches!(answers.as_slice(), [Ok(()), Err(StoreError::Corrupt(_)), Ok(())]),
        "{answers:?}"
    );
    assert_eq!(numbers(&dir), [1, 3]);
}

#[tokio::test]
async fn an_error_that_ends_the_transaction_ends_it_for_all() {
    let (dir, writer) = new();
    let work: Vec<Work> = vec![
        Box::new(|conn| add(conn, 1)),
        Box::new(|conn| {
            conn.execute_batch("ROLLBACK")?;
            Err(StoreError::Unavailable("my own".to_owned()))
        }),
        Box::new(|conn| add(conn, 3)),
    ];
    let answers = run_together(&writer, work).await;
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))),
        "{answers:?}"
    );
    writer.run(|conn| add(conn, 4)).await.expect("the next one");
    assert_eq!(numbers(&dir), [4]);
}

#[tokio::test]
async fn a_full_disk_is_told_and_passes() {
    let (dir, writer) = new();
    writer
        .run(|conn| Ok(conn.execute_batch("PRAGMA max_page_count = 20")?))
        .await
        .expect("a small disk");
    let work: Vec<Work> = vec![
        Box::new(|conn| add(conn, 1)),
        Box::new(|conn| Ok(conn.execute_batch("INSERT INTO number VALUES (2, zeroblob(1000000))")?)),
        Box::new(|conn| add(conn, 3)),
    ];
    let answers = run_together(&writer, work).await;
    assert!(matches!(&answers[1], Err(StoreError::Unavailable(text)) if text.starts_with("the disk is full")));
    let expected: Vec<i64> = answers
        .iter()
        .zip(1..)
        .filter(|(answer, _)| answer.is_ok())
        .map(|(_, number)| number)
        .collect();
    assert_eq!(numbers(&dir), expected);
    writer
        .run(|conn| add(conn, 4))
        .await
        .expect("there is room for a small one");
}

#[tokio::test]
async fn nobody_sees_an_operation_before_the_commit() {
    let (dir, writer) = new();
    let path = dir.path().join("valetkey.db");
    let (first_ran, ran) = mpsc::channel();
    let work: Vec<Work> = vec![
        Box::new(move |conn| {
            add(conn, 1)?;
            first_ran.send(()).map_err(|_| closed())
        }),
        Box::new(move |_| {
            ran.recv().map_err(|_| closed())?;
            let seen: i64 = open::reader(&path)?.query_row("SELECT count(*) FROM number", [], |row| row.get(0))?;
            assert_eq!(seen, 0, "the first ran, but nobody can see it");
            Ok(())
        }),
    ];
    let answers = run_together(&writer, work).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(numbers(&dir), [1]);
}

#[tokio::test]
async fn a_panic_is_an_error_for_everybody_and_no_hang() {
    let (dir, writer) = new();
    let work: Vec<Work> = vec![
        Box::new(|conn| add(conn, 1)),
        Box::new(|_| panic!("a bug")),
        Box::new(|conn| add(conn, 3)),
    ];
    let answers = run_together(&writer, work).await;
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))),
        "{answers:?}"
    );
    assert!(writer.run(|conn| add(conn, 4)).await.is_err());
    writer.close();
    assert!(numbers(&dir).is_empty());
}
