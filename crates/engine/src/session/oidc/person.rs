//! From an ID token to a person of ours: who it is, and what the provider's roles allow here.

use aws_lc_rs::digest;
use serde_json::{Map, Value};
use valetkey_core::encode::hex;
use valetkey_core::{ErrorCode, KeyId, Privilege, ProfileUid};
use valetkey_oauth::id_token::IdToken;

use crate::error::{Error, Result};
use crate::session::Person;
use crate::session::standing::PERSON_PREFIX;
use crate::settings::OidcSettings;

/// What a person with a role for users may do.
const USER: [Privilege; 3] = [
    Privilege::ConnectorsRead,
    Privilege::ConnectorsExecute,
    Privilege::OauthConnect,
];

/// The longest name that is kept.
const MAX_NAME: usize = 100;

/// Who an ID token is about. Refuses whom the provider gives no role here.
pub(super) fn person(oidc: &OidcSettings, id: &IdToken) -> Result<Person> {
    let roles = roles(&id.claims, &oidc.roles_claim);
    let has = |wanted: &[String]| wanted.iter().any(|w| w == "*" || roles.contains(&w.as_str()));
    let (privileges, spaces) = if has(&oidc.admin_roles) {
        (vec![Privilege::Admin], vec!["*".to_owned()])
    } else if has(&oidc.user_roles) {
        (USER.to_vec(), oidc.user_spaces.clone())
    } else {
        return Err(Error::new(
            ErrorCode::SignInNotAllowed,
            "the identity provider gives you no role here; ask an administrator",
        ));
    };
    let uid = uid(&oidc.issuer, &id.subject);
    Ok(Person {
        id: KeyId::new(uid.as_str()).map_err(Error::internal)?,
        name: name(id),
        profile_uid: Some(ProfileUid::new(uid).map_err(Error::internal)?),
        privileges: Some(privileges),
        spaces,
        until: None,
        credential: None,
    })
}

/// The pair of issuer and subject, shortened. No issuer has the separator in it.
fn uid(issuer: &str, subject: &str) -> String {
    let hash = digest::digest(&digest::SHA256, format!("{issuer}\n{subject}").as_bytes());
    format!("{PERSON_PREFIX}{}", hex(&hash.as_ref()[..16]))
}

/// The roles: a text or a list of texts, in a member of this name, or below members joined by dots.
fn roles<'a>(claims: &'a Map<String, Value>, claim: &str) -> Vec<&'a str> {
    let below = || {
        let mut parts = claim.split('.');
        let first = claims.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    };
    match claims.get(claim).or_else(below) {
        Some(Value::String(role)) => vec![role],
        Some(Value::Array(roles)) => roles.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A name for people. An e-mail address that the provider does not vouch for is none.
fn name(id: &IdToken) -> String {
    let text = |claim: &str| id.claims.get(claim).and_then(Value::as_str);
    let is_verified = id.claims.get("email_verified") == Some(&Value::Bool(true));
    let name = text("name")
        .or_else(|| text("preferred_username"))
        .or_else(|| text("email").filter(|_| is_verified))
        .unwrap_or(&id.subject);
    name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn settings() -> OidcSettings {
        OidcSettings {
            issuer: "https://id.example.com".to_owned(),
            client_id: "valetkey".to_owned(),
            client_secret: None,
            name: "Example".to_owned(),
            scope: "openid".to_owned(),
            roles_claim: "realm_access.roles".to_owned(),
            admin_roles: vec!["vk-admin".to_owned()],
            user_roles: vec!["vk-user".to_owned()],
            user_spaces: vec!["default".to_owned()],
            recheck: std::time::Duration::from_secs(300),
        }
    }

    fn token(claims: Value) -> IdToken {
        let Value::Object(claims) = claims else {
            panic!("{claims}")
        };
        IdToken {
            subject: "s-1".to_owned(),
            claims,
        }
    }

    #[test]
    fn d37_a_person_is_issuer_and_subject_and_no_address() {
        let verified = token(json!({"email": "ada@example.com", "email_verified": true}));
        let unverified = token(json!({"email": "ada@example.com", "email_verified": "true"}));
        assert_eq!(name(&verified), "ada@example.com");
        assert_eq!(name(&unverified), "s-1");
        let here = uid("https://id.example.com", "s-1");
        assert_ne!(here, uid("https://id.example.com", "s-2"));
        assert_ne!(here, uid("https://other.example.com", "s-1"));
        assert!(KeyId::new(here).is_ok());
    }

    #[test]
    fn roles_give_privileges_and_without_one_nobody_comes_in() {
        let with = |roles: Value| token(json!({"realm_access": {"roles": roles}}));
        let admin = person(&settings(), &with(json!(["vk-user", "vk-admin"]))).expect("a person");
        assert_eq!(admin.privileges, Some(vec![Privilege::Admin]));
        let user = person(&settings(), &with(json!("vk-user"))).expect("a person");
        assert_eq!(
            (user.privileges, user.spaces),
            (Some(USER.to_vec()), vec!["default".to_owned()])
        );
        for roles in [json!([]), json!(["other"]), json!(7), json!({"vk-admin": true})] {
            let refused = person(&settings(), &with(roles)).map(|_| ()).expect_err("nobody");
            assert_eq!(refused.code, ErrorCode::SignInNotAllowed);
        }
        let everybody = OidcSettings {
            user_roles: vec!["*".to_owned()],
            ..settings()
        };
        assert!(person(&everybody, &token(json!({}))).is_ok());
    }

    #[test]
    fn a_claim_may_have_dots_in_its_name() {
        let claims = token(json!({"https://app.example.com/roles": ["a"]})).claims;
        assert_eq!(roles(&claims, "https://app.example.com/roles"), ["a"]);
    }
}
