//! Connector specs: read, checked, embedded; actions rendered to requests and answers read back.
//!
//! A spec is a YAML file that describes a connector type; `docs/specs.md` is the guide to the format. This crate does
//! no I/O but to read specs, has no clock, and sees no credential but in [`AuthType::inject`]. To run an action:
//!
//! 1. [`Catalogue::load`] the specs once. A spec that cannot work is refused there, with file, line and field.
//! 2. When a connector is made, [`Spec::check_config`] and [`AuthType::check_secrets`] complete what somebody filled
//!    in; [`AuthType::oauth`] says how its OAuth client works, [`Spec::allowed_hosts`] where its credential may go.
//! 3. [`Action::check_input`], then [`Action::start`]. Drive the [`Run`]: send what [`Step::Send`] holds, after
//!    [`AuthType::inject`] if [`Call::attach_credential`] says so, and hand the answer to [`Run::next`].
//! 4. If [`Spec::rejects_token`] says so of an answer, renew the token and send the same [`Call`] again, once.
//!
//! An action that is not [quick](Action::is_quick) evaluates jq, which has no bound on steps: drive it where blocking
//! is allowed, with a deadline.
//!
//! ```
//! use serde_json::{Map, json};
//! use valetkey_core::fake::FakeRng;
//! use valetkey_spec::{CallContext, Catalogue, Step};
//!
//! let catalogue = Catalogue::embedded()?;
//! let notion = catalogue.get(".notion").expect("an embedded type");
//! let action = notion.action("getPage").expect("an action of it");
//! let input = action.check_input(&json!({"pageId": "a/b"})).expect("a good input");
//! let context = CallContext { config: &Map::new(), auth_type: "bearer", metadata: &Map::new() };
//! let mut run = action.start(notion, &context, input, &FakeRng::seeded(1));
//! let Step::Send(call) = run.next(None) else { panic!("nothing is sent") };
//! assert_eq!(call.request.url.as_str(), "https://api.notion.com/v1/pages/a%2Fb");
//! # Ok::<(), valetkey_spec::SpecError>(())
//! ```

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
