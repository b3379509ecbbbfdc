//! `valetkey demo`, clicked through over HTTP as a person with a browser would.

use std::process::Stdio;
use std::time::Duration;

use reqwest::{Client, Response, Url};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// How long anything may take that is waited for.
const DEADLINE: Duration = Duration::from_secs(30);

/// The demo, running, and a browser.
struct Demo {
    process: Child,
    output: Lines<BufReader<ChildStdout>>,
    /// Where temporary files go.
    temporary: TempDir,
    page: String,
    server: String,
    sandbox: String,
    key: String,
    browser: Client,
}

impl Demo {
    async fn start(arguments: &[&str]) -> Self {
        Self::start_at("0", arguments).await
    }

    async fn start_at(port: &str, arguments: &[&str]) -> Self {
        let temporary = tempfile::tempdir().expect("a directory");
        let mut process = Command::new(env!("CARGO_BIN_EXE_valetkey"))
            .args(["demo", "--port", port])
            .args(arguments)
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the demo");
        let mut output = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut text = String::new();
        while !text.contains("Ctrl-C ends it") {
            let line = tokio::time::timeout(DEADLINE, output.next_line()).await;
            let line = line.expect("in time").expect("a line").expect("more lines");
            text.push_str(&line);
            text.push('\n');
        }
        let after = |label: &str| {
            let rest = text
                .split_once(label)
                .unwrap_or_else(|| panic!("no {label} in {text}"))
                .1;
            let word = rest.split_whitespace().next().expect("a word");
            word.trim_end_matches('/').to_owned()
        };
        Self {
            page: after("\n  open "),
            server: after("\n  server "),
            sandbox: after("\n  sandbox "),
            key: after(" KEY="),
            browser: Client::builder()
                .cookie_store(true)
                .timeout(DEADLINE)
                .build()
                .expect("a client"),
            process,
            output,
            temporary,
        }
    }

    async fn get(&self, url: &str) -> String {
        let response = self.browser.get(url).send().await.expect("an answer");
        response.text().await.expect("a text")
    }

    /// Sends a form of a page, and goes where it leads.
    async fn submit(&self, origin: &str, path: &str, fields: &[(&str, &str)]) -> Response {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self.browser.post(format!("{origin}{path}")).header("origin", origin);
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        request.send().await.expect("an answer")
    }

    async fn run(&self, fields: &[(&str, &str)]) -> String {
        let response = self.submit(&self.page, "/run", fields).await;
        response.text().await.expect("a page").replace("&#34;", "\"")
    }

    /// Clicks Connect, Continue, and Allow or Deny; returns where that ends.
    async fn connect(&self, person: &str, decision: &str) -> (Url, String) {
        let connect = self
            .submit(&self.page, "/connect", &[])
            .await
            .text()
            .await
            .expect("a page");
        assert!(
            connect.contains("Sandbox notes") && connect.contains("alice"),
            "{connect}"
        );
        let continue_url = attribute(&connect, "id=\"continue\"", "href");
        let consent = self.get(&continue_url).await;
        assert!(consent.contains("nothing here is real"), "{consent}");
        let request = attribute(&consent, "name=\"request\"", "value");
        let fields = [
            ("request", request.as_str()),
            ("person", person),
            ("decision", decision),
        ];
        let end = self.submit(&self.sandbox, "/consent", &fields).await;
        (end.url().clone(), end.text().await.expect("a page"))
    }

    async fn state(&self) -> Value {
        serde_json::from_str(&self.get(&format!("{}/state", self.page)).await).expect("JSON")
    }

