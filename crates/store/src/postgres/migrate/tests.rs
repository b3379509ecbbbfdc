use super::super::tests::place::{Schema, connect};
use super::*;

const FIRST: Migration = Migration {
    number: 1,
    name: "first",
    sql: "CREATE TABLE a (x BIGINT)",
};
const SECOND: Migration = Migration {
    number: 2,
    name: "second",
    sql: "CREATE TABLE b (x BIGINT)",
};
const BROKEN: Migration = Migration {
    number: 2,
    name: "second",
    sql: "CREATE TABLE b (x BIGINT); CREATE nonsense",
};
const OTHER: Migration = Migration {
    sql: "SELECT 1",
    ..SECOND
};

async fn run(schema: &Schema, steps: &[Migration]) -> Result<()> {
    migrate(&mut connect(&schema.url()).await, steps, false).await
}

async fn meddle(schema: &Schema, sql: &str) {
    connect(&schema.url()).await.batch_execute(sql).await.expect("meddling");
}

#[test]
fn steps_have_no_gap() {
    for (step, number) in STEPS.iter().zip(1..) {
        assert_eq!(step.number, number);
    }
}

#[tokio::test]
async fn only_missing_steps_are_applied() {
    let Some(schema) = Schema::new().await else { return };
    run(&schema, &[FIRST]).await.expect("new");
    run(&schema, &[FIRST, SECOND]).await.expect("one more");
    run(&schema, &[FIRST, SECOND]).await.expect("nothing to do");
    meddle(&schema, "INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)").await;
}

#[tokio::test]
async fn newer_altered_and_foreign_schemas_are_refused() {
    let Some(schema) = Schema::new().await else { return };
    run(&schema, &[FIRST, SECOND]).await.expect("new");
    for steps in [&[FIRST][..], &[SECOND, FIRST], &[FIRST, OTHER]] {
        assert!(matches!(run(&schema, steps).await, Err(StoreError::Corrupt(_))));
    }
    let Some(foreign) = Schema::new().await else { return };
    meddle(&foreign, "CREATE TABLE theirs (x BIGINT)").await;
    let error = run(&foreign, &[FIRST]).await.expect_err("a refusal");
    assert!(
        matches!(&error, StoreError::Corrupt(text) if text.contains("another program")),
        "{error}"
    );
}

#[tokio::test]
async fn g62_a_step_that_fails_leaves_nothing() {
    let Some(schema) = Schema::new().await else { return };
    run(&schema, &[FIRST]).await.expect("new");
    assert!(run(&schema, &[FIRST, BROKEN]).await.is_err());
    let client = connect(&schema.url()).await;
    assert_eq!(check_applied(&client, &[FIRST]).await.expect("still readable"), 1);
    run(&schema, &[FIRST, SECOND]).await.expect("the table is not there");
}

#[tokio::test]
async fn a_server_that_only_reads_must_be_up_to_date() {
    let Some(schema) = Schema::new().await else { return };
    let mut client = connect(&schema.url()).await;
    for steps in [&[FIRST][..], &[FIRST, SECOND]] {
        let error = migrate(&mut client, steps, true).await.expect_err("a refusal");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        migrate(&mut client, steps, false).await.expect("the primary");
        migrate(&mut client, steps, true).await.expect("nothing to do");
    }
}
