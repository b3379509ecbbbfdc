//! Connector specs: read, checked, embedded; actions rendered to requests and answers read back.

mod action;
mod answer;
mod auth;
mod catalogue;
mod check;
mod compile;
mod error;
mod expr;
mod failure;
mod file;
mod format;
mod hosts;
mod pace;
mod path;
mod program;
mod request;
mod run;
mod schema;
mod shared;
mod spec;
mod template;
mod yaml;

pub use action::{Action, Effect};
pub use auth::{AuthFields, AuthKind, AuthType, Credential, InjectError, OauthSetup};
pub use catalogue::Catalogue;
pub use check::{Checked, check_spec};
pub use error::{FieldError, SpecError};
pub use failure::Failure;
pub use format::spec_schema;
pub use hosts::HostRule;
pub use path::{PathError, join_path};
pub use request::Call;
pub use run::{CallContext, Run, Step};
pub use spec::Spec;
