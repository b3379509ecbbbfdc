//! What the simulation has found, each as a scene of its own: a few steps that show the same again. The seeds are kept as
//! well, at the end; what they stand for changes with everything that is drawn or asked once more.

use std::time::Duration;

use anyhow::Result;
use valetkey_sim::harness;
use valetkey_sim::plan::Plan;
use valetkey_sim::process::Blow;
use valetkey_sim::run::{Options, play, run};
use valetkey_sim::scene::Scene;
use valetkey_sim::trace::Keep;
use valetkey_sim::wire::Fate;
use valetkey_sim::world::StoreFate;

/// A scene in which callers alone bring refreshes about.
fn on_demand(family: &str, replicas: usize, life_s: u64) -> Plan {
    Plan {
        refreshes_ahead: false,
        ..looked_after(family, replicas, life_s)
    }
}

/// A scene with background work.
fn looked_after(family: &str, replicas: usize, life_s: u64) -> Plan {
    Plan::scene(family, replicas, Duration::from_secs(life_s))
}

/// Plays it; no rule may be broken.
fn holds<F>(plan: Plan, act: impl FnOnce(Scene) -> F)
where
    F: Future<Output = Result<Scene>>,
{
    let catalogue = harness::catalogue().expect("connector types");
    let violations = play(plan, &catalogue, act).expect("a scene");
    let texts: Vec<_> = violations.iter().map(ToString::to_string).collect();
    assert!(texts.is_empty(), "{}", texts.join("; "));
}

#[test]
fn b54_a_success_that_cannot_be_read_counts_as_a_lost_answer() {
    for fate in [Fate::Garbled, Fate::Gateway, Fate::LostAnswer] {
        holds(on_demand("single-use", 2, 60), |mut scene| async move {
            scene.pass(60.0).await;
            scene.wire_will(&[fate]);
            scene.ask(0);
            scene.pass(90.0).await;
            scene.ask(1);
            scene.pass(5.0).await;
            assert_eq!(scene.state(), "refresh_outcome_unknown", "{fate:?}");
            Ok(scene)
        });
    }
}

#[test]
fn b54_a_family_that_does_not_forgive_is_not_risked_while_its_access_token_works() {
    holds(looked_after("strict", 2, 600), |mut scene| async move {
        scene.pass(550.0).await;
        scene.wire_will(&[Fate::Gateway, Fate::Gateway]);
        scene.ask(0);
        for _ in 0..5 {
            scene.pass(8.0).await;
            scene.ask(1);
        }
        Ok(scene)
    });
}

#[test]
fn g39_a_lease_lasts_as_long_as_the_requests_under_it() {
    holds(on_demand("overlap", 2, 60), |mut scene| async move {
        scene.pass(60.0).await;
        scene.wire_will(&[Fate::LateAnswer, Fate::LateAnswer]);
        scene.ask(0);
        for _ in 0..20 {
            scene.pass(5.0).await;
            scene.ask(1);
        }
        Ok(scene)
    });
}

#[test]
fn g14_a_claim_and_a_commit_whose_acknowledgements_were_lost_are_recognised() {
    for operation in ["claim_refresh", "finish_refresh", "release_refresh"] {
        holds(on_demand("dying-single-use", 2, 60), |mut scene| async move {
            scene.pass(60.0).await;
            scene.store_will(operation, StoreFate::LosesAnswer);
            scene.ask(0);
            scene.pass(1.0).await;
            scene.ask(1);
            scene.pass(5.0).await;
            assert_eq!(scene.count("refresh Fine"), 1, "{operation}");
            Ok(scene)
        });
    }
}

#[test]
fn g37_a_process_that_stood_still_does_not_send_under_a_lease_that_ran_out() {
    holds(on_demand("single-use", 2, 60), |mut scene| async move {
        scene.pass(60.0).await;
        scene.store_will("claim_refresh", StoreFate::AnswersAfter(Duration::from_secs(1)));
        scene.ask(0);
        scene.pass(0.5).await;
        scene.befalls(0, Blow::Pause, 60.0);
        scene.pass(50.0).await;
        scene.ask(1);
        scene.pass(30.0).await;
        Ok(scene)
    });
}

#[test]
fn g20_a_pair_that_is_kept_on_disk_outlives_the_process() {
    holds(on_demand("single-use", 2, 60), |mut scene| async move {
        scene.pass(60.0).await;
        scene.ask(0);
        scene.pass_until_made("refresh Fine").await;
        scene.befalls(0, Blow::CutOff, 20.0);
        scene.pass(3.0).await;
        scene.befalls(0, Blow::Kill, 10.0);
        scene.pass(20.0).await;
        assert_eq!(
            (scene.state().as_str(), scene.count("start with kept pairs")),
            ("active", 1)
        );
        Ok(scene)
    });
}

/// Finding A: among rows of one generation the one that arrived last won, also if its read had begun first.
#[test]
fn a_read_that_was_slow_does_not_take_a_claim_back() {
    holds(on_demand("dying", 1, 100), |mut scene| async move {
        scene.pass(82.0).await;
        scene.store_will("get_connection", StoreFate::AnswersAfter(Duration::from_millis(50)));
        scene.wire_will(&[Fate::Slow]);
        scene.ask(0);
        scene.ask(0);
        scene.pass(0.2).await;
        scene.ask(0);
        scene.pass(40.0).await;
        Ok(scene)
    });
}

