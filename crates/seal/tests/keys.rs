//! Master keys, wrapped keys, rings and key files. Named after the security cases.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use valetkey_core::Rng;
use valetkey_core::encode::{base64, base64url, hex};
use valetkey_core::fake::FakeRng;
use valetkey_seal::{Context, KeyRing, KeySource, MasterKey, SealError, WrappedKey};

const PLACE: Context<'static> = Context {
    space: "default",
    table: "connections",
    row: "slack/shared/default",
    column: "access_token",
    owner: "shared",
    generation: 1,
    binding: b"",
};

fn random(seed: u64) -> [u8; 32] {
    (&FakeRng::seeded(seed) as &dyn Rng).bytes()
}

fn master(seed: u64) -> MasterKey {
    MasterKey::from_bytes(&random(seed)).expect("a key")
}

/// A ring of one key, and the same after one rotation.
fn rotated(master: &MasterKey) -> (KeyRing, KeyRing, Vec<WrappedKey>) {
    let rng = FakeRng::seeded(10);
    let (before, first) = KeyRing::create(master, "d", &rng).expect("a ring");
    let mut keys = vec![first];
    keys.extend(before.next_key(&[master], &rng).expect("a key"));
    let after = KeyRing::open(master, "d", &keys).expect("opens");
    (before, after, keys)
}

#[test]
fn c14_a_record_does_not_open_under_another_key_of_the_ring() {
    let (before, after, _) = rotated(&master(1));
    let sealed = before.seal(&PLACE, b"token", &FakeRng::seeded(2)).expect("sealed");
    let mut renamed = sealed.clone();
    renamed[1..5].copy_from_slice(&2_u32.to_be_bytes());
    assert!(matches!(after.open_record(&PLACE, &renamed), Err(SealError::Integrity)));
    renamed[1..5].copy_from_slice(&3_u32.to_be_bytes());
    assert!(matches!(after.open_record(&PLACE, &renamed), Err(SealError::Integrity)));
}

#[test]
fn c15_after_a_rotation_old_records_open_and_new_ones_are_sealed_under_the_new_key() {
    let (before, after, _) = rotated(&master(1));
    let rng = FakeRng::seeded(2);
    let old = before.seal(&PLACE, b"token", &rng).expect("sealed");
    assert_eq!(after.open_record(&PLACE, &old).expect("opens").as_slice(), b"token");
    assert!(before.is_current(&old) && !after.is_current(&old));

    let new = after.seal(&PLACE, b"token", &rng).expect("sealed");
    assert_eq!(&new[1..5], 2_u32.to_be_bytes());
    assert!(after.is_current(&new) && after.holds_key_of(&new) && !before.holds_key_of(&new));
    assert!(matches!(before.open_record(&PLACE, &new), Err(SealError::Integrity)));
    assert!(!after.is_current(b"") && !after.holds_key_of(b""));
}

#[test]
fn the_master_key_can_be_exchanged_without_touching_a_record() {
    let (_, ring, _) = rotated(&master(1));
    let random = FakeRng::seeded(2);
    let sealed = ring.seal(&PLACE, b"token", &random).expect("sealed");
    let wrapped = ring.rewrap(&master(5), &random).expect("wrapped");
    let reopened = KeyRing::open(&master(5), "d", &wrapped).expect("opens");
    assert_eq!(
        reopened.open_record(&PLACE, &sealed).expect("opens").as_slice(),
        b"token"
    );
    assert_eq!(reopened.derive("api-keys"), ring.derive("api-keys"));
    assert!(matches!(
        KeyRing::open(&master(1), "d", &wrapped),
        Err(SealError::WrongMasterKey)
    ));
}

fn named(keys: &[WrappedKey], master: &str) -> Vec<WrappedKey> {
    let named = |key: &WrappedKey| WrappedKey {
        master: master.to_owned(),
        ..key.clone()
    };
    keys.iter().map(named).collect()
}

