use super::*;

const LIFE: Duration = Duration::from_secs(100);

fn provider(family: usize) -> Provider {
    let (name, rotation, old_access_token_dies) = FAMILIES[family];
    Provider::new(Habits {
        name,
        rotation,
        old_access_token_dies,
        lifetime: LIFE,
        repeats_refresh_token: false,
        takes_spent_for_revocation: true,
    })
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn pair(verdict: Verdict) -> Pair {
    match verdict {
        Verdict::Granted { pair, .. } => pair,
        Verdict::Refused(code) => panic!("refused: {code}"),
    }
}

fn connected(family: usize) -> (Provider, Pair) {
    let mut provider = provider(family);
    let code = provider.consent("ada");
    let first = pair(provider.redeem(&code, at(0)));
    (provider, first)
}

fn refused(verdict: &Verdict) -> bool {
    *verdict == Verdict::Refused("invalid_grant")
}

#[test]
fn each_family_does_with_a_used_refresh_token_what_its_name_says() {
    // How often the first refresh token works in a row, soon and late, and whether the first access token survives.
    for (family, soon, late, old_access) in [
        (0, true, true, true),
        (1, true, true, true),
        (2, true, false, true),
        (3, true, true, true),
        (4, false, false, true),
        (5, false, false, false),
        (6, true, true, false),
        (7, false, false, false),
    ] {
        let name = FAMILIES[family].0;
        let (mut provider, first) = connected(family);
        let second = pair(provider.refresh(&first.refresh, at(1)));
        assert!(provider.accepts(&second.access, at(2)), "{name}");
        assert_eq!(
            !refused(&provider.refresh(&first.refresh, at(2))),
            soon,
            "{name}: soon again"
        );
        assert_eq!(
            provider.accepts(&first.access, at(3)),
            old_access,
            "{name}: the old access token"
        );
        assert_eq!(
            !refused(&provider.refresh(&first.refresh, at(700))),
            late,
            "{name}: late again"
        );
    }
}

#[test]
fn a_family_that_does_not_forgive_ends_with_its_live_access_token() {
    let (mut provider, first) = connected(5);
    let second = pair(provider.refresh(&first.refresh, at(1)));
    assert!(refused(&provider.refresh(&first.refresh, at(2))));
    assert!(!provider.accepts(&second.access, at(2)));
    assert!(refused(&provider.refresh(&second.refresh, at(2))));
    assert_eq!(provider.grant(0).death(), Some(Death::Reused));
}

#[test]
fn the_same_refresh_brings_the_same_pair_until_that_is_used() {
    let (mut provider, first) = connected(3);
    let second = pair(provider.refresh(&first.refresh, at(1)));
    let again = pair(provider.refresh(&first.refresh, at(11)));
    assert_eq!((&again.access, &again.refresh), (&second.access, &second.refresh));
    assert_eq!(again.lifetime, at(90));
    assert!(provider.call(&second.access, at(12)));
    assert!(refused(&provider.refresh(&first.refresh, at(13))));
    assert!(provider.honours(&second.refresh, at(13)));
}

#[test]
fn revoking_a_refresh_token_ends_everything_of_its_grant() {
    let (mut provider, first) = connected(4);
    let second = pair(provider.refresh(&first.refresh, at(1)));
    provider.revoke(&first.refresh, at(2));
    assert!(!provider.accepts(&second.access, at(2)) && !provider.honours(&second.refresh, at(2)));
}

#[test]
fn a_code_works_once_and_ends_what_it_brought_if_it_comes_again() {
    let mut provider = provider(0);
    let code = provider.consent("ada");
    let first = pair(provider.redeem(&code, at(0)));
    assert!(refused(&provider.redeem(&code, at(1))));
    assert!(!provider.accepts(&first.access, at(1)));
}
