//! What an operator set of the look, as pages use it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use crate::brand::{Brand, Color, Logo};

use super::assets::STYLE;

/// The look of all hosted pages.
pub(crate) struct Look {
    pub(super) name: String,
    /// Whether nobody gave another name or logo: then our own mark is shown.
    pub(super) is_ours: bool,
    pub(super) logo: Option<Logo>,
    /// The operator's colours as a stylesheet.
    pub(super) style: Option<String>,
    /// Changes with everything that browsers keep, so that they ask again.
    pub(super) version: String,
}

impl Look {
    pub(crate) fn new(brand: &Brand) -> Self {
        let dark = brand.accent_dark.or(brand.accent);
        let light = brand.accent.map(|color| format!(":root {{ {} }}\n", colors(color)));
        let dark = dark.map(|color| {
            format!(
                "@media (prefers-color-scheme: dark) {{ :root {{ {} }} }}\n",
                colors(color)
            )
        });
        let style: String = light.into_iter().chain(dark).collect();
        let mut hasher = DefaultHasher::new();
        (STYLE, &style, brand.logo.as_ref().map(|logo| &logo.bytes)).hash(&mut hasher);
        Self {
            is_ours: brand.logo.is_none() && brand.name == "valetkey",
            name: brand.name.clone(),
            logo: brand.logo.clone(),
            style: Some(style).filter(|style| !style.is_empty()),
            version: format!("{:016x}", hasher.finish()),
        }
    }
}

fn colors(accent: Color) -> String {
    format!("--accent: {accent}; --on-accent: {};", accent.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_properties_and_dark_ones_default_to_light_ones() {
        let brand = |accent: Option<&str>, dark: Option<&str>| Brand {
            name: "Acme".to_owned(),
            logo: None,
            accent: accent.map(|c| c.parse().expect("a colour")),
            accent_dark: dark.map(|c| c.parse().expect("a colour")),
        };
        assert_eq!(Look::new(&brand(None, None)).style, None);
        let light = ":root { --accent: #006644; --on-accent: #ffffff; }\n";
        let same = format!("{light}@media (prefers-color-scheme: dark) {{ {} }}\n", light.trim());
        assert_eq!(Look::new(&brand(Some("#006644"), None)).style, Some(same));
        let own = "@media (prefers-color-scheme: dark) { :root { --accent: #66ddaa; --on-accent: #000000; } }\n";
        assert_eq!(Look::new(&brand(None, Some("#66ddaa"))).style.as_deref(), Some(own));
    }
}
