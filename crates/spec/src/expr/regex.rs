//! The three filters under jq's `test`, `match`, `capture`, `scan`, `split/2`, `sub` and `gsub`, over a matcher that
//! takes linear time.

use jaq_core::native::{Filter, bome};
use jaq_core::{Bind, Cv, Error, RunPtr};
use jaq_json::Val;
use jaq_std::ValT as _;
use regex::{Captures, Regex, RegexBuilder};

use super::Data;

pub(super) fn filters() -> Vec<Filter<RunPtr<Data>>> {
    let two = || [Bind::Var(()), Bind::Var(())].into();
    vec![
        ("matches", two(), |cv| bome(parts(cv, false, true))),
        ("split_matches", two(), |cv| bome(parts(cv, true, true))),
        ("split_", two(), |cv| bome(parts(cv, true, false))),
    ]
}

/// The text between matches, the matches, or both in turn.
fn parts(mut cv: Cv<'_, Data>, between: bool, matches: bool) -> Result<Val, Error<Val>> {
    let flags = text(&cv.0.pop_var())?;
    let pattern = text(&cv.0.pop_var())?;
    let subject = text(&cv.1)?;
    let regex = build(&pattern, &flags)?;
    let limit = if flags.contains('g') { usize::MAX } else { 1 };
    let found = regex
        .captures_iter(&subject)
        .filter(|m| !flags.contains('n') || !whole(m).1.is_empty());
    let mut out = Vec::new();
    let mut end = 0;
    for captures in found.take(limit) {
        let (start, hit) = whole(&captures);
        if between {
            out.push(Val::from(subject[end..start].to_owned()));
        }
        if matches {
            out.push(groups(&regex, &captures, &subject));
        }
        end = start + hit.len();
    }
    if between {
        out.push(Val::from(subject[end..].to_owned()));
    }
    Ok(out.into_iter().collect())
}

fn whole<'t>(captures: &Captures<'t>) -> (usize, &'t str) {
    captures.get(0).map_or((0, ""), |m| (m.start(), m.as_str()))
}

fn groups(regex: &Regex, captures: &Captures<'_>, subject: &str) -> Val {
    let named = regex.capture_names().zip(captures.iter());
    let group = |(name, group): (Option<&str>, Option<regex::Match<'_>>)| {
        let group = group?;
        let offset = subject[..group.start()].chars().count();
        let mut object = jaq_json::Map::default();
        object.insert(Val::from("offset".to_owned()), Val::from(offset));
        object.insert(
            Val::from("length".to_owned()),
            Val::from(group.as_str().chars().count()),
        );
        object.insert(Val::from("string".to_owned()), Val::from(group.as_str().to_owned()));
        if let Some(name) = name {
            object.insert(Val::from("name".to_owned()), Val::from(name.to_owned()));
        }
        Some(Val::obj(object))
    };
    named.filter_map(group).collect()
}

fn build(pattern: &str, flags: &str) -> Result<Regex, Error<Val>> {
    if let Some(unknown) = flags.chars().find(|c| !"gnimslxp".contains(*c)) {
        return Err(Error::str(format!("invalid regex flag: {unknown}")));
    }
    let has = |flag| flags.contains(flag);
    RegexBuilder::new(pattern)
        .case_insensitive(has('i'))
        .multi_line(has('m') || has('p'))
        .dot_matches_new_line(has('s') || has('p'))
        .swap_greed(has('l'))
        .ignore_whitespace(has('x'))
        .size_limit(1 << 20)
        .build()
        .map_err(|_| Error::str("invalid regex"))
}

fn text(value: &Val) -> Result<String, Error<Val>> {
    Ok(String::from_utf8_lossy(value.try_as_utf8_bytes()?).into_owned())
}
