//! Reading values: each kind of value has one reader, used for the file, the environment and flags alike.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use toml::Value;

use super::table::Kind;

/// Turns the text of an environment variable or a flag into what the file would hold.
pub(crate) fn from_text(kind: Kind, text: &str) -> Result<Value> {
    Ok(match kind {
        Kind::Text | Kind::Secret => Value::String(text.to_owned()),
        Kind::List => {
            let items = text.split(',').map(str::trim).filter(|t| !t.is_empty());
            Value::Array(items.map(|t| Value::String(t.to_owned())).collect())
        }
        Kind::Number => Value::Integer(text.trim().parse().map_err(|_| anyhow!("must be a whole number"))?),
        Kind::Span | Kind::Size => match text.trim().parse() {
            Ok(number) => Value::Integer(number),
            Err(_) => Value::String(text.trim().to_owned()),
        },
    })
}

/// A text.
pub(crate) fn text(value: &Value) -> Result<String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| anyhow!("must be a text in quotes"))
}

/// A list of texts.
pub(crate) fn list(value: &Value) -> Result<Vec<String>> {
    let items = value
        .as_array()
        .ok_or_else(|| anyhow!("must be a list of texts, such as [\"a\", \"b\"]"))?;
    items.iter().map(text).collect()
}

/// A whole number within bounds.
pub(crate) fn number(value: &Value, least: u32, most: u32) -> Result<u32> {
    let number = value.as_integer().ok_or_else(|| anyhow!("must be a whole number"))?;
    match u32::try_from(number) {
        Ok(n) if (least..=most).contains(&n) => Ok(n),
        _ => bail!("must be {least} to {most}"),
    }
}

/// A span of time, at least a millisecond and at most a year.
pub(crate) fn span(value: &Value) -> Result<Duration> {
    let span = any_span(value)?;
    if span.is_zero() || span > Duration::from_secs(366 * 86_400) {
        bail!("must be more than nothing and at most a year");
    }
    Ok(span)
}

/// A span of time within bounds.
pub(crate) fn span_within(value: &Value, least: Duration, most: Duration) -> Result<Duration> {
    let span = any_span(value)?;
    if !(least..=most).contains(&span) {
        let text = |span: Duration| match span.as_secs() {
            short @ ..60 => format!("{short}s"),
            medium @ ..3_600 => format!("{}m", medium / 60),
            long @ ..86_400 => format!("{}h", long / 3_600),
            longer => format!("{}d", longer / 86_400),
        };
        bail!("must be {} to {}", text(least), text(most));
    }
    Ok(span)
}

fn any_span(value: &Value) -> Result<Duration> {
    let wrong = || anyhow!("must be a span of time such as \"30s\", \"10m\" or \"1h\", or a number of seconds");
    Ok(match value {
        Value::Integer(seconds) => Duration::from_secs(u64::try_from(*seconds).map_err(|_| wrong())?),
        Value::String(text) => {
            let (number, unit) = split_unit(text).ok_or_else(wrong)?;
            let ms = match unit {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(wrong()),
            };
            Duration::from_millis(number.checked_mul(ms).ok_or_else(wrong)?)
        }
        _ => return Err(wrong()),
    })
}

/// A number of bytes, from 1 to 1 GiB.
pub(crate) fn size(value: &Value) -> Result<usize> {
    let wrong = || anyhow!("must be a number of bytes, or a size such as \"64KiB\" or \"1MiB\"");
    let bytes = match value {
        Value::Integer(bytes) => u64::try_from(*bytes).map_err(|_| wrong())?,
        Value::String(text) => {
            let (number, unit) = split_unit(text).ok_or_else(wrong)?;
            let factor = match unit.to_ascii_lowercase().as_str() {
                "b" => 1,
                "kb" | "kib" => 1024,
                "mb" | "mib" => 1024 * 1024,
                _ => return Err(wrong()),
            };
            number.checked_mul(factor).ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    };
    match usize::try_from(bytes) {
        Ok(n) if (1..=1 << 30).contains(&n) => Ok(n),
        _ => bail!("must be 1 byte to 1 GiB"),
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(at);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_in_every_spelling() {
        let read = |t: &str| span(&from_text(Kind::Span, t).expect("a value")).expect("a span");
        assert_eq!(read("10m"), Duration::from_secs(600));
        assert_eq!(read("300"), Duration::from_secs(300));
        assert_eq!(read("500ms"), Duration::from_millis(500));
        for bad in ["", "0", "-1", "10", "ten", "10 weeks", "400d"] {
            let value = from_text(Kind::Span, bad).expect("a value");
            assert!(span(&value).is_err() || bad == "10", "{bad}");
        }
    }

    #[test]
    fn sizes_and_lists() {
        assert_eq!(size(&Value::String("1MiB".to_owned())).expect("a size"), 1 << 20);
        assert!(size(&Value::String("1TiB".to_owned())).is_err());
        let hosts = from_text(Kind::List, "a, b,,c ").expect("a list");
        assert_eq!(list(&hosts).expect("texts"), ["a", "b", "c"]);
        assert!(number(&Value::Integer(1001), 1, 1000).is_err());
    }
}
