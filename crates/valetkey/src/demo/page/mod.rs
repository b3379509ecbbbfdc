//! The application: what an application team would build. Its server holds an API key of valetkey and talks to nothing but
//! valetkey's HTTP API; its page sees no key and no token.
//!
//! It has one user, so that it needs no login, and it remembers in memory what it shows.

mod view;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Json, Redirect, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use valetkey_core::{Clock, Secret};

use super::client::Api;
use super::setup::CONNECTOR;
use super::web::{html, parameters};
use view::{Banner, PageTemplate, RunView};
use watch::{Standing, Watch};

/// The application's user, as valetkey knows them.
pub(super) const USER: &str = "alice";

/// The application. Cheap to clone.
#[derive(Clone)]
pub(super) struct Application(Arc<Inner>);

struct Inner {
    api: Api,
    server: String,
    origin: String,
    sandbox: String,
    clock: Arc<dyn Clock>,
    /// Locked while valetkey is asked: two answers that overtake each other would look like two renewals.
    watch: Mutex<Watch>,
    last_run: Mutex<Option<RunView>>,
}

impl Application {
    /// The application at `origin`, with its key for the valetkey at `server`.
    pub(super) fn new(server: &str, key: Secret<String>, origin: &str, sandbox: &str, clock: Arc<dyn Clock>) -> Self {
        Self(Arc::new(Inner {
            api: Api::new(server, key, Some(USER)),
            server: server.to_owned(),
            origin: origin.to_owned(),
            sandbox: sandbox.to_owned(),
            clock,
            watch: Mutex::default(),
            last_run: Mutex::default(),
        }))
    }

    /// Its routes.
    pub(super) fn router(&self) -> Router {
        Router::new()
            .route("/", get(show))
            .route("/state", get(state))
            .route("/connect", post(connect))
            .route("/run", post(run))
            .route("/disconnect", post(disconnect))
            .with_state(self.clone())
    }

    async fn standing(&self) -> Standing {
        let mut watch = self.0.watch.lock().await;
        watch.look(&self.0.api, self.0.clock.now()).await
    }

    /// Starts anew with another connection.
    async fn forget(&self) {
        *self.0.watch.lock().await = Watch::default();
        *self.0.last_run.lock().await = None;
    }

    /// A route of the connector.
    async fn on_connector(&self, route: &str, body: &Value) -> anyhow::Result<super::client::Answer> {
        let path = format!("/api/actions/connector/{CONNECTOR}/{route}");
        self.0.api.post(&path, Some(body)).await
    }

    async fn page(&self, banner: Option<Banner>) -> Response {
        let run = self.0.last_run.lock().await.clone();
        let template = PageTemplate {
            user: USER,
            standing: self.standing().await,
            banner,
            run,
            sandbox: self.0.sandbox.clone(),
        };
        // Connect leads to valetkey.
        html(StatusCode::OK, &template, &self.0.server)
    }
}

/// The page. With the parameters that valetkey adds to a return URL, it also says how the flow ended.
async fn show(State(application): State<Application>, RawQuery(query): RawQuery) -> Response {
    let query = parameters(&query.unwrap_or_default()).unwrap_or_default();
    let banner = match query.get("oauth_authorization").map(String::as_str) {
        Some("success") => {
            // Another grant, whose first token is no renewal of the one before.
            application.forget().await;
            Some(Banner::good("The account is connected."))
        }
        Some(_) => {
            let error = query.get("error").map_or("no reason was given", String::as_str);
            Some(Banner::bad(format!("The account was not connected: {error}.")))
        }
        None => None,
    };
    application.page(banner).await
}

/// What the script asks for, once a second.
async fn state(State(application): State<Application>) -> Json<Standing> {
    Json(application.standing().await)
}

/// Starts the flow and sends the browser on its way.
async fn connect(State(application): State<Application>) -> Response {
    let body = json!({ "returnUrl": format!("{}/", application.0.origin) });
    let started = application.on_connector("_start_oauth_flow", &body).await;
    match started.and_then(super::client::Answer::success) {
        Ok(started) => match started["authorizationUrl"].as_str() {
            Some(url) => Redirect::to(url).into_response(),
            None => {
                application
                    .page(Some(Banner::bad("valetkey answered without an authorizationUrl.")))
                    .await
            }
        },
        Err(error) => {
            let banner = Banner::bad(format!("The flow cannot be started: {error:#}."));
            application.page(Some(banner)).await
        }
    }
}

/// Runs one of two actions and shows what was sent and what came back.
async fn run(State(application): State<Application>, body: String) -> Response {
    let form = parameters(&body).unwrap_or_default();
    let call = match form.get("text") {
        Some(text) => json!({ "method": "POST", "path": "/notes", "body": { "text": text } }),
        None => json!({ "method": "GET", "path": "/notes" }),
    };
    let params = json!({ "params": { "subAction": "request", "subActionParams": call } });
    let view = match application.on_connector("_execute", &params).await {
        Ok(answer) => RunView::new(&params, &answer),
        Err(error) => return application.page(Some(Banner::bad(format!("{error:#}.")))).await,
    };
    *application.0.last_run.lock().await = Some(view);
    Redirect::to("/#run").into_response()
}

/// Ends the connection.
async fn disconnect(State(application): State<Application>) -> Response {
    let ended = application.on_connector("_oauth_disconnect", &json!({})).await;
    match ended.and_then(super::client::Answer::success) {
        Ok(_) => {
            application.forget().await;
            Redirect::to("/").into_response()
        }
        Err(error) => {
            let banner = Banner::bad(format!("The account cannot be disconnected: {error:#}."));
            application.page(Some(banner)).await
        }
    }
}
