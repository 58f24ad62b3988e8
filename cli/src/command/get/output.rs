//! The value of `-o`.

use std::{path::Path, str::FromStr};

use super::columns::Columns;
use crate::{jsonpath::Template, manifest};

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
    /// What a path finds, as a list.
    JsonpathAsJson(Template),
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
            ("jsonpath", template) => template_of(template).map(Self::Jsonpath),
            ("jsonpath-as-json", template) => template_of(template).map(Self::JsonpathAsJson),
            ("jsonpath-file", file) => template_of(&content(file)?).map(Self::Jsonpath),
            ("custom-columns", columns) => Columns::parse(columns).map(Self::CustomColumns),
            ("custom-columns-file", file) => Columns::parse_file(&content(file)?).map(Self::CustomColumns),
            _ => Err("allowed formats are: wide, yaml, json, name, jsonpath=TEMPLATE, jsonpath-file=FILE, \
                 jsonpath-as-json=TEMPLATE, custom-columns=HEADER:JSONPATH,..., custom-columns-file=FILE"
                .to_owned()),
        }
    }
}

fn template_of(text: &str) -> Result<Template, String> {
    Template::parse(text).map_err(|error| error.to_string())
}

fn content(file: &str) -> Result<String, String> {
    manifest::load(Path::new(file)).map_err(|error| format!("{error:#}"))
}
