//! The same seed makes the same run, byte by byte: without that no seed is worth keeping.

use std::process::Command;

use valetkey_sim::harness;
use valetkey_sim::run::{Options, run};
use valetkey_sim::trace::Keep;

#[test]
fn a_seed_makes_the_same_run_twice() {
    let catalogue = harness::catalogue().expect("connector types");
    for seed in 0..40 {
        let keep = Keep::All;
        let once = run(Options { seed, keep, flaw: None }, &catalogue).expect("a run");
        let again = run(Options { seed, keep, flaw: None }, &catalogue).expect("a run");
        assert!(once.trace.lines().count() > 50, "seed {seed} does something");
        assert!(once.trace == again.trace, "seed {seed}");
        assert_eq!((once.digest, once.violations), (again.digest, again.violations));
    }
}

/// Another process has other addresses and other random keys of hash maps.
#[test]
fn a_seed_prints_the_same_bytes_in_another_process() {
    let print = |seed: &str| {
        let sim = env!("CARGO_BIN_EXE_sim");
        let output = Command::new(sim).args(["run", "--trace", "--seed", seed]).output();
        output.expect("a run").stdout
    };
    for seed in ["7", "8", "9"] {
        assert!(print(seed) == print(seed), "seed {seed}");
    }
    assert!(print("7") != print("8"));
}

#[test]
fn two_seeds_make_two_runs() {
    let catalogue = harness::catalogue().expect("connector types");
    let digests = (0..20).map(|seed| {
        let options = Options {
            seed,
            keep: Keep::Tail,
            flaw: None,
        };
        run(options, &catalogue).expect("a run").digest
    });
    let digests: std::collections::BTreeSet<_> = digests.collect();
    assert_eq!(digests.len(), 20);
}
