//! The format, byte for byte: `vectors.json` was computed by another implementation (Python, `cryptography`) from the
//! description in `docs/sealing.md`, and never changes. A new format gets new vectors beside these.

use std::sync::Mutex;

use serde_json::Value;
use valetkey_core::Rng;
use valetkey_core::encode::hex;
use valetkey_seal::{Context, KeyRing, KeySource, MasterKey, WrappedKey};

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors.json")).expect("valid JSON")
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().expect("a text")
}

fn bytes(value: &Value, name: &str) -> Vec<u8> {
    let digits = text(value, name).as_bytes();
    let digit = |b: u8| u8::try_from(char::from(b).to_digit(16).expect("hexadecimal")).expect("small");
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn number(value: &Value, name: &str) -> u32 {
    value[name]
        .as_u64()
        .and_then(|n| n.try_into().ok())
        .expect("a key number")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().expect("a list")
}

/// Gives the bytes it was made of, in order, once.
#[derive(Debug)]
struct Script(Mutex<Vec<u8>>);

impl Script {
    fn new(parts: &[Vec<u8>]) -> Self {
        Self(Mutex::new(parts.concat()))
    }
}

impl Rng for Script {
    fn fill(&self, bytes: &mut [u8]) {
        let mut rest = self.0.lock().expect("not poisoned");
        bytes.copy_from_slice(&rest[..bytes.len()]);
        rest.drain(..bytes.len());
    }
}

fn wrapped(key: &Value, master: &str) -> WrappedKey {
    WrappedKey {
        id: number(key, "id"),
        master: master.to_owned(),
        bytes: bytes(key, "wrapped"),
    }
}

fn ring(vectors: &Value, upto: u32) -> KeyRing {
    let master = MasterKey::parse(text(vectors, "master_key")).expect("a key");
    let keys: Vec<WrappedKey> = list(vectors, "data_keys")
        .iter()
        .map(|key| wrapped(key, ""))
        .filter(|key| key.id <= upto)
        .collect();
    KeyRing::open(&master, text(vectors, "deployment"), &keys).expect("opens")
}

#[test]
fn data_keys_are_made_and_wrapped_as_in_the_vectors() {
    let vectors = vectors();
    let master = MasterKey::parse(text(&vectors, "master_key")).expect("a key");
    let [first, second] = list(&vectors, "data_keys") else {
        panic!("two keys")
    };

    let script = Script::new(&[
        bytes(first, "key"),
        bytes(first, "random"),
        bytes(second, "key"),
        bytes(second, "random"),
    ]);
    let (ring, made) = KeyRing::create(&master, text(&vectors, "deployment"), &script).expect("a ring");
    assert_eq!(made, wrapped(first, text(&vectors, "master_id")));
    let next = ring.next_key(&[&master], &script).expect("a key");
    assert_eq!(next, [wrapped(second, text(&vectors, "master_id"))]);

    let context = [
        &36_u64.to_be_bytes(),
        text(&vectors, "deployment").as_bytes(),
        &1_u32.to_be_bytes(),
    ]
    .concat();
    assert_eq!(
        master.unwrap(&made.bytes, &context).expect("opens").to_vec(),
        bytes(first, "key")
    );
}

#[test]
fn records_are_sealed_and_opened_as_in_the_vectors() {
    let vectors = vectors();
    for record in list(&vectors, "records") {
        let binding = bytes(record, "binding");
        let context = Context {
            space: text(record, "space"),
            table: text(record, "table"),
            row: text(record, "row"),
            column: text(record, "column"),
            owner: text(record, "owner"),
            generation: record["generation"].as_i64().expect("a number"),
            binding: &binding,
        };
        let plaintext = text(record, "plaintext").as_bytes();
        let script = Script::new(&[bytes(record, "random")]);
        let sealed = ring(&vectors, number(record, "key"))
            .seal(&context, plaintext, &script)
            .expect("sealed");
        assert_eq!(hex(&sealed), text(record, "sealed"), "{}", text(record, "name"));
        let opened = ring(&vectors, 2).open_record(&context, &sealed).expect("opens");
        assert_eq!(opened.as_slice(), plaintext);
    }
}

#[test]
fn derived_keys_are_those_of_the_vectors_and_stay_over_rotation() {
    let vectors = vectors();
    for derived in list(&vectors, "derived") {
        for upto in [1, 2] {
            assert_eq!(
                hex(&*ring(&vectors, upto).derive(text(derived, "label"))),
                text(derived, "key")
            );
        }
    }
}

#[test]
fn master_keys_are_named_and_exchanged_as_in_the_vectors() {
    let vectors = vectors();
    let other = &vectors["other_master"];
    let master = MasterKey::parse(text(&vectors, "master_key")).expect("a key");
    let next = MasterKey::parse(text(other, "key")).expect("a key");
    assert_eq!(
        (master.id(), next.id()),
        (text(&vectors, "master_id"), text(other, "id"))
    );

    let keys = list(other, "data_keys");
    let script = Script::new(&keys.iter().map(|key| bytes(key, "random")).collect::<Vec<_>>());
    let rewrapped = ring(&vectors, 2).rewrap(&next, &script).expect("wrapped");
    let expected: Vec<_> = keys.iter().map(|key| wrapped(key, next.id())).collect();
    assert_eq!(rewrapped, expected);
}
