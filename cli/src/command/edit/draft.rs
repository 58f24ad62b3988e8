//! The text in the editor: an object, below comments that say what to do and what was wrong with it.

use anyhow::Result;
use serde_json::Value;

use crate::document;

/// How the object is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// As YAML.
    Yaml,
    /// As JSON.
    Json,
}

/// What is to be edited next.
#[derive(Debug)]
pub(super) struct Draft {
    format: Format,
    text: String,
    /// Why the text was refused; empty before its first way to the server.
    reasons: String,
}

impl Draft {
    /// The object as it is.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub(super) fn new(format: Format, object: &Value) -> Result<Self> {
        let text = match format {
            Format::Yaml => document::yaml(object),
            Format::Json => document::json(object)?,
        };
        Ok(Self { format, text, reasons: String::new() })
    }

    /// Goes on with what was typed.
    pub(super) fn take(&mut self, typed: String) {
        self.text = typed;
    }

    /// Says above the text why it was refused.
    pub(super) fn reject(&mut self, reasons: &str) {
        reasons.clone_into(&mut self.reasons);
    }

    /// Whether it was refused.
    pub(super) const fn is_rejected(&self) -> bool {
        !self.reasons.is_empty()
    }

    /// The object, without comments above it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The end of a file's name that makes editors know the format.
    pub(super) const fn extension(&self) -> &'static str {
        match self.format {
            Format::Yaml => ".yaml",
            Format::Json => ".json",
        }
    }

    /// All that is put before the user.
    pub(super) fn shown(&self) -> String {
        let mut shown = HEADER.to_owned();
        if self.is_rejected() {
            shown.push_str("# It was refused:\n");
            shown.extend(self.reasons.lines().map(|line| format!("# {line}\n")));
            shown.push_str("#\n");
        }
        shown.push_str(&self.text);
        shown
    }
}

/// What was typed, without the comments above it.
pub(super) fn without_header(shown: &str) -> &str {
    let header = shown.split_inclusive('\n').take_while(|line| line.starts_with('#'));
    &shown[header.map(str::len).sum()..]
}

const HEADER: &str = "\
# Please edit the object below. Lines above it that begin with '#' are ignored, and an
# empty file cancels the edit. If the server refuses it, this file comes back with the reasons.
#
";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Draft, Format, without_header};

    #[test]
    fn what_is_shown_comes_back() {
        let mut draft = Draft::new(Format::Yaml, &json!({"data": {"a": "# no comment\n# here\n"}})).unwrap();
        assert_eq!(without_header(&draft.shown()), draft.text());
        draft.reject("first\nsecond");
        let shown = draft.shown();
        assert!(shown.contains("# It was refused:\n# first\n# second\n#\n"), "{shown}");
        assert_eq!(without_header(&shown), draft.text());
        assert_eq!(without_header("# only\n# comments"), "");
        assert_eq!(without_header(""), "");
    }
}
