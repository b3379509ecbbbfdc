# Every text of the hosted pages. A translation is a copy of this file, named after its language, in locales_dir; what it
# leaves out is shown in English. The syntax: https://projectfluent.org/fluent/guide/

## The connect page

# $connector is the connector's name.
connect-title = Connect { $connector }
# $brand is who asks, $service what kind of account it is.
connect-lead = { $brand } asks for access to your { $service } account.
connect-user = Connecting for
connect-everybody = everybody who may use this connector
connect-service = Service
connect-host = You sign in at
connect-scopes = What it may do
connect-no-scopes = { $service } tells you on its own page what you allow.
connect-warning = Continue only if you started this yourself. You can end the connection again at any time.
connect-continue = Continue
connect-cancel = Cancel

## The end of a flow

connected = You can go back to where you came from.
    .title = Account connected
# $account is the account as the provider names it.
connected-as = Connected as { $account }.
close = You can close this window.
# $seconds counts down from 3.
closing = { $seconds ->
    [one] This window closes in { $seconds } second.
   *[other] This window closes in { $seconds } seconds.
}
next = What you can do
# Where what ended here was begun.
console = Go to the console
# In a browser that comes back from the provider without a session.
signed-out = Your session ended while you were at the provider, or this was begun in another browser. Nothing was connected.
    .title = You are not signed in
    .next = Go to the console, sign in, and connect the account again.
# The person who helps looks for this in the log.
reference = Reference
retry-seconds = { $seconds ->
    [one] You can try again in a second.
   *[other] You can try again in { $seconds } seconds.
}
retry-minutes = You can try again in { $minutes } minutes.

## Errors, by their code: what happened, and what to do next

error-other = Something did not work, and nothing was connected.
    .title = The account was not connected
    .next = Go back and start again. If it happens again, send the reference below to your administrator.

error-denied_by_user = You did not allow access on the provider's page, so nothing was connected.
    .title = Access was not granted
    .next = If that was a mistake, go back and connect again.
error-flow_cancelled = You ended this before anything was connected. Nobody has got access.
    .title = Cancelled
    .next = If you change your mind, go back and connect again.
error-flow_expired = Connecting an account has to be finished within a few minutes, and that time is over.
    .title = This took too long
    .next = Go back to where you came from and connect again.
error-flow_already_used = This link was used before, and each works once.
    .title = Already finished
    .next = If the account is not connected yet, go back and connect again.
error-flow_browser_mismatch = This was started in another browser, so it cannot go on in this one. That protects you from links that others started.
    .title = Another browser
    .next = Go on in the browser in which you opened the link, or go back and connect again here.
error-flow_user_mismatch = This was started by somebody else than the person who is signed in here.
    .title = Another person started this
    .next = Sign in as the person who started it, or go back and connect your own account.
error-ticket_used = This link was opened in another browser before, and only that one can go on.
    .title = Another browser
    .next = Go on in that browser, or go back and start again here. If somebody else opened your link, do not use it.
error-ticket_unknown = There is no such link. It may be mistyped, cut off, or too old.
    .title = This link does not work
    .next = Go back to where you got it and start again. If you copied it, make sure that it is complete.
error-flow_invalid = This answer belongs to nothing that is under way here.
    .title = The account was not connected
    .next = Go back to where you came from and connect again.
error-context_mismatch = The provider's answer came to the wrong address, so it was not used.
    .title = The account was not connected
    .next = Go back and connect again. If it happens again, tell your administrator that the redirect URI at the provider may be wrong.
error-duplicate_parameter = The provider's answer is malformed, so it was not used.
    .title = The account was not connected
    .next = Go back and connect again.
error-issuer_missing = It cannot be made sure that the answer comes from the provider that was asked.
    .title = The account was not connected
    .next = Go back and connect again. If it happens again, send the reference below to your administrator.
error-issuer_mismatch = The answer does not come from the provider that was asked, so it was not used.
    .title = The account was not connected
    .next = Go back and connect again. If it happens again, send the reference below to your administrator.
