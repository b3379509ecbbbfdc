//! A browser without a screen: cookies, redirects one by one, links and forms. It never runs scripts.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder};
use url::Url;

use super::api::{Answer, client};
use super::html;
use super::wait::within;

/// How many pages and redirects a walk may have.
const MAX_STEPS: usize = 20;

/// One browser, with the cookies of each host. As in real ones, ports share them.
#[derive(Clone)]
pub(crate) struct Browser {
    http: Client,
    pub(crate) cookies: BTreeMap<String, BTreeMap<String, String>>,
    /// Whom login pages are told.
    account: String,
}

/// What the browser shows, or the redirect that it was told to follow.
pub(crate) struct Page {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Browser {
    pub(crate) fn new() -> Self {
        Self {
            http: client(),
            cookies: BTreeMap::new(),
            account: "alice".to_owned(),
        }
    }

    /// A browser whose owner logs in under this name.
    pub(crate) fn of(account: &str) -> Self {
        Self {
            account: account.to_owned(),
            ..Self::new()
        }
    }

    /// Opens one page; follows nothing.
    pub(crate) async fn open(&mut self, url: &str) -> Page {
        self.visit(Method::GET, Url::parse(url).expect("a URL"), &[], None)
            .await
    }

    /// Opens one page with more headers.
    pub(crate) async fn open_with(&mut self, method: Method, url: &str, headers: &[(&str, &str)]) -> Page {
        self.visit(method, Url::parse(url).expect("a URL"), headers, None).await
    }

    /// From the connect page to the provider, through login and consent, and on to where the provider sends the browser
    /// back: that URL, not yet visited.
    pub(crate) async fn authorize(&mut self, start: &str) -> Url {
        let page = self.open(start).await;
        assert!(
            page.status == 200 || page.is_redirect(),
            "no connect page: {} {}",
            page.status,
            page.text()
        );
        let next = page.location().unwrap_or_else(|| page.link("continue"));
        self.walk(next).await
    }

    /// Through the provider's pages to the callback.
    pub(crate) async fn walk(&mut self, start: Url) -> Url {
        let mut page = self.visit(Method::GET, start, &[], None).await;
        for _ in 0..MAX_STEPS {
            page = if let Some(next) = page.location() {
                if next.path().contains("/_oauth_callback") || next.path().ends_with("/oidc/callback") {
                    return next;
                }
                self.visit(Method::GET, next, &[], None).await
            } else {
                let stuck = || format!("stuck at {} ({}): {}", page.url, page.status, page.text());
                let form =
                    html::first_form(&page.body, |name| self.fill(name)).unwrap_or_else(|| panic!("{}", stuck()));
                let action = page.url.join(&form.action).expect("a URL");
                self.visit(Method::POST, action, &[], Some(&form.fields)).await
            };
        }
        panic!("no callback after {MAX_STEPS} steps, at {}", page.url)
    }

    /// The whole flow, as a person clicks it; returns the page that the callback answers with.
    pub(crate) async fn connect(&mut self, start: &str) -> Page {
        let callback = self.authorize(start).await;
        self.open(callback.as_str()).await
    }

    /// Opens a page that never comes, because the server ends on the way.
    pub(crate) async fn open_in_vain(&mut self, url: &str) {
        let request = self.request(Method::GET, Url::parse(url).expect("a URL"), &[], None);
        let answer = within("the end of a connection", request.send()).await;
        assert!(answer.is_err(), "there was an answer: {answer:?}");
    }

    fn fill(&self, field: &str) -> Option<String> {
        match field {
            "login" => Some(self.account.clone()),
            "password" => Some("any".to_owned()),
            _ => None,
        }
    }

    fn request(
        &mut self,
        method: Method,
        url: Url,
        headers: &[(&str, &str)],
        form: Option<&[(String, String)]>,
    ) -> RequestBuilder {
        let host = url.host_str().unwrap_or_default().to_owned();
        let jar = self.cookies.entry(host).or_default();
        let mut request = self.http.request(method, url).header("accept", "text/html");
        if !jar.is_empty() {
            let cookies: Vec<_> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", cookies.join("; "));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(fields) = form {
            let body = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(fields)
                .finish();
            request = request
                .header("content-type", "application/x-www-form-urlencoded")
                .body(body);
        }
        request
    }

