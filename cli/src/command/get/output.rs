//! The value of `-o`.

use std::str::FromStr;

use super::columns::Columns;
use crate::jsonpath::Template;

/// How `get` shows objects.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Output {
    /// A table with all columns.
    Wide,
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// `pod/x`, one a line.
    Name,
    /// A template filled in.
    Jsonpath(Template),
    /// A table with columns of the user's.
    CustomColumns(Columns),
}

impl FromStr for Output {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=').unwrap_or((text, "")) {
            ("wide", "") => Ok(Self::Wide),
            ("yaml", "") => Ok(Self::Yaml),
            ("json", "") => Ok(Self::Json),
            ("name", "") => Ok(Self::Name),
            ("jsonpath", template) => {
                Template::parse(template).map(Self::Jsonpath).map_err(|error| error.to_string())
            }
            ("custom-columns", columns) => Columns::parse(columns).map(Self::CustomColumns),
            _ => Err("allowed formats are: wide, yaml, json, name, jsonpath=TEMPLATE, custom-columns=HEADER:JSONPATH,..."
                .to_owned()),
        }
    }
}
