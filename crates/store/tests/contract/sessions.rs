use valetkey_store::Store;
use valetkey_store::rows::{Sealed, SessionRow, Standing};

use crate::Engine;
use crate::fixtures::{NOW, audit, confirmed_session, digest, key_id, later, race, records, session};

async fn put(store: &dyn Store, row: &SessionRow) {
    store
        .put_session(row.clone(), audit("session.start"))
        .await
        .expect("written");
}

async fn get(store: &dyn Store, number: u64) -> Option<SessionRow> {
    store.get_session(&digest(number)).await.expect("read")
}

pub(crate) async fn a_session_is_read_back_as_it_was_written(engine: &dyn Engine) {
    let store = engine.open().await;
    let full = session(1, "oidc-ada");
    let bare = SessionRow {
        profile_uid: None,
        privileges: None,
        spaces: vec![],
        ..session(2, "0123")
    };
    let confirmed = confirmed_session(4, "oidc-bob");
    for row in [&full, &bare, &confirmed] {
        put(&*store, row).await;
        assert_eq!(store.get_session(&row.hash).await.expect("read").as_ref(), Some(row));
    }
    let again = store.put_session(full.clone(), audit("session.start")).await;
    assert!(again.is_err(), "no secret is made twice");
    assert_eq!(get(&*store, 3).await, None);
    assert_eq!(records(&*store, "session.start").await, 3);
    drop(store);
    let store = engine.open().await;
    assert_eq!(get(&*store, 1).await, Some(full), "it survives a restart");
    assert_eq!(get(&*store, 4).await, Some(confirmed));
}

pub(crate) async fn a_use_of_a_session_is_noted_and_never_taken_back(engine: &dyn Engine) {
    let store = engine.open().await;
    put(&*store, &session(1, "ada")).await;
    put(&*store, &session(2, "ada")).await;
    for at in [later(60_000), later(1)] {
        store.touch_session(&digest(1), at).await.expect("noted");
    }
    store.touch_session(&digest(9), NOW).await.expect("passed over");
    let seen = SessionRow {
        seen_at: later(60_000),
        ..session(1, "ada")
    };
    assert_eq!(get(&*store, 1).await, Some(seen));
    assert_eq!(get(&*store, 2).await, Some(session(2, "ada")));
    assert_eq!(get(&*store, 9).await, None);
}

pub(crate) async fn of_all_that_would_ask_about_a_session_one_does(engine: &dyn Engine) {
    let store = engine.open().await;
    put(&*store, &confirmed_session(1, "ada")).await;
    put(&*store, &session(2, "ada")).await;
    let claim = |number, asks, at| {
        let store = store.clone();
        async move {
            let claimed = store.claim_ask(&digest(number), asks, later(at), later(at + 40)).await;
            claimed.expect("an answer")
        }
    };
    assert!(!claim(1, 2, 9).await, "somebody else's turn lasts");
    assert!(!claim(1, 1, 10).await, "somebody asked since");
    assert!(!claim(2, 2, 10).await, "there is nobody to ask");
    assert!(!claim(9, 2, 10).await);
    assert_eq!(get(&*store, 1).await, Some(confirmed_session(1, "ada")));
    let claimed = race(&store, 20, |store, _| async move {
        let claimed = store.claim_ask(&digest(1), 2, later(10), later(50)).await;
        claimed.expect("an answer")
    })
    .await;
    assert_eq!(claimed.into_iter().filter(|claimed| *claimed).count(), 1);
    let standing = get(&*store, 1).await.expect("a session").standing.expect("a standing");
    assert_eq!((standing.asks, standing.asked_until), (3, later(50)));
    assert!(claim(1, 3, 50).await, "a turn that is over keeps nobody away");
}

