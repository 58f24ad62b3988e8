//! Breaking text into lines. Lines of a paragraph are joined; empty lines, and lines that are set in, stay lines of their own.

/// The lines of `text`, none longer than `width` unless a single word is.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for source in text.trim_end().lines() {
        let words = source.trim_start();
        if words.is_empty() {
            flush(&mut line, &mut lines);
            lines.push(String::new());
            continue;
        }
        let indent = &source[..source.len() - words.len()];
        if !indent.is_empty() {
            flush(&mut line, &mut lines);
            line.push_str(indent);
        }
        add(words, width, &mut line, &mut lines);
        if !indent.is_empty() {
            flush(&mut line, &mut lines);
        }
    }
    flush(&mut line, &mut lines);
    lines
}

fn add(words: &str, width: usize, line: &mut String, lines: &mut Vec<String>) {
    for word in words.split(' ') {
        let has_words = !line.trim_start().is_empty();
        if has_words && line.chars().count() + 1 + word.chars().count() > width {
            flush(line, lines);
        } else if has_words {
            line.push(' ');
        }
        line.push_str(word);
    }
}

fn flush(line: &mut String, lines: &mut Vec<String>) {
    if !line.is_empty() {
        // Of two spaces between words, one may be left where the line broke.
        lines.push(std::mem::take(line).trim_end().to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::wrap;

    #[test]
    fn text_is_broken_between_words() {
        let check = |text: &str, expected: &[&str]| assert_eq!(wrap(text, 10), expected, "{text:?}");
        check("", &[]);
        check("one two three", &["one two", "three"]);
        check("one\ntwo", &["one two"]);
        check("one\n\ntwo", &["one", "", "two"]);
        check("averyveryverylongword a", &["averyveryverylongword", "a"]);
        check("one.  Two.", &["one.  Two."]);
        check("one two.  Three.", &["one two.", "Three."]);
        check("one\n  two\nthree\nfour", &["one", "  two", "three four"]);
        check("one\n\ttwo three four\nfive", &["one", "\ttwo three", "four", "five"]);
    }
}
