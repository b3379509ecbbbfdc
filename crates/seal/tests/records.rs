//! Sealed records in the hands of somebody who can write the database, and has no key. Named after the security cases.

use proptest::prelude::*;
use valetkey_core::fake::FakeRng;
use valetkey_seal::format::{MAX_PLAINTEXT, sealed_len};
use valetkey_seal::{Context, KeyRing, MasterKey, SealError};

const TOKEN: &[u8] = b"xoxb-canary-0123456789";

const PLACE: Context<'static> = Context {
    space: "acme",
    table: "connections",
    row: "slack/u_1/default",
    column: "access_token",
    owner: "u_1",
    generation: 7,
    binding: b"slack.com",
};

fn ring_of(deployment: &str) -> KeyRing {
    let rng = FakeRng::seeded(1);
    let master = MasterKey::from_bytes(&(&rng as &dyn valetkey_core::Rng).bytes::<32>()).expect("a key");
    KeyRing::create(&master, deployment, &rng).expect("a ring").0
}

fn ring() -> KeyRing {
    ring_of("deployment-1")
}

fn seal(context: &Context<'_>) -> Vec<u8> {
    ring().seal(context, TOKEN, &FakeRng::seeded(2)).expect("sealed")
}

fn refused(sealed: &[u8], context: &Context<'_>) -> bool {
    matches!(ring().open_record(context, sealed), Err(SealError::Integrity))
}

/// Sealed in its own place, presented in the other: refused, and the other way round.
fn does_not_move(other: &Context<'_>) {
    let (here, there) = (seal(&PLACE), seal(other));
    assert_eq!(ring().open_record(&PLACE, &here).expect("opens").as_slice(), TOKEN);
    assert_eq!(ring().open_record(other, &there).expect("opens").as_slice(), TOKEN);
    assert!(refused(&here, other));
    assert!(refused(&there, &PLACE));
}

#[test]
fn c01_a_value_does_not_open_in_another_row() {
    does_not_move(&Context {
        row: "slack/u_1/second",
        ..PLACE
    });
}

#[test]
fn c02_a_value_does_not_open_in_another_column() {
    does_not_move(&Context {
        column: "refresh_token",
        ..PLACE
    });
}

#[test]
fn c03_a_value_does_not_open_for_another_tenant_or_deployment() {
    does_not_move(&Context { space: "evil", ..PLACE });
    assert!(matches!(
        ring_of("deployment-2").open_record(&PLACE, &seal(&PLACE)),
        Err(SealError::Integrity)
    ));
}

#[test]
fn c04_a_value_does_not_open_for_another_owner() {
    does_not_move(&Context { owner: "u_2", ..PLACE });
    does_not_move(&Context {
        owner: "shared",
        ..PLACE
    });
}

#[test]
fn c05_a_value_does_not_open_in_another_table() {
    does_not_move(&Context {
        table: "connectors",
        ..PLACE
    });
}

#[test]
fn c06_a_value_does_not_open_when_the_addresses_it_may_go_to_changed() {
    does_not_move(&Context {
        binding: b"evil.example",
        ..PLACE
    });
    does_not_move(&Context { binding: b"", ..PLACE });
}

#[test]
fn c07_a_value_of_an_earlier_generation_does_not_open() {
    does_not_move(&Context { generation: 6, ..PLACE });
}

#[test]
fn characters_do_not_move_between_fields() {
    does_not_move(&Context {
        space: "acm",
        table: "econnections",
        ..PLACE
    });
    does_not_move(&Context {
        row: "slack/u_1/defaultaccess_",
        column: "token",
        ..PLACE
    });
}

