//! Objects made of options, as kubectl makes them: one function per kind, values in, an object out. Nothing here asks anybody; what
//! the server fills in is left out.

pub(crate) mod autoscaler;
pub(crate) mod content;
pub(crate) mod ingress;
pub(crate) mod pod;
pub(crate) mod policy;
pub(crate) mod selector;
pub(crate) mod service;
pub(crate) mod workload;

use serde_json::{Map, Value};

use crate::{failure::UsageError, merge, resource::Kind};

/// How fields of the user's go over an object's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Override {
    /// Maps are merged (RFC 7396).
    Merge,
    /// Maps are merged, and lists as the schema says.
    Strategic,
}

/// The object with fields of the user's over its own.
///
/// # Errors
/// [`UsageError`] when they are no map.
pub(crate) fn overridden(
    kind: &Kind,
    mut object: Value,
    over: Value,
    how: Override,
) -> Result<Value, UsageError> {
    if !over.is_object() {
        return Err(UsageError("--overrides is a map of fields, as JSON or YAML".to_owned()));
    }
    match how {
        Override::Merge => dunlin_api::patch::merge(&mut object, over),
        Override::Strategic => object = merge::three_way(kind.schema, &Value::Null, &over, &object),
    }
    Ok(object)
}

/// `KEY=VALUE` words as a map.
///
/// # Errors
/// [`UsageError`] with `what` for a word of another form.
pub(crate) fn pairs<'a>(
    words: impl IntoIterator<Item = &'a str>,
    what: &str,
) -> Result<Map<String, Value>, UsageError> {
    let pair = |word: &'a str| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), Value::from(value))),
        _ => Err(UsageError(format!("unexpected {what} spec: {word}"))),
    };
    words.into_iter().map(pair).collect()
}

/// Words separated by commas, the empty ones left out.
pub(crate) fn comma_separated(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Override, overridden, pairs};
    use crate::resource;

    #[test]
    fn fields_of_the_users_go_over_the_objects() {
        let pod = json!({"spec": {"containers": [{"name": "p", "image": "x"}]}});
        let over = json!({"spec": {"containers": [{"name": "p", "tty": true}], "nodeName": "n"}});
        let made = |how| overridden(resource::find("pods").unwrap(), pod.clone(), over.clone(), how).unwrap();
        assert_eq!(made(Override::Merge), over);
        let expected =
            json!({"spec": {"containers": [{"name": "p", "image": "x", "tty": true}], "nodeName": "n"}});
        assert_eq!(made(Override::Strategic), expected);
        assert!(
            overridden(resource::find("pods").unwrap(), pod.clone(), json!([]), Override::Merge).is_err()
        );
    }

    #[test]
    fn words_are_pairs() {
        assert_eq!(json!(pairs(["a=b", "c="], "label").unwrap()), json!({"a": "b", "c": ""}));
        assert_eq!(pairs(["a"], "label").unwrap_err().to_string(), "unexpected label spec: a");
    }
}
