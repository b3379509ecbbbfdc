//! The words for a broken rule. None of them shows the value that breaks it.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};

pub(super) fn message(kind: &Kind) -> String {
    let plural = |n: &u64| if *n == 1 { "" } else { "s" };
    match kind {
        Kind::Type {
            kind: TypeKind::Single(kind),
        } => format!("must be of type {kind}"),
        Kind::Type {
            kind: TypeKind::Multiple(kinds),
        } => {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.to_string()).collect();
            format!("must be of type {}", kinds.join(" or "))
        }
        Kind::Enum { options } => {
            let options = options.as_array().into_iter().flatten();
            let options: Vec<_> = options
                .map(|o| o.as_str().map_or_else(|| o.to_string(), ToOwned::to_owned))
                .collect();
            format!("must be one of {}", options.join(", "))
        }
        Kind::Constant { expected_value } => format!("must be {expected_value}"),
        Kind::Minimum { limit } => format!("must be at least {limit}"),
        Kind::Maximum { limit } => format!("must be at most {limit}"),
        Kind::ExclusiveMinimum { limit } => format!("must be more than {limit}"),
        Kind::ExclusiveMaximum { limit } => format!("must be less than {limit}"),
        Kind::MinLength { limit: 1 } | Kind::MinItems { limit: 1 } | Kind::MinProperties { limit: 1 } => {
            "must not be empty".to_owned()
        }
        Kind::MinLength { limit } => format!("must have at least {limit} character{}", plural(limit)),
        Kind::MaxLength { limit } => format!("must have at most {limit} character{}", plural(limit)),
        Kind::MinItems { limit } => format!("must have at least {limit} item{}", plural(limit)),
        Kind::MaxItems { limit } => format!("must have at most {limit} item{}", plural(limit)),
        Kind::MaxProperties { limit } => format!("must have at most {limit} member{}", plural(limit)),
        Kind::Pattern { pattern } => format!("must match {pattern}"),
        Kind::Format { format } => format!("must have the format {format}"),
        Kind::UniqueItems => "must not have an item twice".to_owned(),
        Kind::AnyOf { .. } | Kind::OneOfNotValid { .. } => "fits none of the allowed forms".to_owned(),
        Kind::OneOfMultipleValid { .. } => "fits more than one of the allowed forms".to_owned(),
        other => format!("breaks the rule {}", other.keyword()),
    }
}
