//! Statements on one connection.

use deadpool_postgres::{ClientWrapper, StatementCache, Transaction};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::address::PATIENCE;
use super::error::{Failure, in_time};
use super::values::Value;

/// A connection, as statements see it.
pub(super) struct Session<'a> {
    client: &'a Client,
    /// Where prepared statements are kept; `None` if every statement is to be sent as it is, because the next one may
    /// meet another session.
    prepared: Option<&'a StatementCache>,
}

impl<'a> Session<'a> {
    pub(super) fn new(client: &'a ClientWrapper, pooled: bool) -> Self {
        Self {
            client,
            prepared: (!pooled).then_some(&*client.statement_cache),
        }
    }

    /// The same connection inside of a transaction.
    pub(super) fn within(transaction: &'a Transaction<'_>, pooled: bool) -> Self {
        Self {
            client: transaction.client(),
            prepared: (!pooled).then_some(&*transaction.statement_cache),
        }
    }

    /// Runs a statement. One that is not answered in time leaves the connection of no use: what it is waiting for is not
    /// known, and whatever follows would wait behind it.
    pub(super) async fn query(&self, statement: &str, params: &[Value<'_>]) -> Result<Vec<Row>, Failure> {
        in_time(PATIENCE, self.run(statement, params)).await
    }

    /// Adds rows by a statement that has one array for each column and answers with a row for each that it added. `false`
    /// if it did not add all of them.
    pub(super) async fn add(&self, statement: &str, rows: Vec<Vec<Value<'_>>>) -> Result<bool, Failure> {
        let count = rows.len();
        if count == 0 {
            return Ok(true);
        }
        Ok(self.query(statement, &Value::columns(rows)).await?.len() == count)
    }

    async fn run(&self, statement: &str, params: &[Value<'_>]) -> Result<Vec<Row>, tokio_postgres::Error> {
        let Some(cache) = self.prepared else {
            let params: Vec<_> = params
                .iter()
                .map(|value| (value as &(dyn ToSql + Sync), value.kind()))
                .collect();
            return self.client.query_typed(statement, &params).await;
        };
        let kinds: Vec<_> = params.iter().map(Value::kind).collect();
        let statement = cache.prepare_typed(self.client, statement, &kinds).await?;
        let params: Vec<_> = params.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        self.client.query(&statement, &params).await
    }
}
