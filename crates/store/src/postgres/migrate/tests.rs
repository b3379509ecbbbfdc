use super::super::tests::place::{Schema, connect};
use super::*;

const FIRST: Migration = Migration {
    number: 1,
    name: "first",
    works_since: 1,
    sql: "CREATE TABLE a (x BIGINT)",
};
const SECOND: Migration = Migration {
    number: 2,
    name: "second",
    works_since: 1,
    sql: "CREATE TABLE b (x BIGINT)",
};
const BROKEN: Migration = Migration {
    number: 2,
    name: "second",
    works_since: 1,
    sql: "CREATE TABLE b (x BIGINT); CREATE nonsense",
};
/// Takes away what only a program needs that knows no more than the first step.
const CONTRACTION: Migration = Migration {
    number: 3,
    name: "contraction",
    works_since: 2,
    sql: "DROP TABLE a",
};
const FOURTH: Migration = Migration {
    number: 4,
    name: "fourth",
    works_since: 2,
    sql: "CREATE TABLE d (x BIGINT)",
};
const OTHER: Migration = Migration {
    sql: "SELECT 1",
    ..SECOND
};

async fn run(schema: &Schema, steps: &[Migration]) -> Result<()> {
    migrate(&mut connect(&schema.url()).await, steps, Until::Expanded, false).await
}

async fn finish(schema: &Schema, steps: &[Migration]) -> Result<()> {
    migrate(&mut connect(&schema.url()).await, steps, Until::Finished, false).await
}

async fn applied(schema: &Schema, steps: &[Migration]) -> usize {
    check_applied(&connect(&schema.url()).await, steps)
        .await
        .expect("readable")
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
    for steps in [&[SECOND, FIRST][..], &[FIRST, OTHER]] {
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
async fn g63_the_version_before_goes_on_over_what_expands_and_not_over_what_contracts() {
    let Some(schema) = Schema::new().await else { return };
    let (before, after) = ([FIRST], [FIRST, SECOND, CONTRACTION]);
    run(&schema, &before).await.expect("new");
    run(&schema, &after).await.expect("a process of the next version");
    assert_eq!(applied(&schema, &after).await, 2, "the contraction waits");
    run(&schema, &before).await.expect("a process of the version before");
    meddle(&schema, "INSERT INTO a VALUES (1)").await;

    finish(&schema, &after).await.expect("only the next version runs");
    assert_eq!(applied(&schema, &after).await, 3);
    let error = run(&schema, &before).await.expect_err("a refusal");
    assert!(
        matches!(&error, StoreError::Corrupt(text) if text.contains("number 3")),
        "{error}"
    );
    run(&schema, &[FIRST, SECOND]).await.expect("knows enough");
}

#[tokio::test]
async fn a_contraction_that_nobody_asked_for_comes_with_the_next_step() {
    let Some(schema) = Schema::new().await else { return };
    run(&schema, &[FIRST, SECOND, CONTRACTION]).await.expect("new");
    let next = [FIRST, SECOND, CONTRACTION, FOURTH];
    run(&schema, &next).await.expect("the version after that");
    assert_eq!(applied(&schema, &next).await, 4);
    let Some(fresh) = Schema::new().await else { return };
    run(&fresh, &next).await.expect("all at once");
    assert_eq!(applied(&fresh, &next).await, 4);
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
        let error = migrate(&mut client, steps, Until::Expanded, true)
            .await
            .expect_err("a refusal");
        assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
        migrate(&mut client, steps, Until::Expanded, false)
            .await
            .expect("the primary");
        migrate(&mut client, steps, Until::Expanded, true)
            .await
            .expect("nothing to do");
    }
}
