//! Unified diffs, as patch tools read them, with colours for a terminal.

use diffy::DiffOptions;

use crate::terminal::{self, Colour};

/// The unified diff of two texts about `name`; empty when they are equal.
pub(super) fn diff(before: &str, after: &str, name: &str) -> String {
    if before == after {
        return String::new();
    }
    DiffOptions::new()
        .set_context_len(CONTEXT_LINES)
        .set_original_filename(format!("live/{name}"))
        .set_modified_filename(format!("applied/{name}"))
        .create_patch(before, after)
        .to_string()
}

/// The text in colours when stdout is a terminal that wants some.
pub(super) fn coloured(text: &str) -> String {
    if !terminal::stdout_has_colours() {
        return text.to_owned();
    }
    text.lines().map(|line| format!("{}\n", line_coloured(line))).collect()
}

fn line_coloured(line: &str) -> String {
    let colour = match line.as_bytes().first() {
        Some(b'+') => Colour::Green,
        Some(b'-') => Colour::Red,
        Some(b'@') => Colour::Cyan,
        _ => return line.to_owned(),
    };
    terminal::coloured(line, colour)
}

/// As of `diff -u`.
const CONTEXT_LINES: usize = 3;

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::{diff, line_coloured};

    #[test]
    fn differences() {
        let expected = expect![[r"
            --- live/v1.ConfigMap.default.c
            +++ applied/v1.ConfigMap.default.c
            @@ -1,3 +1,3 @@
             data:
            -  a: b
            +  a: c
             kind: ConfigMap
        "]];
        let text = |value| format!("data:\n  a: {value}\nkind: ConfigMap\n");
        expected.assert_eq(&diff(&text("b"), &text("c"), "v1.ConfigMap.default.c"));
        assert_eq!(diff(&text("b"), &text("b"), "x"), "");
        let expected = expect![[r"
            --- live/x
            +++ applied/x
            @@ -0,0 +1 @@
            +new
        "]];
        expected.assert_eq(&diff("", "new\n", "x"));
    }

    #[test]
    fn colours() {
        assert_eq!(line_coloured("+a"), "\x1b[32m+a\x1b[0m");
        assert_eq!(line_coloured("@@ -1 +1 @@"), "\x1b[36m@@ -1 +1 @@\x1b[0m");
        assert_eq!(line_coloured(" a"), " a");
    }
}
