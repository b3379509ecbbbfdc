//! Sends one request, once, and knows how far it came.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use valetkey_engine::wire::{Outcome, WireError};

use super::connect::Connector;
use super::connection::Failure;
use super::pool::{self, Pool};
use super::prepare::Prepared;
use super::target::Target;

/// A client with its own idle connections. Redirects are answers; cookies, codings and proxies of the environment do
/// not exist.
pub(super) struct Client {
    connector: Arc<Connector>,
    pub(super) pool: Pool,
}

impl Client {
    pub(super) fn new(connector: Arc<Connector>, limits: pool::Limits, workers: usize) -> Self {
        Self {
            connector,
            pool: Pool::new(limits, workers),
        }
    }

    /// Sends the request within `deadline`, counted from now until the last byte of the answer.
    ///
    /// - *Not sent*: no connection, or each was found closed with the request still in our hands.
    /// - *Uncertain*: everything that goes wrong afterwards, be it a complete answer that cannot be used.
    ///
    /// The request goes to a second connection only when the first one gave it back untouched.
    pub(super) async fn send(&self, target: Target, request: Prepared, max_body: usize, deadline: Duration) -> Outcome {
        let mut handed_over = false;
        match timeout(deadline, self.exchange(target, request, max_body, &mut handed_over)).await {
            Ok(outcome) => outcome,
            Err(_) if handed_over => Outcome::Uncertain(WireError::Timeout),
            Err(_) => Outcome::NotSent(WireError::Timeout),
        }
    }

    async fn exchange(
        &self,
        target: Target,
        mut request: Prepared,
        max_body: usize,
        handed_over: &mut bool,
    ) -> Outcome {
        loop {
            let (mut connection, is_new) = match self.pool.take(&target) {
                Some(connection) => (connection, false),
                None => match self.connector.connect(&target).await {
                    Ok(connection) => (connection, true),
                    Err(error) => return Outcome::NotSent(error),
                },
            };
            *handed_over = true;
            match connection.exchange(request, max_body).await {
                Ok(answer) => {
                    self.pool.put(target, connection);
                    return Outcome::Answered(answer);
                }
                Err(Failure::Lost(error)) => return Outcome::Uncertain(error),
                Err(Failure::Unsent(_)) if is_new => return Outcome::NotSent(WireError::Broken),
                Err(Failure::Unsent(unsent)) => request = *unsent,
            }
            *handed_over = false;
        }
    }
}
