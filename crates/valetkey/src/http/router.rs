//! The table of routes. Each route is named once here; the description of the API comes from the same table.

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use valetkey_core::ErrorCode;
use valetkey_engine::{Engine, Error};

use super::error::ApiError;
use super::{audit, connections, connectors, execute, flows, keys, operation, pages, sealing, session, tokens};
use crate::master::NewMaster;

/// What every handler may use. Cheap to clone: each request does.
#[derive(Clone)]
pub(crate) struct AppState(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) engine: Arc<Engine>,
    pub(crate) registry: Registry,
    pub(crate) openapi: String,
    pub(crate) stopping: CancellationToken,
    pub(crate) public_base_url: Option<String>,
    /// Where the master key is found that the one in use is exchanged for.
    pub(crate) new_master: Arc<NewMaster>,
    /// Which engine the store has.
    pub(crate) store_kind: &'static str,
    /// The look and the languages of hosted pages.
    pub(crate) pages: pages::Pages,
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl AppState {
    pub(crate) fn new(
        engine: Arc<Engine>,
        registry: Registry,
        stopping: CancellationToken,
        public_base_url: Option<&str>,
        new_master: NewMaster,
        store_kind: &'static str,
        pages: pages::Pages,
    ) -> Self {
        Self(Arc::new(Shared {
            engine,
            registry,
            openapi: openapi().to_string(),
            stopping,
            public_base_url: public_base_url.map(str::to_owned),
            new_master: Arc::new(new_master),
            store_kind,
            pages,
        }))
    }

    pub(crate) fn metrics_text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Lets a caller wait while the audit log is written, if too much of it waits: nothing is dropped.
    pub(crate) async fn settle_audit(&self) -> Result<(), Error> {
        if self.engine.audit_is_full() {
            self.engine.flush_audit().await
        } else {
            Ok(())
        }
    }
}

#[derive(OpenApi)]
#[openapi(
    info(title = "valetkey", description = "Connectors for applications, workflows and AI agents.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")),
    tags(
        (name = "connectors", description = "Connector types and connectors"),
        (name = "connect", description = "Connecting and disconnecting accounts"),
        (name = "use", description = "Using connections"),
        (name = "keys", description = "API keys"),
        (name = "session", description = "Signing in with a browser"),
        (name = "sealing", description = "The keys that seal what is stored"),
        (name = "operation", description = "Running the service"),
        (name = "pages", description = "What browsers see")))]
struct Description;

fn table() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(connectors::list_connector_types))
        .routes(routes!(connectors::get_connector_type))
        .routes(routes!(connectors::create_connector))
        .routes(routes!(
            connectors::create_connector_with_id,
            connectors::update_connector,
            connectors::get_connector,
            connectors::delete_connector
        ))
        .routes(routes!(connectors::list_connectors))
        .routes(routes!(connectors::search_connectors))
        .routes(routes!(execute::execute))
        .routes(routes!(execute::test_connector))
        .routes(routes!(flows::start_oauth_flow))
        .routes(routes!(flows::oauth_start))
        .routes(routes!(flows::oauth_cancel))
        .routes(routes!(flows::oauth_disconnect))
        .routes(routes!(flows::auth_status))
        .routes(routes!(tokens::oauth_access_token))
        .routes(routes!(pages::connect::connect_page))
        .routes(routes!(pages::connect::connect_continue))
        .routes(routes!(pages::connect::connect_cancel))
        .routes(routes!(pages::callback::oauth_callback))
        .routes(routes!(pages::callback::oauth_callback_bare))
        .routes(routes!(pages::assets::oauth_callback_script))
        .routes(routes!(keys::create_api_key, keys::list_api_keys))
        .routes(routes!(keys::search_api_keys))
        .routes(routes!(keys::delete_api_key))
        .routes(routes!(session::get_session, session::sign_in, session::sign_out))
        .routes(routes!(session::sign_out_everywhere))
        .routes(routes!(session::oidc_start))
        .routes(routes!(session::oidc_callback))
        .routes(routes!(sealing::get_sealing))
        .routes(routes!(sealing::rotate_key))
        .routes(routes!(sealing::retire_master_key))
        .routes(routes!(connections::list_connections))
        .routes(routes!(connections::own_connections))
        .routes(routes!(connections::offers))
        .routes(routes!(connections::disconnect_owner))
        .routes(routes!(audit::list_audit))
        .routes(routes!(operation::get_health))
        .routes(routes!(operation::get_status))
        .routes(routes!(operation::healthz))
        .routes(routes!(operation::readyz))
        .routes(routes!(operation::metrics))
        .routes(routes!(operation::get_openapi))
}

/// The router, ready for requests.
pub(crate) fn router(state: AppState) -> Router {
    let (router, _) = table().split_for_parts();
    router
        .route("/assets/pages.css", get(pages::assets::style))
        .route("/assets/brand.css", get(pages::assets::brand_style))
        .route("/assets/logo", get(pages::assets::logo))
        .route("/assets/connect.js", get(pages::assets::connect_script))
        .fallback(|| async { ApiError::new(ErrorCode::RouteNotFound, "there is no such path; see /api/openapi.json") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(
                ErrorCode::MethodNotAllowed,
                "this path has no such method; see /api/openapi.json",
            )
        })
        .with_state(state)
}

/// The description of the API: every operation with the version it came with, and how to authenticate.
pub(crate) fn openapi() -> Value {
    let (_, document) = table().split_for_parts();
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["components"]["securitySchemes"] = json!({
        "apiKey": { "type": "apiKey", "in": "header", "name": "Authorization", "description": "`ApiKey <key>`" },
        "bearer": { "type": "http", "scheme": "bearer" },
        "session": { "type": "apiKey", "in": "cookie", "name": "__Host-valetkey-session",
            "description": "Unsafe methods also need the header `kbn-xsrf: true`. Over plain http: `valetkey-session`. \
                One that an identity provider opened is answered with 401 `session_revoked` when the provider no longer stands \
                by it, and with 503 `session_unconfirmed` when that cannot be found out" },
    });
    let open = ["pages", "operation", "session"];
    for operations in document["paths"]
        .as_object_mut()
        .into_iter()
        .flat_map(|paths| paths.values_mut())
    {
        for operation in operations.as_object_mut().into_iter().flat_map(|o| o.values_mut()) {
            let is_open = operation["tags"][0].as_str().is_some_and(|tag| open.contains(&tag));
            let audit = operation["operationId"] == "list_audit" || operation["operationId"] == "get_health";
            operation["x-since"] = "0.1.0".into();
            if !is_open || audit {
                operation["security"] = json!([{ "apiKey": [] }, { "bearer": [] }, { "session": [] }]);
            } else if operation["operationId"] == "sign_out_everywhere" {
                operation["security"] = json!([{ "session": [] }]);
            }
        }
    }
    document
}
