//! From the format to a spec: the checks that no type can make.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Spec;
use crate::action::Action;
use crate::auth::AuthType;
use crate::compile::{Compiler, fields_of};
use crate::error::Fault;
use crate::expr::Builder;
use crate::failure::Errors;
use crate::file::{self, SpecFile};
use crate::schema::Schema;
use crate::shared::Shared;
use crate::template::{HostTemplate, endpoint};

pub(super) fn build(file: SpecFile) -> Result<Spec, Fault> {
    check_words(&file)?;
    let config = schema("config", file.config)?;
    let mut compiler = Compiler {
        expressions: Builder::new(file.functions.as_deref()),
        config: config.names().map(ToOwned::to_owned).collect(),
        has_base: file.base_url.is_some(),
    };
    let base_url = file.base_url.map(|base| compiler.url("base_url", &base)).transpose()?;
    let hosts = file.hosts.iter().enumerate().map(|(i, host)| {
        let field = format!("hosts[{i}]");
        let template = HostTemplate::parse(host).map_err(|e| Fault::new(&field, e))?;
        compiler.check_names(&field, template.names())?;
        Ok(template)
    });
    let hosts = hosts.collect::<Result<Vec<_>, Fault>>()?;

    let profile = file.oauth.unwrap_or_default();
    profile.check().map_err(|error| {
        let text = error.to_string();
        let problem = text
            .strip_prefix(error.field())
            .and_then(|rest| rest.strip_prefix(": "));
        Fault::new(format!("oauth.{}", error.field()), problem.unwrap_or(&text))
    })?;
    let auth = file
        .auth
        .into_iter()
        .enumerate()
        .map(|(i, auth)| AuthType::compile(&format!("auth[{i}]"), auth, &profile, &file.headers, &compiler));
    let auth = auth.collect::<Result<Vec<_>, Fault>>()?;
    check_auth(&auth)?;

    let test = compiler.test(file.test)?;
    let mut actions = Vec::new();
    for (name, action) in file.actions.0 {
        let action = self::action(&mut compiler, &name, action)?;
        actions.push((name, action));
    }
    let errors = Errors::new(&file.name, file.errors, &file.rate_limit);
    let library = compiler.expressions.build()?;
    Ok(Spec {
        id: file.id,
        name: file.name,
        description: file.description,
        version: file.version,
        feature_ids: file.feature_ids,
        technical_preview: file.technical_preview,
        docs_url: file.docs_url,
        skill: file.skill,
        icon: None,
        workflows: Vec::new(),
        config,
        auth,
        actions,
        test: Arc::new(test),
        shared: Arc::new(Shared {
            base_url,
            hosts,
            library,
            errors,
            rate_limit: file.rate_limit,
        }),
    })
}

fn action(compiler: &mut Compiler, name: &str, mut file: file::Action) -> Result<Action, Fault> {
    let field = format!("actions.{name}");
    let is_name = name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !is_name {
        return Err(Fault::new(
            field,
            "is not a name of letters, digits and _, starting with a letter",
        ));
    }
    if file.description.trim().is_empty() {
        return Err(Fault::new(format!("{field}.description"), "is empty"));
    }
    let input = schema(&format!("{field}.input"), file.input.take())?;
    let known = fields_of(input.json());
    let (description, tool, effect) = (std::mem::take(&mut file.description), file.tool, file.effect);
    let program = compiler.action(&field, name, file, known)?;
    let quick = program.is_quick();
    Ok(Action {
        description,
        tool,
        effect,
        input,
        program: Arc::new(program),
        quick,
    })
}

fn schema(field: &str, json: Option<Value>) -> Result<Schema, Fault> {
    Schema::compile(json.unwrap_or_else(|| json!({"properties": Map::new()}))).map_err(|(place, message)| {
        let dot = if place.is_empty() { "" } else { "." };
        Fault::new(format!("{field}{dot}{place}"), message)
    })
}

fn check_words(file: &SpecFile) -> Result<(), Fault> {
    for (field, text) in [("name", &file.name), ("description", &file.description)] {
        if text.trim().is_empty() {
            return Err(Fault::new(field, "is empty"));
        }
    }
    if file.version < 1 {
        return Err(Fault::new("version", "starts at 1"));
    }
    if file
        .docs_url
        .as_deref()
        .is_some_and(|url| endpoint(url).is_err() && !url.contains('#'))
    {
        return Err(Fault::new("docs_url", "is not an absolute URL"));
    }
    for (i, feature) in file.feature_ids.iter().enumerate() {
        if feature.is_empty() || !feature.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(Fault::new(
                format!("feature_ids[{i}]"),
                "is not a name of letters and digits",
            ));
        }
    }
    if file.actions.0.is_empty() {
        return Err(Fault::new("actions", "names no action"));
    }
    Ok(())
}

fn check_auth(auth: &[AuthType]) -> Result<(), Fault> {
    if auth.is_empty() {
        return Err(Fault::new("auth", "names no auth type"));
    }
    let mut seen = BTreeSet::new();
    match auth.iter().position(|auth| !seen.insert(&auth.id)) {
        Some(i) => Err(Fault::new(format!("auth[{i}].type"), "is there twice")),
        None => Ok(()),
    }
}
