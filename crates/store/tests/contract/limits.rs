use std::time::Duration;

use valetkey_core::Timestamp;
use valetkey_store::Store;

use crate::Engine;
use crate::fixtures::{NOW, race};

const HOUR: Duration = Duration::from_hours(1);

fn later(ms: i64) -> Timestamp {
    Timestamp(NOW.0 + ms)
}

async fn attempt(store: &dyn Store, limit: u32, now: Timestamp) -> Result<(), Duration> {
    store
        .take_limit("authorize", "ada", limit, HOUR, now)
        .await
        .expect("an answer")
}

pub(crate) async fn of_a_hundred_racing_attempts_ten_are_counted(engine: &dyn Engine) {
    let store = engine.open().await;
    let taken = race(&store, 100, |store, _| async move { attempt(&*store, 10, NOW).await }).await;
    assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 10);
    assert!(
        taken
            .iter()
            .filter_map(|taken| taken.as_ref().err())
            .all(|wait| *wait == HOUR)
    );
}

pub(crate) async fn the_window_slides(engine: &dyn Engine) {
    let store = engine.open().await;
    assert_eq!(attempt(&*store, 2, NOW).await, Ok(()));
    assert_eq!(attempt(&*store, 2, later(1_000)).await, Ok(()));
    assert_eq!(
        attempt(&*store, 2, later(10_000)).await,
        Err(Duration::from_secs(3_590))
    );
    assert_eq!(
        attempt(&*store, 2, later(3_599_999)).await,
        Err(Duration::from_millis(1))
    );
    assert_eq!(attempt(&*store, 2, later(3_600_000)).await, Ok(()));
    assert_eq!(attempt(&*store, 2, later(3_600_000)).await, Err(Duration::from_secs(1)));
}

pub(crate) async fn a_refused_attempt_is_not_counted(engine: &dyn Engine) {
    let store = engine.open().await;
    assert_eq!(attempt(&*store, 1, NOW).await, Ok(()));
    for second in 1..100 {
        assert!(attempt(&*store, 1, later(second * 1_000)).await.is_err());
    }
    assert_eq!(attempt(&*store, 1, later(3_600_000)).await, Ok(()));
}

pub(crate) async fn subjects_and_buckets_are_apart(engine: &dyn Engine) {
    let store = engine.open().await;
    for (bucket, subject) in [("authorize", "ada"), ("authorize", "bob"), ("callback", "ada")] {
        let first = store
            .take_limit(bucket, subject, 1, HOUR, NOW)
            .await
            .expect("an answer");
        assert_eq!(first, Ok(()), "{bucket} {subject}");
        let second = store
            .take_limit(bucket, subject, 1, HOUR, NOW)
            .await
            .expect("an answer");
        assert_eq!(second, Err(HOUR), "{bucket} {subject}");
    }
}

pub(crate) async fn a_limit_of_nothing_refuses_everything(engine: &dyn Engine) {
    let store = engine.open().await;
    assert_eq!(attempt(&*store, 0, NOW).await, Err(HOUR));
}

pub(crate) async fn attempts_survive_a_restart(engine: &dyn Engine) {
    let store = engine.open().await;
    assert_eq!(attempt(&*store, 1, NOW).await, Ok(()));
    drop(store);
    let store = engine.open().await;
    assert_eq!(
        attempt(&*store, 1, later(1)).await,
        Err(Duration::from_millis(3_599_999))
    );
}

pub(crate) async fn sweeping_attempts_removes_the_old_ones(engine: &dyn Engine) {
    let store = engine.open().await;
    for ms in 0..5 {
        assert_eq!(attempt(&*store, 100, later(ms)).await, Ok(()));
    }
    assert_eq!(store.sweep_limits(later(3), 2).await.expect("swept"), 2);
    assert_eq!(store.sweep_limits(later(3), 2).await.expect("swept"), 1);
    assert_eq!(store.sweep_limits(later(3), 2).await.expect("swept"), 0);
    assert_eq!(attempt(&*store, 3, later(5)).await, Ok(()));
    assert!(attempt(&*store, 3, later(5)).await.is_err());
}