    /// Looks at the state, as the page's script does, until it is as wanted.
    async fn wait_until(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let looks = async {
            loop {
                let state = self.state().await;
                if wanted(&state) {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let seen = tokio::time::timeout(DEADLINE, looks).await;
        seen.unwrap_or_else(|_| panic!("never {what}"))
    }

    async fn stop(mut self) {
        let id = self
            .process
            .id()
            .and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?));
        rustix::process::kill_process(id.expect("it runs"), rustix::process::Signal::TERM).expect("a signal");
        let ended = tokio::time::timeout(DEADLINE, self.process.wait()).await;
        assert!(ended.expect("in time").expect("an end").success());
        while let Ok(Some(_)) = self.output.next_line().await {}
        let left = std::fs::read_dir(self.temporary.path()).expect("a directory").count();
        assert_eq!(left, 0, "the data directory is removed");
    }
}

/// An attribute of the element that has `mark`.
fn attribute(html: &str, mark: &str, name: &str) -> String {
    let element = html
        .split('<')
        .find(|e| e.contains(mark))
        .unwrap_or_else(|| panic!("no {mark} in {html}"));
    let value = element.split_once(&format!(" {name}=\"")).expect("the attribute").1;
    let value = value.split('"').next().expect("a value");
    value.replace("&#38;", "&").replace("&amp;", "&")
}

#[tokio::test]
async fn a_person_connects_runs_an_action_watches_it_refresh_and_disconnects() {
    let demo = Demo::start(&["--token-lifetime", "2s"]).await;
    let (url, page) = demo.connect("grace", "allow").await;
    assert!(url.as_str().starts_with(&demo.page), "back at the application: {url}");
    assert!(
        url.query().is_some_and(|q| q.contains("oauth_authorization=success")),
        "{url}"
    );
    assert!(page.contains("The account is connected."), "{page}");

    let state = demo.state().await;
    assert_eq!(state["status"], "connected", "{state}");
    assert_eq!(state["account"], "Grace, grace@sandbox.example", "{state}");
    assert_eq!(state["scopes"], serde_json::json!(["notes.read", "notes.write"]));

    let page = demo.run(&[("text", "buy <milk>")]).await;
    assert!(page.contains("\"status\": 201"), "{page}");
    let page = demo.run(&[]).await;
    assert!(page.contains("\"text\": \"buy &#60;milk&#62;\""), "{page}");

    let state = demo
        .wait_until("renewed twice", |s| s["renewed"].as_u64() >= Some(2))
        .await;
    let tokens = state["tokens"].as_array().expect("fingerprints");
    assert!(
        tokens.len() >= 3 && tokens[0] != tokens[1] && tokens[1] != tokens[2],
        "{state}"
    );
    let page = demo.get(&demo.page).await;
    assert!(
        !page.contains("sandbox_access") && !page.contains(&demo.key),
        "no token and no key in a page"
    );
    let page = demo.run(&[]).await;
    assert!(page.contains("buy &#60;milk&#62;"), "the new token works: {page}");

    let page = demo
        .submit(&demo.page, "/disconnect", &[])
        .await
        .text()
        .await
        .expect("a page");
    assert!(page.contains("not connected"), "{page}");
    assert_eq!(demo.state().await["status"], "not_connected");
    let provider = demo.get(&demo.sandbox).await;
    assert!(
        provider.contains("ended") && !provider.contains("Take away"),
        "revoked at the provider: {provider}"
    );
    demo.stop().await;
}

#[tokio::test]
async fn what_goes_wrong_is_shown_with_its_reason() {
    let demo = Demo::start(&["--token-lifetime", "2s"]).await;
    let page = demo.run(&[]).await;
    assert!(
        page.contains("\"reason\": \"no_token\"") && page.contains("no account is connected"),
        "{page}"
    );

    let (_, page) = demo.connect("ada", "deny").await;
    assert!(
        page.contains("The account was not connected: access was not granted"),
        "{page}"
    );

    demo.connect("ada", "allow").await;
    let provider = demo
        .submit(&demo.sandbox, "/end", &[("grant", "0")])
        .await
        .text()
        .await
        .expect("a page");
    assert!(provider.contains("ended"), "{provider}");
    let state = demo.wait_until("told", |s| s["status"] == "reauthorize").await;
    assert_eq!(state["reason"], "token_revoked", "{state}");
    let page = demo.run(&[]).await;
    assert!(
        page.contains("\"reason\": \"token_revoked\"") && page.contains("Connect again"),
        "{page}"
    );

    demo.connect("ada", "allow").await;
    assert_eq!(demo.state().await["status"], "connected");
    demo.stop().await;
}

#[tokio::test]
async fn it_takes_other_ports_where_one_is_taken_and_keeps_a_directory_that_it_is_given() {
    let place = tempfile::tempdir().expect("a directory");
    let kept = place.path().join("kept");
    let kept = kept.to_str().expect("a path");
    let first = Demo::start(&["--data-dir", kept]).await;
    let port = first.server.rsplit(':').next().expect("a port");
    let second = Demo::start_at(port, &[]).await;
    assert_ne!(first.server, second.server);

    let refused = second
        .browser
        .post(format!("{}/connect", second.page))
        .header("origin", "https://evil.example");
    assert_eq!(refused.send().await.expect("an answer").status(), 403);
    second.stop().await;

    first.connect("ada", "allow").await;
    let key = first.key.clone();
    first.stop().await;
    let again = Demo::start(&["--data-dir", kept]).await;
    assert_eq!(again.key, key);
    // The sandbox forgets everything, and has other addresses now: the old connection must not be sent there.
    let state = again.state().await;
    assert_eq!(
        (&state["status"], &state["reason"]),
        (&"reauthorize".into(), &"connector_changed".into()),
        "{state}"
    );
    again.connect("ada", "allow").await;
    assert_eq!(again.state().await["status"], "connected");
    again.stop().await;
}