error-provider_changed = The settings of this connector were changed while you were connecting.
    .title = The account was not connected
    .next = Go back and connect again.
error-account_changed = You signed in at the provider with another account than the one that is connected here. The first one stays connected.
    .title = Another account is connected
    .next = Connect again and sign in with the first account, or disconnect that one before.
error-connect_not_allowed = Whoever started this may no longer connect accounts.
    .title = Not allowed any more
    .next = Ask your administrator.
error-provider_refused = The provider refused the request, and nothing was connected.
    .title = The account was not connected
    .next = Ask your administrator to check the connector's client ID, scopes and redirect URI.
error-provider_unavailable = The provider cannot be reached, or has a problem of its own.
    .title = The provider has a problem
    .next = Wait a few minutes, go back and connect again.
error-code_rejected = The provider did not accept the answer that it had just given.
    .title = The account was not connected
    .next = Go back and connect again. If it happens again, send the reference below to your administrator.
error-client_rejected = The provider does not know this connector, or does not accept its secret.
    .title = The connector needs attention
    .next = Ask your administrator to check the connector's client ID and client secret.
error-provider_config_error = The provider says that this connector is set up wrongly.
    .title = The connector needs attention
    .next = Ask your administrator to check the connector's client ID, scopes and redirect URI.
error-provider_bad_response = The provider's answer cannot be understood. Nothing was connected.
    .title = The account was not connected
    .next = Go back and connect again. If it happens again, send the reference below to your administrator.
error-provider_response_too_large = The provider's answer is larger than allowed. Nothing was connected.
    .title = The account was not connected
    .next = Send the reference below to your administrator.
error-provider_redirected = The provider's answer leads to another address, which is not followed. Nothing was connected.
    .title = The connector needs attention
    .next = Ask your administrator to check the addresses of the connector.
error-token_unusable = The provider's answer cannot be used. Nothing was connected.
    .title = The account was not connected
    .next = Go back and connect again. If it happens again, send the reference below to your administrator.
error-host_not_allowed = The provider's address is not allowed here.
    .title = The connector needs attention
    .next = Ask your administrator to allow the provider's host.
error-address_denied = The provider's address is not allowed here.
    .title = The connector needs attention
    .next = Ask your administrator to check the addresses of the connector.
error-oauth_config_incomplete = A setting of this connector is missing.
    .title = The connector needs attention
    .next = Ask your administrator to complete the connector.
error-connector_secrets_missing = The secrets of this connector are missing.
    .title = The connector needs attention
    .next = Ask your administrator to enter the connector's secrets again.
error-auth_type_not_oauth = This connector is not one that accounts are connected with any more.
    .title = The connector needs attention
    .next = Ask your administrator.
error-discovery_failed = What the provider says about itself cannot be used.
    .title = The provider has a problem
    .next = Wait a few minutes, go back and connect again. If it happens again, ask your administrator.
error-reserved_parameter = This connector asks the provider in a way that is not allowed.
    .title = The connector needs attention
    .next = Ask your administrator to check the extra parameters of the connector.
error-public_base_url_missing = This service does not know its own public address.
    .title = The service is not set up yet
    .next = Ask your administrator to set the public address.
error-rate_limited = This was tried too often in a short time.
    .title = Too many attempts
    .next = Wait, then go back and connect again.
error-integrity_error = Something that is stored here cannot be opened.
    .title = Something went wrong here
    .next = Send the reference below to your administrator.
error-store_unavailable = The service cannot reach its database at the moment.
    .title = Something went wrong here
    .next = Wait a minute, then go back and connect again.
error-session_unconfirmed = Your identity provider does not answer, so it is not certain that you may still do this.
    .title = Your sign-in cannot be confirmed
    .next = Wait a minute, then go back and connect again.
error-internal = That is not your fault, and nothing was connected.
    .title = Something went wrong here
    .next = Go back and connect again. If it happens again, send the reference below to your administrator.