#[test]
fn c15_while_the_master_key_is_exchanged_the_ring_opens_with_either() {
    let (old, new, rng) = (master(1), master(5), FakeRng::seeded(2));
    let (_, ring, before) = rotated(&old);
    let mut keys = [before.clone(), ring.rewrap(&new, &rng).expect("wrapped")].concat();
    keys.extend(ring.next_key(&[&old, &new], &rng).expect("a key"));
    keys.reverse(); // the order tells nothing
    let [one, two] = [&old, &new].map(|master| KeyRing::open(master, "d", &keys).expect("opens"));
    assert_eq!((one.current(), two.current()), (3, 3));
    let sealed = one.seal(&PLACE, b"token", &rng).expect("sealed");
    assert_eq!(two.open_record(&PLACE, &sealed).expect("opens").as_slice(), b"token");

    // Keys of before have no name; they may stay so beside those that have one.
    let of_new: Vec<_> = keys.iter().filter(|key| key.master == new.id()).cloned().collect();
    let lacking = [named(&before, ""), of_new].concat();
    assert!(
        KeyRing::open(&old, "d", &lacking).is_err(),
        "key 3 is there for the other one only"
    );
    let unnamed = [named(&before, ""), keys].concat();
    KeyRing::open(&old, "d", &unnamed).expect("its own name comes first");
    KeyRing::open(&new, "d", &unnamed).expect("its own name comes first");
    KeyRing::open(&old, "d", &named(&before, "")).expect("trying tells");
}

#[test]
fn a_ring_that_lacks_one_of_its_keys_for_this_master_key_does_not_open() {
    let (old, new) = (master(1), master(5));
    let (_, ring, before) = rotated(&old);
    let rewrapped = ring.rewrap(&new, &FakeRng::seeded(2)).expect("wrapped");
    for keys in [
        rewrapped.clone(),
        [rewrapped.clone(), vec![before[0].clone()]].concat(),
        named(&rewrapped, ""),
        named(&rewrapped, old.id()),
    ] {
        let opened = KeyRing::open(&old, "d", &keys);
        assert!(matches!(opened, Err(SealError::WrongMasterKey)), "{opened:?}");
    }
}

#[test]
fn a_master_key_is_named_after_nothing_but_itself() {
    let again = MasterKey::parse(&hex(&random(1))).expect("a key");
    assert_eq!(master(1).id(), again.id());
    assert_ne!(master(1).id(), master(2).id());
    assert!(master(1).id().len() == 16 && master(1).id().bytes().all(|b| b.is_ascii_hexdigit()));
    assert!(!hex(&random(1)).contains(master(1).id()));
}

#[test]
fn c18_another_master_key_does_not_open_the_ring() {
    let (_, _, keys) = rotated(&master(1));
    let error = KeyRing::open(&master(2), "d", &keys).expect_err("refused");
    assert!(matches!(error, SealError::WrongMasterKey));
    assert_eq!(error.to_string(), "the master key does not open this store");
}

#[test]
fn wrapped_keys_cannot_be_moved_changed_or_given_twice() {
    let key = master(1);
    let (_, _, keys) = rotated(&key);
    let open = |deployment: &str, keys: &[WrappedKey]| KeyRing::open(&key, deployment, keys).map(|_| ());
    let [one, two] = keys.as_slice() else {
        panic!("two keys")
    };
    let numbered = |id: u32, key: &WrappedKey| WrappedKey { id, ..key.clone() };

    assert!(matches!(open("other", &keys), Err(SealError::Integrity)));
    assert!(matches!(
        open("d", &[numbered(1, two), numbered(2, one)]),
        Err(SealError::Integrity)
    ));
    assert!(matches!(open("d", &[one.clone(), one.clone()]), Err(SealError::NoKey)));
    assert!(matches!(open("d", &[]), Err(SealError::NoKey)));
    for length in 0..one.bytes.len() {
        let cut = WrappedKey {
            bytes: one.bytes[..length].to_vec(),
            ..one.clone()
        };
        assert!(matches!(open("d", &[cut]), Err(SealError::Integrity)));
    }
    for bit in 0..one.bytes.len() * 8 {
        let mut flipped = one.clone();
        flipped.bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(open("d", &[flipped]).is_err(), "bit {bit}");
    }
}

#[test]
fn c20_a_master_key_is_read_in_every_usual_spelling() {
    let bytes = random(4);
    let wrapped = master(4)
        .wrap(&[9; 32], b"context", &FakeRng::seeded(1))
        .expect("wrapped");
    let standard = base64(&bytes);
    let spellings = [
        standard.clone(),
        standard.trim_end_matches('=').to_owned(),
        base64url(&bytes),
        base64url(&bytes) + "=",
        hex(&bytes),
        hex(&bytes).to_uppercase(),
        format!("  {standard}\r\n"),
    ];
    for text in spellings {
        let key = MasterKey::parse(&text).expect("a key");
        assert_eq!(*key.unwrap(&wrapped, b"context").expect("the same key"), [9; 32]);
    }
}

