//! Just enough HTML to use server-made pages: tags, attributes, forms.

/// One tag: its name and its attributes, as they mean.
#[derive(Clone, Debug)]
pub(crate) struct Tag {
    pub(crate) name: String,
    attributes: Vec<(String, String)>,
    /// Where the tag begins and ends in the page.
    span: (usize, usize),
}

impl Tag {
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = &str> {
        self.attributes.iter().map(|(name, _)| name.as_str())
    }
}

/// The opening tags of a page, in order.
pub(crate) fn tags(page: &str) -> Vec<Tag> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = page[at..].find('<').map(|i| at + i) {
        at = start + 1;
        let rest = &page[at..];
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic()) {
            continue;
        }
        let name_end = rest
            .find(|c: char| c.is_whitespace() || c == '>' || c == '/')
            .unwrap_or(rest.len());
        let (attributes, length) = attributes(&rest[name_end..]);
        let end = at + name_end + length;
        found.push(Tag {
            name: rest[..name_end].to_ascii_lowercase(),
            attributes,
            span: (start, end),
        });
        at = end;
    }
    found
}

/// The attributes up to the end of the tag, and how long they are.
fn attributes(text: &str) -> (Vec<(String, String)>, usize) {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        at += text[at..].len()
            - text[at..]
                .trim_start_matches(|c: char| c.is_whitespace() || c == '/')
                .len();
        let rest = &text[at..];
        if rest.is_empty() || rest.starts_with('>') {
            return (found, (at + 1).min(text.len()));
        }
        let name_end = rest
            .find(|c: char| c.is_whitespace() || "=>/".contains(c))
            .unwrap_or(rest.len())
            .max(1);
        let name = rest[..name_end].to_ascii_lowercase();
        at += name_end;
        let mut value = "";
        if let Some(rest) = text[at..].strip_prefix('=') {
            let (skip, end) = match rest.chars().next() {
                Some(quote @ ('"' | '\'')) => (1, rest[1..].find(quote).map_or(rest.len(), |i| i + 1)),
                _ => (
                    0,
                    rest.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(rest.len()),
                ),
            };
            value = &rest[skip..end];
            at += 1 + (end + skip).min(rest.len());
        }
        found.push((name, unescape(value)));
    }
}

/// Resolves the entities that templates write.
pub(crate) fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (entity, tail) = after
            .split_once(';')
            .filter(|(e, _)| e.len() <= 8)
            .unwrap_or(("", after));
        let number = entity.strip_prefix('#').and_then(|n| match n.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => n.parse().ok(),
        });
        match (entity, number.and_then(char::from_u32)) {
            (_, Some(c)) => out.push(c),
            ("amp", _) => out.push('&'),
            ("lt", _) => out.push('<'),
            ("gt", _) => out.push('>'),
            ("quot", _) => out.push('"'),
            ("apos", _) => out.push('\''),
            _ => {
                out.push('&');
                rest = after;
                continue;
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// What a person reads: the page without tags, scripts and styles.
pub(crate) fn visible_text(page: &str) -> String {
    let mut out = String::new();
    let mut rest = page;
    while let Some((before, after)) = rest.split_once('<') {
        out.push_str(before);
        out.push(' ');
        let tag = after
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase();
        let close = format!("</{tag}");
        let after = match tag.as_str() {
            "script" | "style" => after.split_once(close.as_str()).map_or("", |(_, tail)| tail),
            _ => after,
        };
        rest = after.split_once('>').map_or("", |(_, tail)| tail);
    }
    out.push_str(rest);
    unescape(&out).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A form that is sent by POST.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) action: String,
    pub(crate) fields: Vec<(String, String)>,
}

/// The first form of a page that is sent by POST, with what it holds already; text fields are filled by `fill`.
pub(crate) fn first_form(page: &str, fill: impl Fn(&str) -> Option<String>) -> Option<Form> {
    let tags = tags(page);
    let is_post = |t: &&Tag| t.name == "form" && t.get("method").is_some_and(|m| m.eq_ignore_ascii_case("post"));
    let form = tags.iter().find(is_post)?;
    let end = page[form.span.1..]
        .find("</form")
        .map_or(page.len(), |i| form.span.1 + i);
    let inside = tags.iter().filter(|t| t.span.0 > form.span.0 && t.span.1 <= end);
    let fields = inside.filter(|t| t.name == "input").filter_map(|input| {
        let name = input.get("name")?;
        let value = match input.get("type") {
            Some("submit") => return None,
            Some("hidden") => input.get("value").unwrap_or_default().to_owned(),
            _ => fill(name)?,
        };
        Some((name.to_owned(), value))
    });
    Some(Form {
        action: form.get("action").unwrap_or_default().to_owned(),
        fields: fields.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_found_and_filled() {
        let page = r#"<p a=1>x</p><form METHOD="post" action='/go?a=1&amp;b=2'><input type=hidden name="p" value="&lt;x&#39;"/>
            <input required name=login><input type="submit" name="no" value="y"></form><input name="outside">"#;
        let form = first_form(page, |name| Some(format!("my {name}"))).expect("a form");
        assert_eq!(form.action, "/go?a=1&b=2");
        assert_eq!(
            form.fields,
            [
                ("p".to_owned(), "<x'".to_owned()),
                ("login".to_owned(), "my login".to_owned())
            ]
        );
    }

    #[test]
    fn visible_text_is_what_a_person_reads() {
        let page = "<title>A</title><style>p{}</style><p>b &amp; <b>c</b></p><script>x('<p>')</script>&unknown; end";
        assert_eq!(visible_text(page), "A b & c &unknown; end");
    }
}
