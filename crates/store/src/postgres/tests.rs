//! Every statement against the schema, and migrating. Without a server they do not run: see `tests/support`.

use tokio_postgres::Client;

use super::{
    audit, connections, connectors, flows, jobs, keys, limits, migrate, open, refresh, sessions, tallies, together,
    vault, walk,
};

#[path = "../../tests/support/place.rs"]
pub(super) mod place;

use place::{Schema, connect, open as open_store};

const SUBJECTS: [&[&str]; 15] = [
    audit::ALL,
    connections::ALL,
    connectors::ALL,
    flows::ALL,
    jobs::ALL,
    keys::ALL,
    limits::ALL,
    migrate::ALL,
    open::ALL,
    refresh::ALL,
    sessions::ALL,
    tallies::ALL,
    together::ALL,
    vault::ALL,
    walk::ALL,
];

#[tokio::test]
async fn every_statement_can_be_prepared() {
    let Some(schema) = Schema::new().await else { return };
    drop(open_store(&schema.url()).await);
    let client = connect(&schema.url()).await;
    for sql in SUBJECTS
        .concat()
        .into_iter()
        .map(str::to_owned)
        .chain(audit::every_list())
    {
        if let Err(error) = client.prepare(&sql).await {
            panic!("{sql}: {error:?}");
        }
    }
}

/// The plan that the server makes without knowing the parameters.
async fn plan(client: &Client, sql: &str) -> Vec<String> {
    let count = client.prepare(sql).await.expect("a statement").params().len();
    let nothing = vec!["NULL"; count].join(", ");
    let arguments = if count == 0 {
        String::new()
    } else {
        format!("({nothing})")
    };
    client
        .batch_execute(&format!("PREPARE planned AS {sql}"))
        .await
        .expect("prepared");
    let rows = client
        .query(&format!("EXPLAIN EXECUTE planned{arguments}"), &[])
        .await
        .expect("a plan");
    client.batch_execute("DEALLOCATE planned").await.expect("forgotten");
    rows.iter().map(|row| row.get(0)).collect()
}

/// The statements that run for each request or each sweep: work must not grow with the number of rows. The tables are
/// empty here, where a scan is the cheapest, so scans are made dear.
#[tokio::test]
async fn no_statement_but_the_lists_of_everything_scans_a_table() {
    let Some(schema) = Schema::new().await else { return };
    drop(open_store(&schema.url()).await);
    let client = connect(&schema.url()).await;
    client
        .batch_execute(
            "SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan",
        )
        .await
        .expect("settings");
    let of_everything = [
        "FROM api_key ORDER BY",
        "FROM vault",
        "FROM sealing_key",
        "FROM schema_migration",
        "setval",
        "FROM audit",
        "pg_catalog",
    ];
    for sql in SUBJECTS.concat() {
        if of_everything.iter().any(|part| sql.contains(part)) {
            continue;
        }
        for step in plan(&client, sql).await {
            assert!(!step.contains("Seq Scan"), "{sql}: {step}");
        }
    }
}

/// The server compiles a statement that it takes for dear, anew each time, which takes a hundred times as long as to run it.
/// It knows nothing of tables that are too small to be analysed and takes them for larger than they are.
#[tokio::test]
async fn no_statement_is_so_dear_that_the_server_compiles_it() {
    let Some(schema) = Schema::new().await else { return };
    drop(open_store(&schema.url()).await);
    let client = connect(&schema.url()).await;
    let limit: f64 = {
        let row = client.query_one("SHOW jit_above_cost", &[]).await.expect("a setting");
        row.get::<_, &str>(0).parse().expect("a cost")
    };
    client
        .batch_execute("SET plan_cache_mode = force_generic_plan")
        .await
        .expect("settings");
    for sql in SUBJECTS.concat() {
        let steps = plan(&client, sql).await;
        let cost = steps[0].split("..").nth(1).and_then(|rest| rest.split(' ').next());
        let cost: f64 = cost.expect("a cost").parse().expect("a number");
        assert!(cost < limit, "{sql}: {cost}");
    }
}

/// What is asked for in an order comes from an index in that order, so that a page costs a page.
#[tokio::test]
async fn no_page_is_sorted() {
    let Some(schema) = Schema::new().await else { return };
    drop(open_store(&schema.url()).await);
    let client = connect(&schema.url()).await;
    client
        .batch_execute(
            "SET enable_seqscan = off; SET enable_bitmapscan = off; SET plan_cache_mode = force_generic_plan",
        )
        .await
        .expect("settings");
    let pages: Vec<_> = SUBJECTS
        .concat()
        .into_iter()
        .filter(|sql| sql.starts_with("SELECT") && sql.contains("LIMIT"))
        .collect();
    assert!(pages.len() > 10);
    for sql in pages {
        for step in plan(&client, sql).await {
            assert!(!step.contains("Sort"), "{sql}: {step}");
        }
    }
}