#[test]
fn c08_what_was_planted_does_not_open() {
    let sealed = seal(&PLACE);
    for version in [0, 2, 0x7b, 0xff] {
        let mut other = sealed.clone();
        other[0] = version;
        assert!(refused(&other, &PLACE), "format {version}");
    }
    assert!(refused(b"", &PLACE));
    assert!(refused(br#"{"access_token":"xoxb-1","alg":"none"}"#, &PLACE));
    assert!(refused(&vec![0; sealed.len()], &PLACE));
    assert!(refused(
        &[vec![1, 0, 0, 0, 1], vec![0; sealed.len() - 5]].concat(),
        &PLACE
    ));
    assert!(refused(&vec![1; sealed_len(MAX_PLAINTEXT) + 64], &PLACE));
}

#[test]
fn c09_no_bit_can_be_changed() {
    let (ring, sealed) = (ring(), seal(&PLACE));
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let error = ring.open_record(&PLACE, &flipped).expect_err("refused");
        assert_eq!(error.to_string(), "a sealed value does not open", "bit {bit}");
    }
}

#[test]
fn c10_nothing_can_be_cut_off_or_added() {
    let (ring, sealed) = (ring(), seal(&PLACE));
    for length in 0..sealed.len() {
        assert!(
            matches!(ring.open_record(&PLACE, &sealed[..length]), Err(SealError::Integrity)),
            "{length} bytes"
        );
    }
    for extra in [1, 4, 8, 12, 16, 64] {
        assert!(refused(&[sealed.as_slice(), &vec![0; extra]].concat(), &PLACE));
    }
}

#[test]
fn c11_every_record_has_a_fresh_salt_even_from_a_generator_that_repeats_itself() {
    let (ring, random) = (ring(), FakeRng::seeded(3));
    let salt = |sealed: Vec<u8>| sealed[5..37].to_vec();
    let mut salts: Vec<_> = (0..1_000)
        .map(|_| salt(ring.seal(&PLACE, TOKEN, &random).expect("sealed")))
        .collect();
    // A machine that is restored twice from one snapshot draws the same bytes twice.
    for value in [b"one".as_slice(), b"two", b""] {
        salts.push(salt(ring.seal(&PLACE, value, &FakeRng::seeded(3)).expect("sealed")));
        let next = Context { generation: 8, ..PLACE };
        salts.push(salt(ring.seal(&next, value, &FakeRng::seeded(3)).expect("sealed")));
    }
    salts.sort_unstable();
    salts.dedup();
    assert_eq!(salts.len(), 1_006);
}

#[test]
fn c13_a_value_that_is_too_long_is_refused() {
    let (ring, random) = (ring(), FakeRng::seeded(2));
    let longest = vec![7; MAX_PLAINTEXT];
    let sealed = ring.seal(&PLACE, &longest, &random).expect("sealed");
    assert_eq!(ring.open_record(&PLACE, &sealed).expect("opens").as_slice(), longest);
    assert!(matches!(
        ring.seal(&PLACE, &vec![7; MAX_PLAINTEXT + 1], &random),
        Err(SealError::TooLong)
    ));
}

#[test]
fn c36_tokens_of_similar_length_have_the_same_length_sealed() {
    let (ring, random) = (ring(), FakeRng::seeded(2));
    let length = |n: usize| ring.seal(&PLACE, &vec![7; n], &random).expect("sealed").len();
    assert!((40..=60).all(|n| length(n) == sealed_len(60)));
    assert_eq!(length(61), sealed_len(61));
}

proptest! {
    #[test]
    fn every_value_comes_back(
        value in proptest::collection::vec(any::<u8>(), 0..400),
        texts in proptest::array::uniform5(".{0,20}"),
        generation: i64,
        binding in proptest::collection::vec(any::<u8>(), 0..40),
        seed: u64,
    ) {
        let [space, table, row, column, owner] = &texts;
        let context = Context { space, table, row, column, owner, generation, binding: &binding };
        let ring = ring();
        let sealed = ring.seal(&context, &value, &FakeRng::seeded(seed)).expect("sealed");
        prop_assert_eq!(sealed.len(), sealed_len(value.len()));
        let opened = ring.open_record(&context, &sealed).expect("opens");
        prop_assert_eq!(opened.as_slice(), &value);
    }

    #[test]
    fn c09_no_bytes_make_it_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400), front: bool
    ) {
        let sealed = if front { [&[1, 0, 0, 0, 1], bytes.as_slice()].concat() } else { bytes };
        prop_assert!(refused(&sealed, &PLACE));
    }
}
