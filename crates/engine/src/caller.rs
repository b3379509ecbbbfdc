//! Who asks the engine, and how that is recorded.

use std::sync::Arc;

use serde_json::{Map, Value};
use valetkey_core::{
    ConnectionKey, ConnectorId, ErrorCode, KeyGrant, KeyId, Owner, Principal, Privilege, SpaceId, Timestamp,
};
use valetkey_store::rows::{AuditRow, SessionRow};

use crate::error::{Error, Result};
use crate::session::Visitor;

/// A request's principal, with what the audit log says about the request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// The request's id.
    pub request_id: Arc<str>,
    /// The caller's address.
    pub address: Arc<str>,
}

impl Caller {
    /// Refuses unless the key has the privilege.
    pub fn need(&self, privilege: Privilege) -> Result<()> {
        if self.principal.may(privilege) {
            return Ok(());
        }
        Err(Error::new(
            ErrorCode::PrivilegeMissing,
            format!("this API key lacks the privilege {}", privilege.as_str()),
        ))
    }

    /// Refuses unless the key has one of the privileges; names the first.
    pub(crate) fn need_one_of(&self, privileges: &[Privilege]) -> Result<()> {
        match privileges {
            [first, rest @ ..] if !rest.iter().any(|p| self.principal.may(*p)) => self.need(*first),
            _ => Ok(()),
        }
    }

    /// Whom a rate limit counts: the user, or the address where no user is known.
    pub(crate) fn limit_subject(&self) -> String {
        match &self.principal.user {
            Some(user) => format!("user:{}:{user}", self.principal.space),
            None => format!("address:{}", self.address),
        }
    }

    /// An audit record of something this caller does now.
    pub(crate) fn audit(&self, kind: &'static str, at: Timestamp) -> Audit {
        let mut audit = Audit::new(kind, at);
        audit.0.space = Some(self.principal.space.clone());
        audit.0.key = Some(self.principal.key.id.clone());
        audit.0.user.clone_from(&self.principal.user);
        audit.0.request_id = Some(self.request_id.to_string());
        audit.0.address = Some(self.address.to_string());
        audit
    }
}

/// An audit record under construction.
#[derive(Clone, Debug)]
pub(crate) struct Audit(AuditRow);

impl Audit {
    /// A record without a caller.
    pub(crate) fn new(kind: &'static str, at: Timestamp) -> Self {
        Self(AuditRow {
            at,
            space: None,
            kind,
            outcome: "ok".to_owned(),
            key: None,
            user: None,
            connector: None,
            connection: None,
            request_id: None,
            address: None,
            details: Map::new(),
            count: 1,
        })
    }

    /// What came of it, if not `ok`.
    pub(crate) fn outcome(mut self, outcome: impl Into<String>) -> Self {
        self.0.outcome = outcome.into();
        self
    }

    /// Whose request it was, where nobody is known yet.
    pub(crate) fn visitor(mut self, visitor: &Visitor) -> Self {
        self.0.space = Some(visitor.space.clone());
        self.0.request_id = Some(visitor.request_id.to_string());
        self.0.address = Some(visitor.address.to_string());
        self
    }

    /// Whose session it is about.
    pub(crate) fn person(mut self, session: &SessionRow) -> Self {
        self.0.key = Some(session.person.clone());
        self.0.user.clone_from(&session.profile_uid);
        self
    }

    /// Which connector.
    pub(crate) fn connector(mut self, id: &ConnectorId) -> Self {
        self.0.connector = Some(id.clone());
        self
    }

    /// Which connection.
    pub(crate) fn connection(mut self, key: &ConnectionKey) -> Self {
        self.0.space = Some(key.space.clone());
        self.0.connector = Some(key.connector.clone());
        if let Owner::User(user) = &key.owner {
            self.0.user.get_or_insert_with(|| user.clone());
        }
        self.0.connection = Some((key.owner.clone(), key.name.clone()));
        self
    }

    /// One more detail. Never a secret.
    pub(crate) fn detail(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.details.insert(name.to_owned(), value.into());
        self
    }

    /// The record.
    pub(crate) fn row(self) -> AuditRow {
        self.0
    }
}

impl Caller {
    /// The operator at the command line of the machine: may do everything, everywhere.
    pub fn operator() -> Self {
        let key = KeyGrant {
            id: KeyId::operator(),
            name: "operator".to_owned(),
            spaces: ["*".to_owned()].into(),
            profile_uid: None,
            privileges: [Privilege::Admin].into_iter().collect(),
            connectors: None,
            actions: None,
        };
        Self {
            principal: Principal {
                key: Arc::new(key),
                user: None,
                space: SpaceId::default_space(),
                in_session: false,
            },
            request_id: "command-line".into(),
            address: "local".into(),
        }
    }
}
