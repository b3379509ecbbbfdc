//! An API that demands a stronger or a more recent sign-in.

use proptest::prelude::*;
use valetkey_oauth::{StepUp, read_step_up};

use crate::{answer_with, params};

fn read(challenges: &[&str]) -> Option<(Option<String>, Option<u64>)> {
    let headers: Vec<_> = challenges.iter().map(|text| ("www-authenticate", *text)).collect();
    let demand = read_step_up(&answer_with(401, &headers, ""))?;
    Some((demand.acr_values().map(str::to_owned), demand.max_age()))
}

#[test]
fn a54_the_demand_is_read_from_the_challenge() {
    let rfc = r#"Bearer error="insufficient_user_authentication", error_description="A different authentication level is required", acr_values="myACR""#;
    assert_eq!(read(&[rfc]), Some((Some("myACR".to_owned()), None)));
    let table = [
        r#"Bearer error="insufficient_user_authentication", acr_values="x y", max_age="5""#,
        r#"Bearer error="insufficient_user_authentication",acr_values="x y",max_age=5"#,
        r#"bearer  error = insufficient_user_authentication , ACR_VALUES="x\ y", Max_Age = "5" ,"#,
        r#"DPoP realm="a, b=\"c\"", error="insufficient_user_authentication", acr_values="x y", max_age=5"#,
        r#"Basic YWJj==, Negotiate, Bearer error="insufficient_user_authentication", acr_values="x y", max_age=5, Digest realm="d""#,
    ];
    let demand = Some((Some("x y".to_owned()), Some(5)));
    for text in table {
        assert_eq!(read(&[text]), demand, "{text}");
    }
    assert_eq!(read(&[r#"Basic realm="a""#, table[1]]), demand, "the second header");
    assert_eq!(read(&["Bearer \"", table[1]]), demand, "a broken header hides no other");
    assert_eq!(
        read(&[r#"Bearer error="insufficient_user_authentication""#]),
        Some((None, None))
    );
}

#[test]
fn a54_what_cannot_be_passed_on_is_left_out() {
    let values = ["", " x", "x  y", "\u{e4}", &"x".repeat(1025)];
    for value in values {
        let text = format!("Bearer error=insufficient_user_authentication, acr_values=\"{value}\", max_age=5");
        let expected = if value.is_ascii() { Some((None, Some(5))) } else { None };
        assert_eq!(read(&[&text]), expected, "{value:?}");
    }
    for age in ["-1", "five", "315360001", "99999999999999999999", "5.0"] {
        let text = format!("Bearer error=insufficient_user_authentication, acr_values=x, max_age=\"{age}\"");
        assert_eq!(read(&[&text]), Some((Some("x".to_owned()), None)), "{age}");
    }
}

#[test]
fn a54_anything_else_is_no_demand() {
    let table = [
        "",
        "Bearer",
        r#"Bearer error="invalid_token""#,
        r#"Bearer realm="error=insufficient_user_authentication""#,
        r#"Bearer realm="x, error=insufficient_user_authentication""#,
        r#"error="insufficient_user_authentication""#,
        r#"Bearer error="insufficient_user_authentication" acr_values="x""#,
        r#"Bearer error="insufficient_user_authentication", error="invalid_token""#,
        r#"Bearer error="insufficient_user_authentication"#,
        r#"Bearer error="insufficient_user_authentication\""#,
        r#"Be@rer error="insufficient_user_authentication""#,
    ];
    for text in table {
        assert_eq!(read(&[text]), None, "{text}");
    }
    let long = format!(
        r#"Bearer error="insufficient_user_authentication", realm="{}""#,
        "x".repeat(9000)
    );
    assert_eq!(read(&[&long]), None);
    let header = [("www-authenticate", r#"Bearer error="insufficient_user_authentication""#)];
    for status in [200, 400, 403, 407, 500] {
        assert_eq!(read_step_up(&answer_with(status, &header, "")), None, "{status}");
    }
}

#[test]
fn a54_a_demand_becomes_parameters_of_the_authorization_request() {
    let demand = StepUp::default()
        .with_acr_values("x y")
        .and_then(|d| d.with_max_age(0))
        .expect("a demand");
    assert_eq!(demand.params(), params(&[("acr_values", "x y"), ("max_age", "0")]));
    assert!(StepUp::default().params().is_empty());
    for bad in ["", " ", "x\ny", "x\u{7f}", "\u{e9}", &"x".repeat(1025)] {
        assert_eq!(StepUp::default().with_acr_values(bad), None, "{bad:?}");
    }
    assert_eq!(StepUp::default().with_max_age(u64::MAX), None);
}

proptest! {
    #[test]
    fn a54_no_challenge_breaks_the_reader(text in r"[ -~]{0,80}") {
        let _ = read(&[&text]);
        let _ = read(&[&format!("Bearer error=insufficient_user_authentication, {text}")]);
    }
}
