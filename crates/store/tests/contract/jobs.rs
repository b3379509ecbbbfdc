use std::collections::BTreeSet;

use valetkey_core::{Owner, Timestamp};
use valetkey_store::Store;
use valetkey_store::rows::{Deletion, JobRow, Sealed};

use crate::Engine;
use crate::fixtures::{NOW, audit, connector, connector_id, home, job, key, later, race, records, space};

async fn put(store: &dyn Store, row: JobRow) -> bool {
    store.put_job(row).await.expect("an answer")
}

async fn claim(store: &dyn Store, now: Timestamp, until: Timestamp, limit: u32) -> Vec<JobRow> {
    store.claim_jobs(now, until, limit).await.expect("jobs")
}

async fn ids(store: &dyn Store, now: Timestamp, until: Timestamp, limit: u32) -> Vec<String> {
    let jobs = claim(store, now, until, limit).await;
    jobs.into_iter().map(|job| job.id).collect()
}

pub(crate) async fn a_job_is_claimed_as_it_was_written(engine: &dyn Engine) {
    let store = engine.open().await;
    let other = JobRow {
        key: key("notion", Owner::Shared, "Zweitkonto für Köln"),
        kind: "another".to_owned(),
        sealed: Sealed(vec![]),
        due_at: later(-1),
        attempts: 4,
        created_at: Timestamp(-1),
        ..job("other")
    };
    let rows = [other, job("one")];
    for row in &rows {
        assert!(put(&*store, row.clone()).await);
    }
    let claimed = rows.map(|row| JobRow {
        attempts: row.attempts + 1,
        due_at: later(60),
        ..row
    });
    assert_eq!(claim(&*store, NOW, later(60), 10).await, claimed);
    assert!(claim(&*store, later(59), later(100), 10).await.is_empty());
}

pub(crate) async fn an_id_of_a_job_is_used_once_in_a_space(engine: &dyn Engine) {
    let store = engine.open().await;
    assert!(put(&*store, job("one")).await);
    let again = JobRow {
        kind: "another".to_owned(),
        ..job("one")
    };
    assert!(!put(&*store, again.clone()).await);
    let mut elsewhere = again;
    elsewhere.key.space = space("other");
    elsewhere.due_at = later(1);
    assert!(put(&*store, elsewhere).await);
    let kinds: Vec<_> = claim(&*store, later(1), later(9), 10)
        .await
        .into_iter()
        .map(|job| job.kind)
        .collect();
    assert_eq!(kinds, ["revoke", "another"]);
}

pub(crate) async fn jobs_are_claimed_longest_due_first_and_no_more_than_asked(engine: &dyn Engine) {
    let store = engine.open().await;
    for (id, due_at) in [("c", -1), ("a", -3), ("d", 0), ("b", -2), ("soon", 1)] {
        let row = JobRow {
            due_at: later(due_at),
            ..job(id)
        };
        assert!(put(&*store, row).await);
    }
    assert!(ids(&*store, NOW, later(60), 0).await.is_empty());
    assert_eq!(ids(&*store, NOW, later(60), 3).await, ["a", "b", "c"]);
    assert_eq!(ids(&*store, NOW, later(60), 3).await, ["d"]);
    assert!(ids(&*store, NOW, later(60), 3).await.is_empty());
}

pub(crate) async fn of_racing_callers_one_gets_a_job(engine: &dyn Engine) {
    let store = engine.open().await;
    for number in 0..100 {
        assert!(put(&*store, job(&format!("job-{number}"))).await);
    }
    let claimed = race(&store, 30, |store, _| async move {
        ids(&*store, NOW, later(60_000), 7).await
    })
    .await;
    let all: Vec<_> = claimed.into_iter().flatten().collect();
    assert_eq!(all.len(), 100);
    assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 100);
}

pub(crate) async fn a_job_that_nobody_finished_comes_back(engine: &dyn Engine) {
    let store = engine.open().await;
    assert!(put(&*store, job("one")).await);
    for attempt in 1..4 {
        let now = later(60 * (attempt - 1));
        let claimed = JobRow {
            attempts: attempt,
            due_at: later(60 * attempt),
            ..job("one")
        };
        assert_eq!(claim(&*store, now, later(60 * attempt), 10).await, [claimed]);
    }
}

pub(crate) async fn a_postponed_job_is_due_when_it_was_said(engine: &dyn Engine) {
    let store = engine.open().await;
    assert!(put(&*store, job("one")).await);
    claim(&*store, NOW, later(60), 10).await;
    let postpone = async |space_id: &str, id: &str| {
        let set = store.postpone_job(&space(space_id), id, later(500)).await;
        set.expect("an answer")
    };
    assert!(!postpone("other", "one").await);
    assert!(!postpone("default", "two").await);
    assert!(postpone("default", "one").await);
    assert!(claim(&*store, later(499), later(600), 10).await.is_empty());
    let claimed = JobRow {
        attempts: 2,
        due_at: later(600),
        ..job("one")
    };
    assert_eq!(claim(&*store, later(500), later(600), 10).await, [claimed]);
}

pub(crate) async fn a_finished_job_is_gone_and_leaves_one_record(engine: &dyn Engine) {
    let store = engine.open().await;
    for id in ["one", "two"] {
        assert!(put(&*store, job(id)).await);
    }
    let finish = async |space_id: &str, id: &str| {
        let gone = store.finish_job(&space(space_id), id, audit("token.revoke")).await;
        gone.expect("an answer")
    };
    assert!(!finish("other", "one").await);
    assert_eq!(records(&*store, "token.revoke").await, 0);
    assert!(finish("default", "one").await);
    assert!(!finish("default", "one").await);
    assert_eq!(records(&*store, "token.revoke").await, 1);
    assert!(!store.postpone_job(&home(), "one", NOW).await.expect("an answer"));
    assert_eq!(ids(&*store, NOW, later(60), 10).await, ["two"]);
}

pub(crate) async fn a_job_outlives_its_connector_and_a_restart(engine: &dyn Engine) {
    let store = engine.open().await;
    let created = store.put_connector(connector("slack"), audit("connector.create"));
    assert!(created.await.expect("written"));
    assert!(put(&*store, job("one")).await);
    let (space, id) = (home(), connector_id("slack"));
    let deleted = store.delete_connector(&space, &id, audit("connector.delete"));
    assert_eq!(deleted.await.expect("removed"), Deletion::Done);
    drop(store);
    let store = engine.open().await;
    assert_eq!(ids(&*store, NOW, later(60), 10).await, ["one"]);
}