#[test]
fn c20_weak_keys_are_refused() {
    let counting: Vec<u8> = (0..32).collect();
    let pattern = [0xde, 0xad, 0xbe, 0xef].repeat(8);
    let disguised = b"correct horse battery staple 123";
    for bytes in [&[0; 32], &[0xaa; 32], counting.as_slice(), &pattern, disguised] {
        for text in [base64(bytes), base64url(bytes), hex(bytes)] {
            assert!(matches!(MasterKey::parse(&text), Err(SealError::WeakKey(_))), "{text}");
        }
    }
    let good = random(4);
    let texts = [
        String::new(),
        "correct horse battery staple".to_owned(),
        "a sentence of exactly forty-three letters !".to_owned(),
        base64(&good[..16]),
        hex(&good[..16]),
        base64(&[good, good].concat()),
        format!("{}!", &base64(&good)[..42]),
        format!("+{}", &hex(&good)[1..]),
        base64(&good) + "=",
        "ü".repeat(32),
    ];
    for text in texts {
        let error = MasterKey::parse(&text).expect_err("refused");
        assert!(matches!(error, SealError::WeakKey(_)), "{text}");
        assert!(text.is_empty() || !error.to_string().contains(&text));
    }
    assert!(matches!(MasterKey::from_bytes(&good[..31]), Err(SealError::WeakKey(_))));
}

#[test]
fn c24_keys_for_other_uses_differ_from_each_other_and_from_all_keys_above_them() {
    let (one, two, _) = rotated(&master(1));
    assert_eq!(one.derive("api-keys"), two.derive("api-keys"));
    let other = KeyRing::create(&master(1), "d", &FakeRng::seeded(11))
        .expect("a ring")
        .0;
    let mut keys: Vec<_> = ["", "api-keys", "api-key", "links", "audit", "record"]
        .map(|l| *one.derive(l))
        .to_vec();
    keys.extend([*other.derive("api-keys"), random(1), random(10)]);
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 9);
}

#[test]
fn c29_debug_shows_no_key_and_no_plaintext() {
    let key = master(1);
    let (ring, wrapped) = KeyRing::create(&key, "d", &FakeRng::seeded(10)).expect("a ring");
    assert_eq!(format!("{key:?}"), format!("MasterKey({}, [redacted])", key.id()));
    assert_eq!(format!("{ring:?}"), r#"KeyRing { deployment: "d", keys: [1] }"#);
    // A wrapped key is stored in clear view; a context says where, never what.
    let shown = format!(
        "{wrapped:?} {PLACE:?} {:?}",
        MasterKey::parse("hunter2").expect_err("refused")
    );
    assert!(!shown.contains("hunter2") && !shown.contains(&format!("{:?}", random(10))));
}

#[test]
fn c19_a_key_file_is_made_once_for_its_owner_only_and_reads_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("master.key");
    let made = MasterKey::create_file(&path, &FakeRng::seeded(1)).expect("made");
    let wrapped = made.wrap(&[9; 32], b"", &FakeRng::seeded(2)).expect("wrapped");
    assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_to_string(&path).expect("text"), base64(&random(1)) + "\n");
    let read = MasterKey::read_file(&path).expect("read");
    assert_eq!(*read.unwrap(&wrapped, b"").expect("the same key"), [9; 32]);

    let again = MasterKey::create_file(&path, &FakeRng::seeded(3)).expect_err("it exists");
    assert!(matches!(again, SealError::KeyFile { .. }));
    assert_eq!(fs::read_to_string(&path).expect("text"), base64(&random(1)) + "\n");
}

#[test]
fn a_key_file_that_others_can_read_is_refused_with_the_remedy() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("master.key");
    MasterKey::create_file(&path, &FakeRng::seeded(1)).expect("made");
    for mode in [0o640, 0o604, 0o644, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("changed");
        let error = MasterKey::read_file(&path).expect_err("refused");
        assert!(matches!(error, SealError::KeyFileOpen(_)), "{mode:o}");
        assert!(error.to_string().contains(&format!("chmod 600 {}", path.display())));
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("changed");
    MasterKey::read_file(&path).expect("the owner may make it read-only");
}

#[test]
fn c19_a_missing_empty_or_oversized_key_file_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("master.key");
    assert!(matches!(MasterKey::read_file(&path), Err(SealError::KeyFile { .. })));
    for content in ["", "\n", &"a".repeat(10_000)] {
        fs::write(&path, content).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("changed");
        assert!(matches!(MasterKey::read_file(&path), Err(SealError::WeakKey(_))));
    }
    assert!(MasterKey::create_file(dir.path().join("no/such/directory"), &FakeRng::seeded(1)).is_err());
}
