//! The rescue journal, with crash points around each of its operations.

use std::sync::Arc;

use async_trait::async_trait;
use valetkey_core::ConnectionKey;
use valetkey_engine::journal::{Journal, JournalError, Kept, Rescue};

use super::Plan;
use super::point::Edge;

/// A journal with crash points.
#[derive(Debug)]
pub(super) struct Crashing {
    journal: Arc<dyn Journal>,
    plan: Arc<Plan>,
}

impl Crashing {
    pub(super) fn new(journal: Arc<dyn Journal>, plan: Arc<Plan>) -> Self {
        Self { journal, plan }
    }
}

#[async_trait]
impl Journal for Crashing {
    async fn keep(&self, pair: Rescue) -> Result<(), JournalError> {
        self.plan.pass(Edge::Before("keep")).await?;
        self.journal.keep(pair).await?;
        Ok(self.plan.pass(Edge::After("keep")).await?)
    }

    async fn forget(&self, key: &ConnectionKey, parent: i64) -> Result<(), JournalError> {
        self.plan.pass(Edge::Before("forget")).await?;
        self.journal.forget(key, parent).await?;
        Ok(self.plan.pass(Edge::After("forget")).await?)
    }

    async fn kept(&self) -> Result<Kept, JournalError> {
        self.journal.kept().await
    }
}
