use valetkey_core::fake::FakeRng;

use super::super::PEOPLE;
use super::*;

const CALLBACK: &str = "http://127.0.0.1:7420/callback";
const VERIFIER: &str = "a-verifier-that-is-at-least-43-characters-long";
const START: Timestamp = Timestamp(1_790_000_000_000);
const LIFETIME: Duration = Duration::from_secs(60);

fn after(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

fn ledger() -> Ledger {
    Ledger::new(Arc::new(FakeRng::seeded(1)), LIFETIME)
}

fn code(ledger: &mut Ledger) -> String {
    let asked = Asked {
        redirect_uri: CALLBACK.to_owned(),
        state: None,
        challenge: challenge_of(VERIFIER),
        scopes: vec!["notes.read"],
    };
    let id = ledger.ask(asked, START);
    let asked = ledger.take(&id, START).expect("it waits");
    assert!(ledger.take(&id, START).is_none(), "a person decides once");
    ledger.allow(asked, &PEOPLE[0], START)
}

fn connected() -> (Ledger, Pair) {
    let mut ledger = ledger();
    let code = code(&mut ledger);
    let pair = ledger.redeem(&code, CALLBACK, VERIFIER, START).expect("a pair");
    (ledger, pair)
}

#[test]
fn the_challenge_is_the_one_of_rfc_7636() {
    // RFC 7636 appendix B.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    assert_eq!(challenge_of(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
}

#[test]
fn an_access_token_lives_as_long_as_it_says() {
    let (ledger, pair) = connected();
    assert_eq!(
        ledger.grant_of(&pair.access, after(59)).map(|g| g.person.id),
        Some("ada")
    );
    assert!(ledger.grant_of(&pair.access, after(60)).is_none());
    assert!(
        ledger.grant_of(&pair.refresh, START).is_none(),
        "a refresh token opens no API"
    );
}

#[test]
fn a_code_that_comes_twice_ends_what_came_of_it() {
    let mut ledger = ledger();
    let code = code(&mut ledger);
    let pair = ledger.redeem(&code, CALLBACK, VERIFIER, START).expect("a pair");
    assert_eq!(
        ledger.redeem(&code, CALLBACK, VERIFIER, START).unwrap_err(),
        "the code was used before"
    );
    assert!(ledger.grant_of(&pair.access, START).is_none());
    assert!(ledger.renew(&pair.refresh, START).is_err());
}

#[test]
fn a_code_is_bound_to_its_verifier_its_redirect_uri_and_its_minute() {
    for (uri, verifier, seconds) in [
        (CALLBACK, "another-verifier", 0),
        ("http://127.0.0.1:7420/elsewhere", VERIFIER, 0),
        (CALLBACK, VERIFIER, 60),
    ] {
        let mut ledger = ledger();
        let code = code(&mut ledger);
        assert!(ledger.redeem(&code, uri, verifier, after(seconds)).is_err());
        assert!(
            ledger.redeem(&code, CALLBACK, VERIFIER, START).is_err(),
            "a failed attempt spends it"
        );
    }
}

#[test]
fn a_refresh_token_rotates_and_its_reuse_ends_the_grant() {
    let (mut ledger, first) = connected();
    let second = ledger.renew(&first.refresh, after(50)).expect("a second pair");
    assert_ne!(first.refresh, second.refresh);
    assert_eq!(ledger.grants()[0].renewed, 1);
    assert!(ledger.renew(&first.refresh, after(51)).is_err());
    assert!(ledger.grants()[0].ended);
    assert!(ledger.grant_of(&second.access, after(51)).is_none());
    assert_eq!(
        ledger.renew(&second.refresh, after(51)).unwrap_err(),
        "the grant has ended"
    );
}

#[test]
fn revoking_a_refresh_token_ends_the_grant_and_an_access_token_only_itself() {
    let (mut ledger, pair) = connected();
    ledger.revoke("unknown");
    ledger.revoke(&pair.access);
    assert!(ledger.grant_of(&pair.access, START).is_none());
    let pair = ledger.renew(&pair.refresh, START).expect("the grant lives");
    ledger.revoke(&pair.refresh);
    assert!(ledger.grants()[0].ended);
}
