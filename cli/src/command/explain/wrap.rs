//! Breaking text into lines. Empty lines and lines that begin with a tab stay as they are.

/// The lines of `text`, none longer than `width` unless a single word is.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for source in text.trim_end().lines() {
        let stays = source.trim().is_empty() || source.starts_with('\t');
        if stays {
            flush(&mut line, &mut lines);
            lines.push(if source.trim().is_empty() { String::new() } else { source.to_owned() });
            continue;
        }
        for word in source.split(' ') {
            if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                flush(&mut line, &mut lines);
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    flush(&mut line, &mut lines);
    lines
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
        check("one\n\tcode stays as it is\ntwo", &["one", "\tcode stays as it is", "two"]);
    }
}
