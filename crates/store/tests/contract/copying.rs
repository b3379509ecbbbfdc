//! Moving an installation: whole, taken up again, refused.

use valetkey_store::rows::{Record, Table};
use valetkey_store::{CopyError, copy};

use crate::Engine;
use crate::fixtures::{NOW, api_key, audit};
use crate::transfer::{fill, read_all};

pub(crate) async fn a_copy_has_everything_and_a_second_one_finds_nothing_to_do(engine: &dyn Engine) {
    let from = engine.open().await;
    fill(&*from).await;
    let place = engine.another().await;
    let to = place.open().await;
    let mut steps = 0;
    let first = copy(&*from, &*to, |_| steps += 1).await.expect("copied");
    assert!(
        first
            .iter()
            .all(|table| table.written == table.records && table.records > 0)
    );
    assert_eq!((first.len(), steps), (Table::ALL.len(), Table::ALL.len()));
    assert_eq!(read_all(&*to).await, read_all(&*from).await);
    let second = copy(&*from, &*to, |_| ()).await.expect("compared");
    assert!(second.iter().all(|table| table.written == 0));
    let records = |copied: &[valetkey_store::Copied]| copied.iter().map(|table| table.records).collect::<Vec<_>>();
    assert_eq!(records(&second), records(&first));
}

pub(crate) async fn a_copy_that_was_cut_off_is_taken_up_where_it_stopped(engine: &dyn Engine) {
    let from = engine.open().await;
    fill(&*from).await;
    let place = engine.another().await;
    let to = place.open().await;
    let begun = [(Table::Vault, 1), (Table::Key, 3), (Table::Connector, 1)];
    for (table, count) in begun {
        let records = from.export(table, None, count).await.expect("read");
        to.import(records).await.expect("written");
    }
    let copied = copy(&*from, &*to, |_| ()).await.expect("copied");
    assert_eq!(
        copied[..2].iter().map(|table| table.written).collect::<Vec<_>>(),
        [0, 0]
    );
    assert_eq!(copied[2].written + 1, copied[2].records);
    assert_eq!(read_all(&*to).await, read_all(&*from).await);
}

pub(crate) async fn a_copy_into_a_store_with_records_of_its_own_is_refused(engine: &dyn Engine) {
    for name in ["0 before all others", "b", "z behind all others"] {
        let from = engine.open().await;
        from.put_key(api_key("a", NOW), audit("key.create"))
            .await
            .expect("written");
        let place = engine.another().await;
        let to = place.open().await;
        let id = name.split(' ').next().expect("a word");
        let own = Record::Key(api_key(id, NOW));
        to.import(vec![own.clone()]).await.expect("written");
        let refused = copy(&*from, &*to, |_| ()).await.expect_err(name);
        assert!(matches!(refused, CopyError::Occupied(Table::Key)), "{name}: {refused}");
        let kept = to.export(Table::Key, None, 9).await.expect("read");
        assert!(kept.contains(&own), "{name}");
        from.delete_key(&api_key("a", NOW).id, audit("key.delete"))
            .await
            .expect("gone");
    }
}