    async fn visit(
        &mut self,
        method: Method,
        url: Url,
        headers: &[(&str, &str)],
        form: Option<&[(String, String)]>,
    ) -> Page {
        let answer = Answer::to(self.request(method, url.clone(), headers, form)).await;
        let jar = self
            .cookies
            .entry(url.host_str().unwrap_or_default().to_owned())
            .or_default();
        for cookie in answer.headers.get_all(SET_COOKIE) {
            keep(jar, cookie.to_str().expect("a cookie"));
        }
        Page {
            url,
            status: answer.status,
            body: answer.text(),
            headers: answer.headers,
        }
    }
}

/// Takes a cookie in, or away when it has ended.
fn keep(jar: &mut BTreeMap<String, String>, set_cookie: &str) {
    let (pair, attributes) = set_cookie.split_once(';').unwrap_or((set_cookie, ""));
    let (name, value) = pair.split_once('=').expect("a cookie with a value");
    let attributes = attributes.to_ascii_lowercase();
    let ended =
        attributes.contains("expires=thu, 01 jan 1970") || attributes.split(';').any(|a| a.trim() == "max-age=0");
    if ended {
        jar.remove(name.trim());
    } else {
        jar.insert(name.trim().to_owned(), value.trim().to_owned());
    }
}

impl Page {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    fn is_redirect(&self) -> bool {
        (300..400).contains(&self.status)
    }

    /// Where a redirect goes.
    pub(crate) fn location(&self) -> Option<Url> {
        self.is_redirect()
            .then(|| self.url.join(self.header("location")).expect("a location"))
    }

    /// Where the link with this id goes.
    #[track_caller]
    pub(crate) fn link(&self, id: &str) -> Url {
        let tags = html::tags(&self.body);
        let link = tags.iter().find(|t| t.name == "a" && t.get("id") == Some(id));
        let link = link.unwrap_or_else(|| panic!("no link {id} at {}: {}", self.url, self.text()));
        self.url.join(link.get("href").expect("an href")).expect("a URL")
    }

    /// What a person reads.
    pub(crate) fn text(&self) -> String {
        html::visible_text(&self.body)
    }

    /// Makes sure that this is a page which says that the account is connected.
    #[track_caller]
    pub(crate) fn connected(&self) {
        assert_eq!(self.status, 200, "{}", self.text());
        assert_eq!(self.code(), None, "{}", self.text());
    }

    /// Makes sure that this is an error page with this status and code.
    #[track_caller]
    pub(crate) fn failed(&self, status: u16, code: &str) {
        assert_eq!(
            (self.status, self.code().as_deref()),
            (status, Some(code)),
            "{}",
            self.text()
        );
        assert!(
            self.header("content-type").starts_with("text/html"),
            "{:?}",
            self.headers
        );
        assert_eq!(self.header("cache-control"), "no-store");
    }

    /// The code of an error page.
    pub(crate) fn code(&self) -> Option<String> {
        let tags = html::tags(&self.body);
        let body = tags.iter().find(|t| t.name == "body")?;
        body.get("data-code").filter(|code| !code.is_empty()).map(str::to_owned)
    }

    /// The page without what differs from request to request.
    pub(crate) fn comparable(&self) -> String {
        let id = self.header("x-request-id");
        if id.is_empty() {
            self.body.clone()
        } else {
            self.body.replace(id, "")
        }
    }

    /// The cookies that the page sets, as sent.
    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        self.headers
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .collect()
    }
}

/// The same URL with other query parameters: set to a value, or taken away.
pub(crate) fn altered(url: &Url, changes: &[(&str, Option<&str>)]) -> Url {
    let replaced = |name: &str| changes.iter().any(|(n, _)| *n == name);
    let kept: Vec<_> = url
        .query_pairs()
        .into_owned()
        .filter(|(name, _)| !replaced(name))
        .collect();
    let set = changes
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), (*value)?.to_owned())));
    let mut altered = url.clone();
    altered
        .query_pairs_mut()
        .clear()
        .extend_pairs(kept.into_iter().chain(set));
    altered
}

/// The value of a query parameter.
pub(crate) fn param(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(n, _)| n == name);
    found.unwrap_or_else(|| panic!("no {name} in {url}")).1.into_owned()
}
