//! The texts of hosted pages: one catalogue for each language, chosen by what the browser prefers.
//!
//! English is built in and complete. What another language leaves out is shown in English.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use fluent_langneg::{NegotiationStrategy, negotiate_languages};
use http::{HeaderMap, header};
use unic_langid::{CharacterDirection, LanguageIdentifier};

const ENGLISH: &str = include_str!("../../../locales/en.ftl");

/// How much of a browser's wishes is read.
const MAX_WISHES: usize = 20;

/// One language.
struct Language {
    id: LanguageIdentifier,
    bundle: FluentBundle<FluentResource>,
}

/// Every language.
pub(crate) struct Catalogue {
    english: Language,
    /// Those of the operator, which may have another English among them.
    more: Vec<Language>,
    /// What a browser may get, `english` last.
    ids: Vec<LanguageIdentifier>,
}

/// The texts in one language.
#[derive(Clone, Copy)]
pub(crate) struct Texts<'a> {
    language: &'a Language,
    english: &'a Language,
}

impl Catalogue {
    /// English, and the languages of a directory with files such as `de.ftl`.
    pub(crate) fn load(dir: Option<&Path>) -> Result<Self> {
        let english = Language::parse("en", ENGLISH)?;
        let mut more = Vec::new();
        if let Some(dir) = dir {
            let files =
                std::fs::read_dir(dir).with_context(|| format!("locales_dir: cannot list {}", dir.display()))?;
            for file in files {
                let path = file.context("locales_dir")?.path();
                if path.extension().is_some_and(|e| e == "ftl") {
                    let place = format!("locales_dir: {}", path.display());
                    let text = std::fs::read_to_string(&path).with_context(|| place.clone())?;
                    let name = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default();
                    more.push(Language::parse(name, &text).context(place)?);
                }
            }
        }
        let ids = more.iter().chain([&english]).map(|l| l.id.clone()).collect();
        Ok(Self { english, more, ids })
    }

    /// The texts in the language that a browser likes best.
    pub(crate) fn preferred(&self, headers: &HeaderMap) -> Texts<'_> {
        let wishes = headers.get(header::ACCEPT_LANGUAGE).and_then(|v| v.to_str().ok());
        let wishes = wishes_of(wishes.unwrap_or_default());
        let strategy = NegotiationStrategy::Lookup;
        let chosen = negotiate_languages(&wishes, &self.ids, self.ids.last(), strategy);
        let language = chosen
            .first()
            .and_then(|id| self.more.iter().find(|language| language.id == **id));
        Texts {
            language: language.unwrap_or(&self.english),
            english: &self.english,
        }
    }
}

/// RFC 9110 section 12.5.4: the languages by weight, those of equal weight as they came.
fn wishes_of(text: &str) -> Vec<LanguageIdentifier> {
    let wish = |part: &str| {
        let (tag, parameters) = part.split_once(';').unwrap_or((part, ""));
        let weight = parameters
            .trim()
            .strip_prefix("q=")
            .map_or(Some(1.0), |q| q.trim().parse::<f32>().ok())?;
        Some((weight, tag.trim().parse::<LanguageIdentifier>().ok()?))
    };
    let mut wishes: Vec<_> = text
        .split(',')
        .take(MAX_WISHES)
        .filter_map(wish)
        .filter(|(weight, _)| *weight > 0.0)
        .collect();
    wishes.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    wishes.into_iter().map(|(_, tag)| tag).collect()
}

impl Language {
    fn parse(name: &str, text: &str) -> Result<Self> {
        let id: LanguageIdentifier = name
            .parse()
            .map_err(|_| anyhow!("must be named after a language, such as de.ftl or pt-BR.ftl"))?;
        let resource = FluentResource::try_new(text.to_owned()).map_err(|(_, errors)| match errors.first() {
            Some(error) => anyhow!("line {}: {error}", text[..error.pos.start].lines().count().max(1)),
            None => anyhow!("cannot be read"),
        })?;
        let mut bundle = FluentBundle::new_concurrent(vec![id.clone()]);
        // Marks around names keep their direction apart from the sentence's; they matter where that runs the other way.
        bundle.set_use_isolating(id.character_direction() == CharacterDirection::RTL);
        if let Err(errors) = bundle.add_resource(resource) {
            bail!("{}", errors.first().map(ToString::to_string).unwrap_or_default());
        }
        Ok(Self { id, bundle })
    }

    fn format(&self, name: &str, attribute: Option<&str>, args: &FluentArgs<'_>) -> Option<String> {
        let message = self.bundle.get_message(name)?;
        let pattern = match attribute {
            Some(attribute) => message.get_attribute(attribute)?.value(),
            None => message.value()?,
        };
        let mut errors = Vec::new();
        let text = self.bundle.format_pattern(pattern, Some(args), &mut errors);
        // A text that names what is not there is as good as none.
        errors.is_empty().then(|| text.into_owned())
    }
}

impl Texts<'_> {
    /// The language, for `lang`.
    pub(crate) fn lang(&self) -> String {
        self.language.id.to_string()
    }

    /// In which direction it is written, for `dir`.
    pub(crate) fn dir(&self) -> &'static str {
        match self.language.id.character_direction() {
            CharacterDirection::RTL => "rtl",
            _ => "ltr",
        }
    }

    /// A text without variables.
    pub(crate) fn get(&self, name: &str) -> String {
        self.with(name, [])
    }

    /// A text with its variables.
    pub(crate) fn with<const N: usize>(&self, name: &str, values: [(&str, FluentValue<'_>); N]) -> String {
        self.find(name, None, values).unwrap_or_else(|| {
            tracing::error!(name, "a text of the pages is missing");
            String::new()
        })
    }

    /// A part of a text, such as its title.
    pub(crate) fn part(&self, name: &str, part: &str) -> Option<String> {
        self.find(name, Some(part), [])
    }

    /// Whether English, which has everything that there is, has this text.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.english.bundle.has_message(name)
    }

    fn find<const N: usize>(
        &self,
        name: &str,
        part: Option<&str>,
        values: [(&str, FluentValue<'_>); N],
    ) -> Option<String> {
        let args: FluentArgs<'_> = values.into_iter().collect();
        self.language
            .format(name, part, &args)
            .or_else(|| self.english.format(name, part, &args))
    }
}

#[cfg(test)]
mod tests;
