use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;
use valetkey_core::ProfileUid;

use super::*;

fn key(user: &str) -> ConnectionKey {
    ConnectionKey {
        space: SpaceId::default_space(),
        connector: ConnectorId::new("crm").expect("an id"),
        owner: Owner::User(ProfileUid::new(user).expect("a user")),
        name: ConnectionName::new("my \"account\" ü").expect("a name"),
    }
}

fn pair(user: &str, parent: i64, mark: u8) -> Rescue {
    Rescue {
        key: key(user),
        parent,
        // Sealed bytes may be anything, line ends included.
        sealed: Sealed(vec![b'\n', mark, 0, 255, b'\n']),
    }
}

fn open(dir: &TempDir) -> FileJournal {
    FileJournal::with_reserve(&dir.path().join("rescue"), 1_000).expect("a journal")
}

fn names(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir.path().join("rescue"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a name"))
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_is_kept_is_found_by_the_next_process() {
    let dir = tempfile::tempdir().expect("a directory");
    let pairs = [pair("ada", 7, 1), pair("ada", 8, 2), pair("bob", 7, 3)];
    let journal = open(&dir);
    for pair in &pairs {
        journal.keep(pair.clone()).await.expect("kept");
    }
    let found = open(&dir).kept().await.expect("read");
    assert_eq!((found.pairs.as_slice(), found.unreadable), (pairs.as_slice(), 0));
    journal.forget(&key("ada"), 8).await.expect("forgotten");
    journal.forget(&key("ada"), 8).await.expect("forgotten before");
    let left = open(&dir).kept().await.expect("read").pairs;
    assert_eq!(left, [pair("ada", 7, 1), pair("bob", 7, 3)]);
}

#[tokio::test]
async fn a_pair_of_the_same_generation_takes_the_place_of_the_one_before() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(&dir);
    journal.keep(pair("ada", 7, 1)).await.expect("kept");
    journal.keep(pair("ada", 7, 2)).await.expect("kept");
    assert_eq!(journal.kept().await.expect("read").pairs, [pair("ada", 7, 2)]);
}

#[tokio::test]
async fn nobody_else_can_read_it_and_names_say_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(&dir);
    journal.keep(pair("ada", 7, 1)).await.expect("kept");
    let rescue = dir.path().join("rescue");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&rescue), 0o700);
    for name in names(&dir) {
        assert_eq!(mode(&rescue.join(&name)), 0o600);
        assert!(!name.contains("ada") && !name.contains("crm"), "{name}");
    }
}

#[tokio::test]
async fn what_is_torn_or_strange_is_counted_and_left_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(&dir);
    journal.keep(pair("ada", 7, 1)).await.expect("kept");
    let rescue = dir.path().join("rescue");
    let whole = fs::read(rescue.join(file_name(&key("ada"), 7))).expect("read");
    for (at, length) in [0, 5, 18, 40].into_iter().enumerate() {
        fs::write(rescue.join(format!("torn-{at}.pair")), &whole[..length]).expect("written");
    }
    fs::write(rescue.join("half.pair.tmp"), &whole[..30]).expect("written");
    fs::write(rescue.join("notes.txt"), "an operator's").expect("written");
    let found = journal.kept().await.expect("read");
    assert_eq!((found.pairs.len(), found.unreadable), (1, 4));
    let left = names(&dir);
    assert!(left.contains(&"notes.txt".to_owned()) && left.contains(&"torn-0.pair".to_owned()));
    assert!(!left.contains(&"half.pair.tmp".to_owned()), "a write that never ended");
}

#[tokio::test]
async fn a_reserve_is_set_aside_given_up_once_and_set_aside_again() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(&dir);
    let reserve = dir.path().join("rescue/reserve");
    assert_eq!(fs::metadata(&reserve).expect("there").len(), 1_000);
    assert!(journal.0.give_up_reserve() && !reserve.exists());
    assert!(!journal.0.give_up_reserve(), "there is none left");
    journal.keep(pair("ada", 7, 1)).await.expect("kept");
    assert!(!reserve.exists());
    journal.forget(&key("ada"), 7).await.expect("forgotten");
    assert!(reserve.exists());
}

#[tokio::test]
async fn a_directory_that_is_gone_is_told() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = open(&dir);
    fs::remove_dir_all(dir.path().join("rescue")).expect("removed");
    let failed = journal.keep(pair("ada", 7, 1)).await.expect_err("nowhere");
    assert!(matches!(failed, JournalError::Unusable(_)), "{failed}");
    journal.kept().await.expect_err("nowhere");
}
