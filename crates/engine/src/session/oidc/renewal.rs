//! Asking the identity provider again about a person who is signed in.
//!
//! | the provider | what it means |
//! | --- | --- |
//! | names the person and a role | the session goes on, with what that role allows |
//! | names the person and no role | it ends: `no_role` |
//! | names somebody else, or answers for another issuer or sign-in | it ends: `other_person` |
//! | no longer takes the refresh token (`invalid_grant`) or the access token (401) | it ends: `grant_ended` |
//! | gives neither an ID token nor anybody to ask with the access token | it ends: `not_told` |
//! | cannot be reached, or says something that decides nothing | not known: the session goes on for a while |

use valetkey_core::{ErrorCode, Response, Secret};
use valetkey_oauth::id_token::{IdToken, IdTokenError};
use valetkey_oauth::{ErrorClass, Grant, UserInfoError, read_refresh_response, read_userinfo, userinfo_request};

use super::credential::Credential;
use super::exchange::id_token_of;
use super::person;
use super::provider::Provider;
use crate::Engine;
use crate::error::{Error, Result};
use crate::session::Person;
use crate::settings::OidcSettings;

/// Why a session ends that its provider does not stand by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The person has no role here any more.
    NoRole,
    /// The answer is about somebody or something else.
    OtherPerson,
    /// The provider no longer takes the token.
    GrantEnded,
    /// There is no way to ask.
    NotTold,
}

impl Ending {
    /// The word in the audit log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::NoRole => "no_role",
            Self::OtherPerson => "other_person",
            Self::GrantEnded => "grant_ended",
            Self::NotTold => "not_told",
        }
    }

    /// For people: what happened and what to do.
    pub(crate) fn error(self) -> Error {
        let sentence = match self {
            Self::NoRole => {
                "the identity provider gives you no role here any more, so your session has ended; ask an administrator"
            }
            Self::OtherPerson => {
                "the identity provider says that this session is somebody else's, so it has ended; sign in again"
            }
            Self::GrantEnded => "the identity provider has ended your sign-in, and so your session; sign in again",
            Self::NotTold => "the identity provider cannot be asked whether you still have your role; sign in again",
        };
        Error::new(ErrorCode::SessionRevoked, sentence)
    }
}

/// Why the person is not confirmed.
#[derive(Debug)]
pub(crate) enum Unconfirmed {
    /// The session ends.
    Ended(Ending),
    /// It is not known.
    Unknown(Error),
}

impl From<Error> for Unconfirmed {
    fn from(error: Error) -> Self {
        Self::Unknown(error)
    }
}

type Confirmed<T> = std::result::Result<T, Unconfirmed>;

impl Engine {
    /// Asks who the person is now. A new refresh token goes to `keep`, before anything else of the answer is looked at:
    /// the one before may be good for nothing by then.
    pub(crate) async fn ask_provider(
        &self,
        credential: &Credential,
        keep: impl AsyncFnOnce(Credential) -> Result<()>,
    ) -> Confirmed<Person> {
        let oidc = self.oidc()?;
        let provider = self.provider(oidc, false).await?;
        let id = if credential.is_refresh {
            let response = self.spend_credential(&provider, credential, keep).await?;
            self.read_renewed(oidc, &provider, credential, &response).await?
        } else {
            self.userinfo(&provider, &credential.token).await?
        };
        if id.subject != credential.subject {
            return Err(Unconfirmed::Ended(Ending::OtherPerson));
        }
        person::person(oidc, &id).map_err(|error| match error.code {
            ErrorCode::SignInNotAllowed => Unconfirmed::Ended(Ending::NoRole),
            _ => error.into(),
        })
    }

    /// Sends the refresh token, and has its successor kept.
    async fn spend_credential(
        &self,
        provider: &Provider,
        credential: &Credential,
        keep: impl AsyncFnOnce(Credential) -> Result<()>,
    ) -> Confirmed<Response> {
        let response = self
            .ask_tokens(provider, Grant::RefreshToken(&credential.token))
            .await?;
        let tokens = read_refresh_response(&provider.profile, &response).map_err(|error| {
            if error.class() == ErrorClass::Terminal {
                return Unconfirmed::Ended(Ending::GrantEnded);
            }
            let error = crate::refresh::masked(error, &provider.client, &credential.token);
            Unconfirmed::Unknown(
                Error::new(error.code(), "the identity provider did not say who is signed in").because(error),
            )
        })?;
        if let Some(token) = tokens
            .refresh_token
            .filter(|token| !token.same_as(credential.token.expose()))
        {
            keep(credential.rotated(token)).await?;
        }
        Ok(response)
    }

    /// Who the answer to a refresh is about. An ID token need not be in it (`OpenID` Connect Core section 12.2).
    async fn read_renewed(
        &self,
        oidc: &OidcSettings,
        provider: &Provider,
        credential: &Credential,
        response: &Response,
    ) -> Confirmed<IdToken> {
        let Some(token) = id_token_of(response) else {
            let tokens = read_refresh_response(&provider.profile, response).map_err(Error::internal)?;
            return self.userinfo(provider, &tokens.access_token).await;
        };
        let read = self
            .read_identity(oidc, provider, &token, &credential.nonce, true)
            .await?;
        read.map_err(|error| match error {
            IdTokenError::Claim("iss" | "aud" | "azp" | "nonce" | "sub") => Unconfirmed::Ended(Ending::OtherPerson),
            other => super::invalid(other).into(),
        })
    }

    /// Who the person of an access token is.
    async fn userinfo(&self, provider: &Provider, token: &Secret<String>) -> Confirmed<IdToken> {
        let endpoint = provider.metadata.userinfo_endpoint.as_ref();
        let endpoint = endpoint.ok_or(Unconfirmed::Ended(Ending::NotTold))?;
        let unusable = || Error::internal("the access token of a session cannot be sent");
        let request = userinfo_request(endpoint, token).ok_or_else(unusable)?;
        match read_userinfo(&self.send_to_provider(request).await?) {
            Ok(info) => Ok(IdToken {
                subject: info.subject,
                claims: info.claims,
            }),
            Err(UserInfoError::Rejected) => Err(Unconfirmed::Ended(Ending::GrantEnded)),
            Err(error) => Err(super::invalid(error).into()),
        }
    }
}
