//! What the demo prints.

use anyhow::Result;
use valetkey_core::Secret;

use super::page::USER;
use super::setup::CONNECTOR;
use crate::cli::say;

/// Where everything is.
pub(super) struct Guide {
    /// The origin of the server.
    pub(super) server: String,
    /// The origin of the application's page.
    pub(super) page: String,
    /// The origin of the sandbox.
    pub(super) sandbox: String,
    /// The data directory, in words.
    pub(super) data: String,
    /// The admin key.
    pub(super) key: Secret<String>,
}

impl Guide {
    /// Prints what to open and what to type.
    pub(super) fn print(&self) -> Result<()> {
        say(&self.text())
    }

    fn text(&self) -> String {
        let Self {
            server,
            page,
            sandbox,
            data,
            key,
        } = self;
        let key = key.expose();
        let auth = "-H \"Authorization: ApiKey $KEY\"";
        let user = format!("{auth} -H 'x-valetkey-user: {USER}'");
        let connector = format!("\"$VALETKEY/api/actions/connector/{CONNECTOR}");
        let list = r#"{"params": {"subAction": "request", "subActionParams": {"method": "GET", "path": "/notes"}}}"#;
        format!(
            "\
The valetkey demo runs. Everything is in this process, and nothing leaves this machine.

  open     {page}/   an application: connect an account, run an action, watch the token being renewed
  server   {server}    valetkey itself, as `valetkey serve` runs it
  sandbox  {sandbox}    plays the provider; only the demo starts it
  data     {data}

The same by hand, in another terminal:

  export VALETKEY={server} KEY={key}

  # the connectors
  curl -sw '\\n' {auth} \"$VALETKEY/api/actions/connectors\"

  # start the OAuth flow for {USER}: open the authorizationUrl of the answer in a browser
  curl -sw '\\n' -X POST {user} {connector}/_start_oauth_flow\"

  # run an action with {USER}'s account
  curl -sw '\\n' {user} -H 'content-type: application/json' \\
    -d '{list}' \\
    {connector}/_execute\"

  # an access token that works now, for {USER}
  curl -sw '\\n' -X POST {user} {connector}/_oauth_access_token\"

  # disconnect: revoked at the provider, deleted here
  curl -si -X POST {user} {connector}/_oauth_disconnect\"

  # who did what
  curl -sw '\\n' {auth} \"$VALETKEY/api/audit?limit=10\"

Ctrl-C ends it."
        )
    }
}
