use crate::support::{
    api::{Answer, client},
    browser::Browser,
    oidc::Oidc,
    s256,
};
use serde_json::json;
#[tokio::test]
async fn walker_walks_oidc() {
    let oidc = Oidc::start(
        &[("a", 5), ("b", 600)],
        &["http://127.0.0.1:9/_oauth_callback/x".to_owned()],
    )
    .await;
    let a = oidc.issuer("a");
    let v = "v".repeat(64);
    let start = format!(
        "{}/auth?client_id=client-of-the-tests&response_type=code&redirect_uri=http://127.0.0.1:9/_oauth_callback/x&state=st&scope=read+write&code_challenge_method=S256&code_challenge={}",
        a.url,
        s256(&v)
    );
    let cb = Browser::of("bob").walk(url::Url::parse(&start).unwrap()).await;
    let q: std::collections::BTreeMap<_, _> = cb.query_pairs().into_owned().collect();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &q["code"]),
        ("redirect_uri", "http://127.0.0.1:9/_oauth_callback/x"),
        ("code_verifier", &v),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let tok = Answer::to(
        client()
            .post(format!("{}/token", a.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .header(
                "authorization",
                crate::support::basic("client-of-the-tests", &a.client_secret),
            )
            .body(body),
    )
    .await
    .expect(200);
    eprintln!("{q:?} {tok}");
    let at = tok["access_token"].as_str().unwrap();
    let who = Answer::to(client().get(format!("{}/api/whoami", a.url)).bearer_auth(at))
        .await
        .expect(200);
    eprintln!("{who}");
    a.reject_access_tokens().await;
    Answer::to(client().get(format!("{}/api/whoami", a.url)).bearer_auth(at))
        .await
        .expect(401);
    eprintln!(
        "{} {} {:?}",
        a.count("grant authorization_code").await,
        a.count("api 401").await,
        a.forms("/token").await
    );
    let _ = json!({});
}