pub(crate) async fn a_session_is_renewed_by_whoever_asked_last(engine: &dyn Engine) {
    let store = engine.open().await;
    put(&*store, &confirmed_session(1, "ada")).await;
    store.touch_session(&digest(1), later(60_000)).await.expect("noted");
    let renewed = |asks| SessionRow {
        name: "Ada L.".to_owned(),
        privileges: Some(vec![]),
        spaces: vec!["default".to_owned()],
        standing: Some(Standing {
            sealed: Sealed(vec![8, 255]),
            confirmed_at: later(7),
            asks,
            asked_until: later(8),
        }),
        ..session(1, "ada")
    };
    let renew = |row, kind: Option<&'static str>| {
        let store = store.clone();
        async move { store.renew_session(row, kind.map(audit)).await.expect("an answer") }
    };
    assert!(!renew(renewed(1), Some("session.change")).await, "somebody asked since");
    assert!(
        !renew(session(1, "ada"), Some("session.change")).await,
        "a standing is not taken away"
    );
    assert!(renew(renewed(2), None).await);
    assert_eq!(records(&*store, "session.change").await, 0);
    let seen = SessionRow {
        seen_at: later(60_000),
        ..renewed(2)
    };
    assert_eq!(get(&*store, 1).await, Some(seen), "the last use stays as it was noted");
    assert!(renew(renewed(2), Some("session.change")).await);
    assert_eq!(records(&*store, "session.change").await, 1);
    let gone = SessionRow {
        hash: digest(9),
        ..renewed(2)
    };
    assert!(!renew(gone, Some("session.change")).await);
    assert_eq!(get(&*store, 9).await, None, "what was ended does not come back");
    assert_eq!(records(&*store, "session.change").await, 1);
}

pub(crate) async fn a_session_that_was_ended_is_gone(engine: &dyn Engine) {
    let store = engine.open().await;
    put(&*store, &session(1, "ada")).await;
    put(&*store, &session(2, "ada")).await;
    let hash = digest(1);
    let end = || store.delete_session(&hash, audit("session.end"));
    assert!(end().await.expect("removed"));
    assert!(!end().await.expect("nothing to remove"));
    assert_eq!(get(&*store, 1).await, None);
    assert_eq!(get(&*store, 2).await, Some(session(2, "ada")));
    assert_eq!(records(&*store, "session.end").await, 1);
}

pub(crate) async fn all_sessions_of_a_person_end_at_once(engine: &dyn Engine) {
    let store = engine.open().await;
    for (number, person) in [(1, "ada"), (2, "ada"), (3, "bob")] {
        put(&*store, &session(number, person)).await;
    }
    let end = |person| {
        let (store, person) = (store.clone(), key_id(person));
        async move { store.delete_sessions_of(&person, audit("session.end")).await }
    };
    assert_eq!(end("ada").await.expect("removed"), 2);
    assert_eq!(end("ada").await.expect("nothing to remove"), 0);
    assert_eq!(get(&*store, 1).await, None);
    assert_eq!(get(&*store, 3).await, Some(session(3, "bob")));
    assert_eq!(records(&*store, "session.end").await, 1, "one record for all of them");
}

pub(crate) async fn a_link_signs_in_once(engine: &dyn Engine) {
    let store = engine.open().await;
    for number in [1, 2] {
        store
            .put_sign_in_link(digest(number), later(10), audit("session.link"))
            .await
            .expect("written");
    }
    let take = |number, at| {
        let store = store.clone();
        async move { store.take_sign_in_link(&digest(number), at).await.expect("an answer") }
    };
    assert!(take(1, later(9)).await);
    assert!(!take(1, later(9)).await);
    assert!(!take(2, later(10)).await, "it has ended");
    assert!(!take(2, NOW).await, "what was tried too late is gone");
    assert!(!take(3, NOW).await);
    assert_eq!(records(&*store, "session.link").await, 2);
}

pub(crate) async fn of_racing_browsers_one_takes_a_link(engine: &dyn Engine) {
    let store = engine.open().await;
    store
        .put_sign_in_link(digest(1), later(10), audit("session.link"))
        .await
        .expect("written");
    let taken = race(&store, 20, |store, _| async move {
        store.take_sign_in_link(&digest(1), NOW).await.expect("an answer")
    })
    .await;
    assert_eq!(taken.into_iter().filter(|taken| *taken).count(), 1);
}

pub(crate) async fn sweeping_removes_sessions_and_links_that_ended(engine: &dyn Engine) {
    let store = engine.open().await;
    for number in 1..=4_u64 {
        let end = later(i64::try_from(number).expect("small"));
        let row = SessionRow {
            expires_at: end,
            ..session(number, "ada")
        };
        put(&*store, &row).await;
        store
            .put_sign_in_link(digest(number), end, audit("session.link"))
            .await
            .expect("written");
    }
    let sweep = |limit| store.sweep_sessions(later(4), limit);
    assert_eq!(sweep(2).await.expect("swept"), 4);
    assert!(get(&*store, 2).await.is_none() && get(&*store, 3).await.is_some());
    assert_eq!(sweep(9).await.expect("swept"), 2);
    assert_eq!(sweep(9).await.expect("swept"), 0);
    assert!(get(&*store, 4).await.is_some());
    assert!(store.take_sign_in_link(&digest(4), NOW).await.expect("an answer"));
}
