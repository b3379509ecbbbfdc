//! Queries: parameters that are known by name, and whose values can be read, or are refused.

use valetkey_core::ErrorCode;

use super::error::ApiError;

/// Reads a query. `set` is given the parameters that `names` has, and answers `None` if the value cannot be one.
pub(crate) fn read<Q: Default>(
    text: Option<&str>,
    names: &[&str],
    mut set: impl FnMut(&mut Q, &str, String) -> Option<()>,
) -> Result<Q, ApiError> {
    let mut query = Q::default();
    for (name, value) in url::form_urlencoded::parse(text.unwrap_or_default().as_bytes()) {
        if !names.contains(&name.as_ref()) {
            let message = format!("there are the filters {}", listed(names));
            return Err(ApiError::new(ErrorCode::UnknownField, message));
        }
        set(&mut query, &name, value.into_owned()).ok_or_else(|| {
            ApiError::new(
                ErrorCode::ValidationFailed,
                format!("{name}: is not a value that this filter takes"),
            )
        })?;
    }
    Ok(query)
}

/// As people list things.
fn listed(names: &[&str]) -> String {
    match names {
        [most @ .., last] if !most.is_empty() => format!("{} and {last}", most.join(", ")),
        _ => names.concat(),
    }
}
