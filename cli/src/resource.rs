//! Resources as they are named on the command line: `pods`, `po,nodes`, `pod/x`, `events.events.k8s.io`.

use std::ffi::OsStr;

use anyhow::Result;
use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
pub(crate) use dunlin_api::Kind;
use dunlin_api::kind;

use crate::{api::Api, failure::UsageError};

mod learn;

/// What a command is to work on: objects of one kind by name, or all of them.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    /// The kind.
    pub(crate) kind: &'static Kind,
    /// Empty means all.
    pub(crate) names: Vec<String>,
    /// Of an object that a manifest names; else the namespace in effect.
    pub(crate) namespace: Option<String>,
}

/// Takes any word of a command line; shells complete it with the types that are known here.
#[derive(Clone, Debug)]
pub(crate) struct TypeWords;

impl TypedValueParser for TypeWords {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let mut names: Vec<&'static str> = kind::all().map(|kind| kind.plural).collect();
        names.sort_unstable();
        // Some are in several groups.
        names.dedup();
        Some(Box::new(names.into_iter().map(PossibleValue::new)))
    }
}

/// As [`parse`], also of types that only the server knows, which is asked when a word means none that is known here.
///
/// # Errors
/// As [`parse`], or when the server cannot be asked.
pub(crate) async fn resolve(words: &[String], api: &Api) -> Result<Vec<Selection>> {
    let slashed = words.iter().filter_map(|word| word.split_once('/')).map(|(typed, _)| typed);
    let first = words.first().into_iter().filter(|word| !word.contains('/')).flat_map(|word| word.split(','));
    learn_unless_known(slashed.chain(first), api).await?;
    parse(words)
}

/// As [`find`], also of types that only the server knows.
///
/// # Errors
/// As [`find`], or when the server cannot be asked.
pub(crate) async fn resolve_one(word: &str, api: &Api) -> Result<&'static Kind> {
    learn_unless_known([word], api).await?;
    find(word)
}

async fn learn_unless_known(words: impl IntoIterator<Item = &str>, api: &Api) -> Result<()> {
    let mut words = words.into_iter();
    match words.any(|word| !word.is_empty() && kind::by_any_name(word).is_empty()) {
        true => learn::kinds(api).await,
        false => Ok(()),
    }
}

/// The kind of an object with this `apiVersion` and `kind`, also one that only the server knows.
///
/// # Errors
/// When the server cannot be asked.
pub(crate) async fn resolve_object(
    api_version: &str,
    name: &str,
    api: &Api,
) -> Result<Option<&'static Kind>> {
    if kind::by_kind(api_version, name).is_none() {
        learn::kinds(api).await?;
    }
    Ok(kind::by_kind(api_version, name))
}

/// Parses the words after a command: either `TYPE[,TYPE].. [NAME..]`, or `TYPE/NAME..`.
///
/// # Errors
/// [`UsageError`] for an unknown type or a mixture of both forms.
pub(crate) fn parse(words: &[String]) -> Result<Vec<Selection>> {
    let Some(first) = words.first() else {
        return Err(UsageError(
            "which resource? Name a type, for instance `pods`, or an object, for instance `pod/hello`"
                .to_owned(),
        )
        .into());
    };
    if first.contains('/') {
        return slashed(words);
    }
    if let Some(word) = words.iter().find(|word| word.contains('/')) {
        return Err(UsageError(format!(
            "{word:?} cannot follow a type; name either `TYPE NAME` or `TYPE/NAME`"
        ))
        .into());
    }
    let mut selections = Vec::new();
    for word in first.split(',').filter(|word| !word.is_empty()) {
        for kind in kinds(word)? {
            selections.push(Selection { kind, names: words[1..].to_vec(), namespace: None });
        }
    }
    Ok(selections)
}

/// `TYPE/NAME` words; neighbours of one kind become one selection.
fn slashed(words: &[String]) -> Result<Vec<Selection>> {
    let mut selections: Vec<Selection> = Vec::new();
    for word in words {
        let Some((kind, name)) =
            word.split_once('/').filter(|(kind, name)| !kind.is_empty() && !name.is_empty())
        else {
            return Err(
                UsageError(format!("{word:?} is not of the form TYPE/NAME, which the others have")).into()
            );
        };
        let kind = find(kind)?;
        match selections.last_mut() {
            Some(last) if same(last.kind, kind) => last.names.push(name.to_owned()),
            _ => selections.push(Selection { kind, names: vec![name.to_owned()], namespace: None }),
        }
    }
    Ok(selections)
}

