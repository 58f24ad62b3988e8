//! `$(NAME)` in commands, arguments and values, as Kubernetes expands it.

/// Replaces each `$(NAME)` that `value` knows; `$$` is one dollar sign, everything unknown stays as written.
pub fn expand<'v>(text: &str, value: impl Fn(&str) -> Option<&'v str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            out.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match value(name) {
                Some(found) => out.push_str(found),
                None => out.push_str(&rest[at..rest.len() - tail.len()]),
            }
            rest = tail;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_as_kubernetes_does() {
        let check = |text: &str, expected: &str| {
            let value = |name: &str| match name {
                "A" => Some("a"),
                "EMPTY" => Some(""),
                "REF" => Some("$(A)"),
                _ => None,
            };
            assert_eq!(expand(text, value), expected, "{text}");
        };
        check("$(A)", "a");
        check("x-$(A)-$(A)-y", "x-a-a-y");
        check("$$(A)", "$(A)");
        check("$$$(A)", "$a");
        check("$(B)", "$(B)");
        check("$(EMPTY)|", "|");
        check("$(REF)", "$(A)");
        check("$A ${A}", "$A ${A}");
        check("$(A", "$(A");
        check("end$", "end$");
        check("$(A)$(", "a$(");
        check("\u{e9}$(A)", "\u{e9}a");
    }
}
