//! What others wrote, made harmless before anybody sees it.

/// The longest provider code that is shown.
const MAX_CODE: usize = 64;
/// The longest text for people that is shown, in characters.
pub(crate) const MAX_TEXT: usize = 256;

/// Takes out what could forge a line of a log or turn text around: controls, bidirectional marks, invisible characters.
/// Line breaks and tabs become spaces, so that words do not run together.
pub(crate) fn clean(text: &str) -> String {
    let blank = |c: char| if matches!(c, '\t' | '\n' | '\r') { ' ' } else { c };
    text.chars()
        .map(blank)
        .filter(|c| !c.is_control() && !is_invisible(*c))
        .collect()
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The visible ASCII of a provider's code: one word, although RFC 6749 appendix A.7 would allow spaces.
pub(crate) fn clean_code(text: &str) -> String {
    text.chars().filter(char::is_ascii_graphic).collect()
}

/// The beginning of a cleaned code that may be shown.
pub(crate) fn cut_code(code: &str) -> &str {
    cut(code, MAX_CODE)
}

/// The beginning of a text, at most so many characters.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    text.char_indices().nth(max).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cleaned_and_cut() {
        assert_eq!(clean("a\r\nb\u{1b}[31mc\u{202e}d\u{0}\u{85}\u{2028}e"), "a  b[31mcde");
        assert_eq!(clean_code("in valid\u{e9}_\"grant\"\n"), "invalid_\"grant\"");
        assert_eq!(cut("äöü", 2), "äö");
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut_code(&"x".repeat(300)).len(), 64);
    }
}