/// The kinds that a word means: one, or those of a category.
fn kinds(word: &str) -> Result<Vec<&'static Kind>> {
    match kind::by_any_name(word) {
        kinds if kinds.is_empty() => Err(unknown(word)),
        kinds => Ok(kinds),
    }
}

/// The kind with this plural, singular, short name or kind, with or without its group.
///
/// # Errors
/// [`UsageError`] with a suggestion.
pub(crate) fn find(word: &str) -> Result<&'static Kind> {
    kinds(word).map(|kinds| kinds[0])
}

fn unknown(word: &str) -> anyhow::Error {
    let lower = word.to_lowercase();
    let distances = kind::all().flat_map(|kind| {
        [kind.plural, kind.singular]
            .map(|name| (distance(name, &lower), name.len().min(lower.len()), kind.plural))
    });
    let hint = match distances.filter(|(distance, length, _)| distance * LETTERS_PER_MISTAKE <= *length).min()
    {
        Some((_, _, near)) => format!("did you mean {near:?}?"),
        None => "`dunlin api-resources` lists those it has".to_owned(),
    };
    UsageError(format!("the server doesn't have a resource type {word:?}; {hint}")).into()
}

/// An object as `pod/x` or `deployment.apps/x`.
pub(crate) fn reference(kind: &Kind, name: &str) -> String {
    format!("{}/{name}", qualified_singular(kind))
}

/// A kind as `pod` or `deployment.apps`.
pub(crate) fn qualified_singular(kind: &Kind) -> String {
    match kind.group {
        "" => kind.singular.to_owned(),
        group => format!("{}.{group}", kind.singular),
    }
}

/// Whether both are the same row.
pub(crate) fn same(a: &Kind, b: &Kind) -> bool {
    a.kind == b.kind && a.group == b.group
}

/// Few enough mistakes for what is meant to be known: swapping two neighbours counts as one.
const LETTERS_PER_MISTAKE: usize = 3;

/// Levenshtein's distance, for suggestions, with neighbours that changed places as one mistake.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replaced = row[j] + usize::from(x != y);
            let mut least = replaced.min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                let swapped: usize = before[j - 1];
                least = least.min(swapped + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{distance, parse};

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn selections() {
        let check = |line: &str, expected: &[(&str, &[&str])]| {
            let parsed = parse(&words(line)).unwrap();
            let parsed: Vec<(&str, Vec<&str>)> = parsed
                .iter()
                .map(|selection| {
                    (selection.kind.plural, selection.names.iter().map(String::as_str).collect())
                })
                .collect();
            let expected: Vec<(&str, Vec<&str>)> =
                expected.iter().map(|(kind, names)| (*kind, names.to_vec())).collect();
            assert_eq!(parsed, expected, "{line}");
        };
        check("pods", &[("pods", &[])]);
        check("po,no x", &[("pods", &["x"]), ("nodes", &["x"])]);
        check("Pod a b", &[("pods", &["a", "b"])]);
        check("pod/a pod/b cm/c", &[("pods", &["a", "b"]), ("configmaps", &["c"])]);
        check("pods.v1. x", &[("pods", &["x"])]);
    }

    #[test]
    fn a_category_means_all_its_kinds() {
        let parsed = parse(&words("all")).unwrap();
        let kinds: Vec<_> = parsed.iter().map(|selection| selection.kind.plural).collect();
        for plural in ["pods", "services", "deployments", "jobs", "horizontalpodautoscalers"] {
            assert!(kinds.contains(&plural), "{kinds:?}");
        }
        assert!(parsed.iter().all(|selection| selection.names.is_empty()));
    }

    #[test]
    fn mistakes() {
        let check = |line: &str, expected: &str| {
            let error = parse(&words(line)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("", "which resource?");
        check("pdos", "did you mean \"pods\"?");
        check("nodse", "did you mean \"nodes\"?");
        check("deploymnet", "did you mean \"deployments\"?");
        check("servcies", "did you mean \"services\"?");
        check("gizmos", "api-resources");
        check("foo", "api-resources");
        check("crd2", "api-resources");
        check("xy", "api-resources");
        check("pod/a b", "is not of the form TYPE/NAME");
        check("pod b/c", "cannot follow a type");
    }

    #[test]
    fn distances() {
        assert_eq!(distance("pods", "pdos"), 1);
        assert_eq!(distance("pods", "pdoss"), 2);
        assert_eq!(distance("", "ab"), 2);
        assert_eq!(distance("node", "node"), 0);
    }
}
