//! From an authorization code to the person whom its ID token names.

use std::collections::BTreeMap;
use std::fmt::Display;

use valetkey_core::{Request, Response, Secret};
use valetkey_oauth::id_token::{ExpectedIdToken, IdToken, IdTokenError, read_id_token};
use valetkey_oauth::{Callback, Grant, TokenRequest, Tokens};

use super::credential::Credential;
use super::provider::{Provider, unavailable};
use super::{Begun, invalid, person, strange};
use crate::Engine;
use crate::error::{Error, Result};
use crate::session::Person;
use crate::settings::OidcSettings;
use crate::wire::Outcome;

impl Engine {
    /// Trades the code for tokens, and reads who the person is.
    pub(super) async fn exchange_sign_in(
        &self,
        oidc: &OidcSettings,
        provider: &Provider,
        callback: &Callback,
        begun: &Begun,
    ) -> Result<Person> {
        let code = callback.code.as_ref().ok_or_else(strange)?;
        let verifier = Secret::new(self.derived("verifier", &begun.text));
        let redirect_uri = self.oidc_redirect_uri()?;
        let grant = Grant::AuthorizationCode {
            code,
            redirect_uri: &redirect_uri,
            verifier: Some(&verifier),
        };
        let response = self.ask_tokens(provider, grant).await?;
        let tokens = valetkey_oauth::read_token_response(&provider.profile, &response).map_err(|error| {
            let error = crate::refresh::masked(error, &provider.client, code);
            Error::new(
                error.code(),
                "the identity provider did not accept the sign-in; try again",
            )
            .because(error)
        })?;
        let missing = || invalid("the answer has no id_token: the scope must have openid in it");
        let token = id_token_of(&response).ok_or_else(missing)?;
        let nonce = self.derived("nonce", &begun.text);
        let read = self.read_identity(oidc, provider, &token, &nonce, false).await?;
        let id = read.map_err(invalid)?;
        let mut person = person::person(oidc, &id)?;
        person.credential = credential(provider, &id, nonce, tokens);
        Ok(person)
    }

    /// Sends a request to the token endpoint. Whether the provider acted on one that failed is not known.
    pub(super) async fn ask_tokens(&self, provider: &Provider, grant: Grant<'_>) -> Result<Response> {
        let request = TokenRequest {
            profile: &provider.profile,
            endpoint: &provider.metadata.token_endpoint,
            client: &provider.client,
            grant,
            scopes: &[],
            resource: None,
            extra_params: &BTreeMap::new(),
        };
        self.send_to_provider(request.request().map_err(Error::internal)?).await
    }

    /// Sends one request, which is never sent again by itself.
    pub(super) async fn send_to_provider(&self, request: Request) -> Result<Response> {
        match self.wire.send_token(request, self.settings.token_timeout).await {
            Outcome::Answered(response) => Ok(response),
            Outcome::NotSent(error) | Outcome::Uncertain(error) => Err(unreachable(error)),
        }
    }

    /// Who the ID token says it is. A key that is not known is looked for once more: providers change them.
    pub(super) async fn read_identity(
        &self,
        oidc: &OidcSettings,
        provider: &Provider,
        token: &Secret<String>,
        nonce: &str,
        is_renewed: bool,
    ) -> Result<std::result::Result<IdToken, IdTokenError>> {
        let expected = ExpectedIdToken {
            issuer: &oidc.issuer,
            client_id: &oidc.client_id,
            nonce,
            is_renewed,
            now: self.clock.now(),
        };
        Ok(match read_id_token(token.expose(), &provider.keys, &expected) {
            Err(IdTokenError::UnknownKey) => {
                let newer = self.provider(oidc, true).await?;
                read_id_token(token.expose(), &newer.keys, &expected)
            }
            read => read,
        })
    }
}

/// The ID token of a token answer, if it has one.
pub(super) fn id_token_of(response: &Response) -> Option<Secret<String>> {
    let answer = valetkey_oauth::json::object(&response.body)?;
    answer.get("id_token")?.as_str().map(Secret::from)
}

/// What the provider can be asked with again: the refresh token, or else the access token, if it has something to say about
/// the person of one.
fn credential(provider: &Provider, id: &IdToken, nonce: String, tokens: Tokens) -> Option<Credential> {
    let is_refresh = tokens.refresh_token.is_some();
    let knows_people = provider.metadata.userinfo_endpoint.is_some();
    let access_token = Some(tokens.access_token).filter(|_| knows_people);
    Some(Credential {
        subject: id.subject.clone(),
        nonce,
        token: tokens.refresh_token.or(access_token)?,
        is_refresh,
    })
}

fn unreachable(cause: impl Display) -> Error {
    unavailable("the identity provider cannot be reached now", cause)
}
