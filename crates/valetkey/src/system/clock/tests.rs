use super::fake::FakeSources;
use super::*;

const START: Timestamp = Timestamp(1_790_000_000_000);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const YEAR: Duration = Duration::from_secs(365 * 86_400);

#[test]
fn g32_g33_a_wall_clock_that_is_set_changes_nothing() {
    for span in [HOUR, YEAR] {
        for wall in [START.plus(span), START.minus(span)] {
            let sources = FakeSources::at(START);
            let clock = sources.clock();
            sources.pass(MINUTE);
            sources.set_wall(wall);
            sources.pass(MINUTE);
            assert_eq!(clock.now(), START.plus(2 * MINUTE));
            assert_eq!(clock.monotonic(), 2 * MINUTE);
            assert_eq!(clock.wall_ahead(), wall.0 - START.0 - 60_000, "it is told");
        }
    }
}

#[test]
fn a_wall_clock_before_1970_is_no_reason_to_stop() {
    let sources = FakeSources::at(Timestamp(-5_000));
    let clock = sources.clock();
    sources.pass(10 * SECOND);
    assert_eq!(clock.now(), Timestamp(5_000));
}

#[test]
fn the_time_that_a_machine_sleeps_counts() {
    let real = SystemClock::new();
    let (first, then) = (real.now(), real.monotonic());
    assert!(real.now() >= first && real.monotonic() >= then);
    assert!(real.wall_ahead().abs() < 10_000, "both were asked just now");
    let sources = FakeSources::at(START);
    let clock = sources.clock();
    sources.pass(9 * HOUR);
    assert_eq!((clock.now(), clock.monotonic()), (START.plus(9 * HOUR), 9 * HOUR));
}

#[test]
fn g34_replicas_whose_clocks_disagree_tell_the_stores_time() {
    let database = FakeSources::at(START);
    let nodes = [START.plus(10 * MINUTE), START.minus(10 * MINUTE), START.minus(YEAR)].map(FakeSources::at);
    let clocks = nodes.each_ref().map(FakeSources::clock);
    for (clock, node) in clocks.iter().zip(&nodes) {
        let asked_at = clock.monotonic();
        let told = database.wall();
        clock.anchor(told, asked_at);
        assert_eq!(clock.now(), START);
        assert_eq!(
            clock.wall_ahead(),
            node.wall().0 - START.0,
            "and how far they are off is told"
        );
    }
}

#[test]
fn the_time_between_question_and_answer_counts_half() {
    let sources = FakeSources::at(START);
    let clock = sources.clock();
    let asked_at = clock.monotonic();
    sources.pass(Duration::from_millis(200));
    assert_eq!(clock.correct(START.plus(2 * SECOND), asked_at), Correction::Made(1_900));
    assert_eq!(clock.now(), START.plus(Duration::from_millis(2_100)));
    let asked_at = clock.monotonic();
    sources.pass(2 * SECOND);
    assert_eq!(clock.correct(START, asked_at), Correction::TooSlow);
}

#[test]
fn small_differences_are_taken_over_and_may_add_up() {
    let sources = FakeSources::at(START);
    let clock = sources.clock();
    for n in 1..=10 {
        let told = START.plus(4 * MINUTE * n);
        assert_eq!(clock.correct(told, clock.monotonic()), Correction::Made(240_000));
        assert_eq!(clock.now(), told);
    }
    assert_eq!(
        clock.correct(START.plus(36 * MINUTE), clock.monotonic()),
        Correction::Made(-240_000)
    );
    assert_eq!(clock.monotonic(), Duration::ZERO, "no time has passed");
}

#[test]
fn g32_g33_a_store_whose_clock_jumps_is_not_believed() {
    let sources = FakeSources::at(START);
    let clock = sources.clock();
    clock.anchor(START, clock.monotonic());
    for span in [5 * MINUTE + SECOND, HOUR, YEAR] {
        for (told, sign) in [(START.plus(span), 1), (START.minus(span), -1)] {
            let off = sign * milliseconds(span);
            assert_eq!(clock.correct(told, clock.monotonic()), Correction::Refused(off));
            assert_eq!(clock.now(), START);
        }
    }
    sources.pass(MINUTE);
    assert_eq!(
        clock.correct(START.plus(MINUTE), clock.monotonic()),
        Correction::Made(0),
        "it is right again"
    );
}
