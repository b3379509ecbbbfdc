use valetkey_core::ConnectorTypeId;
use valetkey_store::rows::{Outcome, Subject, TallyRow};

use crate::Engine;
use crate::fixtures::{NOW, home, later, race, space};

fn tally(at: i64, subject: Subject, outcome: Outcome, count: i64) -> TallyRow {
    TallyRow {
        space: home(),
        at: later(at),
        subject,
        outcome,
        connector_type: ConnectorTypeId::new(".slack2").expect("a type id"),
        count,
    }
}

pub(crate) async fn counts_are_added_up_also_by_many_at_once(engine: &dyn Engine) {
    let store = engine.open().await;
    race(&store, 20, |store, number| async move {
        // The same rows in either order, and one of them twice.
        let mut rows = vec![
            tally(0, Subject::Use, Outcome::Ok, 1),
            tally(0, Subject::Refresh, Outcome::Failed, 2),
            tally(0, Subject::Use, Outcome::Ok, 1),
        ];
        if number % 2 == 0 {
            rows.reverse();
        }
        store.add_tallies(rows).await.expect("written");
    })
    .await;
    let list = store.list_tallies(&home(), NOW, later(1)).await.expect("a list");
    assert_eq!(
        list,
        [
            tally(0, Subject::Refresh, Outcome::Failed, 40),
            tally(0, Subject::Use, Outcome::Ok, 40)
        ]
    );
}

pub(crate) async fn counts_are_listed_by_time_and_of_one_space(engine: &dyn Engine) {
    let store = engine.open().await;
    let mut elsewhere = tally(1, Subject::Flow, Outcome::Ok, 7);
    elsewhere.space = space("other");
    let rows = [0, 1, 2, 3].map(|at| tally(at, Subject::Flow, Outcome::Ok, at + 1));
    let all = [&rows[..], &[elsewhere.clone()]].concat();
    store.add_tallies(all).await.expect("written");
    store.add_tallies(vec![]).await.expect("nothing to write");
    let list = store.list_tallies(&home(), later(1), later(3)).await.expect("a list");
    assert_eq!(list, rows[1..3]);
    let other = store.list_tallies(&space("other"), NOW, later(9)).await;
    assert_eq!(other.expect("a list"), [elsewhere]);
}

pub(crate) async fn old_counts_are_swept_and_no_more_than_asked(engine: &dyn Engine) {
    let store = engine.open().await;
    let rows = (0..5).map(|at| tally(at, Subject::Flow, Outcome::Ok, 1)).collect();
    store.add_tallies(rows).await.expect("written");
    assert_eq!(store.sweep_tallies(later(3), 2).await.expect("swept"), 2);
    assert_eq!(store.sweep_tallies(later(3), 2).await.expect("swept"), 1);
    assert_eq!(store.sweep_tallies(later(3), 2).await.expect("swept"), 0);
    let left = store.list_tallies(&home(), NOW, later(9)).await.expect("a list");
    assert_eq!(left.len(), 2);
}