/// Findings A and B: what a slow read brings is as old as its beginning.
#[test]
fn g15_a_read_that_was_slow_does_not_outlive_a_disconnect() {
    holds(on_demand("none", 1, 600), |mut scene| async move {
        scene.pass(10.0).await;
        scene.store_will("get_connection", StoreFate::AnswersAfter(Duration::from_secs(2)));
        scene.ask(0);
        scene.pass(0.1).await;
        scene.disconnect(0);
        scene.pass(2.2).await;
        scene.ask(0);
        scene.pass(1.0).await;
        Ok(scene)
    });
}

/// Finding C: the time was taken before the wait.
#[test]
fn a_token_that_ended_during_the_wait_is_not_handed_out() {
    holds(on_demand("none", 1, 60), |mut scene| async move {
        scene.pass(60.0).await;
        scene.wire_will(&[Fate::Slow]);
        scene.ask(0);
        scene.pass(1.2).await;
        scene.store_will("get_connection", StoreFate::AnswersAfter(Duration::from_millis(300)));
        scene.ask(0);
        scene.pass(0.1).await;
        scene.befalls(0, Blow::Pause, 120.0);
        scene.pass(130.0).await;
        Ok(scene)
    });
}

/// Finding D: a lease that somebody took over, and a pair that was written late all the same.
#[test]
fn a_token_is_not_sent_again_once_a_late_pair_was_written() {
    for family in ["idempotent", "overlap", "leeway", "single-use"] {
        holds(on_demand(family, 2, 60), |mut scene| async move {
            scene.pass(60.0).await;
            scene.wire_will(&[Fate::Fine, Fate::LateRequest]);
            scene.ask(0);
            scene.pass_until_made("refresh Fine").await;
            scene.befalls(0, Blow::CutOff, 55.0);
            scene.pass(45.0).await;
            scene.ask(1);
            scene.pass(60.0).await;
            Ok(scene)
        });
    }
}

/// Finding E: the pair that somebody holds is used, which ends the token that it came from.
#[test]
fn a_pair_that_is_used_before_it_is_written_is_no_revocation() {
    holds(on_demand("idempotent", 2, 60), |mut scene| async move {
        scene.pass(60.0).await;
        scene.ask(0);
        scene.pass_until_made("refresh Fine").await;
        scene.befalls(0, Blow::CutOff, 100.0);
        scene.pass(10.0).await;
        assert!(scene.use_token("at-idempotent-0-1"), "r0 serves it from memory");
        scene.pass(35.0).await;
        scene.ask(1);
        scene.pass(5.0).await;
        Ok(scene)
    });
}

/// Finding G: nothing made the row due that a refresh before its time had left behind.
#[test]
fn g11_an_early_refresh_of_unknown_outcome_is_followed_up_within_the_leeway() {
    holds(looked_after("leeway", 2, 3_600), |mut scene| async move {
        scene.pass(60.0).await;
        scene.wire_will(&[Fate::Gateway, Fate::Gateway, Fate::Gateway]);
        scene.reject(0)?;
        scene.pass(900.0).await;
        Ok(scene)
    });
}

/// Finding G, where the process does not live to see the answer.
#[test]
fn g11_an_early_refresh_of_a_process_that_died_is_followed_up_within_the_leeway() {
    holds(looked_after("leeway", 2, 3_600), |mut scene| async move {
        scene.pass(60.0).await;
        scene.wire_will(&[Fate::LateAnswer]);
        scene.reject(0)?;
        scene.pass(1.0).await;
        scene.befalls(0, Blow::Kill, 10.0);
        scene.pass(900.0).await;
        Ok(scene)
    });
}

/// Finding H: whoever found the connection ended kept it in memory.
#[test]
fn g15_a_second_disconnect_leaves_nothing_in_memory() {
    let plan = Plan {
        cache_max_age: Duration::from_secs(5),
        ..on_demand("none", 2, 600)
    };
    holds(plan, |mut scene| async move {
        scene.pass(10.0).await;
        scene.ask(1);
        scene.pass(0.1).await;
        scene.disconnect(0);
        scene.pass(1.0).await;
        scene.disconnect(1);
        scene.pass(0.1).await;
        scene.ask(1);
        scene.pass(1.0).await;
        Ok(scene)
    });
}

/// Seeds that have shown something once.
#[test]
fn seeds_that_once_found_something_find_nothing() {
    const SEEDS: [u64; 40] = [
        2, 9, 13, 42, 70, 82, 97, 135, 151, 188, 206, 216, 338, 412, 444, 477, 498, 512, 587, 649, 666, 677, 897, 977,
        1014, 1097, 1127, 1609, 2014, 2482, 2705, 2753, 2906, 3572, 3831, 4024, 4398, 4525, 5336, 5898,
    ];
    let catalogue = harness::catalogue().expect("connector types");
    let mut broken = Vec::new();
    for seed in SEEDS {
        let options = Options {
            seed,
            keep: Keep::Tail,
            flaw: None,
        };
        let report = run(options, &catalogue).expect("a run");
        broken.extend(
            report
                .violations
                .iter()
                .map(|violation| format!("seed {seed}: {violation}")),
        );
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
