//! Taints as they are typed, and what they make of those that a node has.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use crate::{document::text, failure::UsageError};

/// What to do to the taints of nodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Changes {
    set: Vec<Taint>,
    removed: Vec<Taint>,
}

/// A taint; without an effect it means all with its key.
#[derive(Clone, Debug, PartialEq)]
struct Taint {
    key: String,
    value: String,
    effect: Option<String>,
}

/// What becomes of a taint that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clash {
    /// The new one takes its place.
    Replaced,
    /// Nothing is changed.
    Refused,
}

/// What becomes of a node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    /// All its taints.
    pub(super) taints: Vec<Value>,
    /// kubectl's word for the change.
    pub(super) words: &'static str,
}

impl Changes {
    /// The changes that words mean.
    ///
    /// # Errors
    /// [`UsageError`] when one is malformed, or they contradict each other.
    pub(super) fn parse(words: &[String]) -> Result<Self, UsageError> {
        let mut changes = Self::default();
        for word in words {
            match word.strip_suffix('-') {
                Some(removed) => changes.removed.push(taint(removed)?),
                None => {
                    let taint = taint(word)?;
                    if taint.effect.is_none() {
                        return Err(UsageError(format!(
                            "invalid taint spec: {word}, an effect is missing, as in {word}:NoSchedule"
                        )));
                    }
                    if changes.set.iter().any(|other| other.is_same(&taint)) {
                        return Err(UsageError(format!(
                            "duplicated taints with the same key and effect: {}",
                            taint.words()
                        )));
                    }
                    changes.set.push(taint);
                }
            }
        }
        let both =
            |removed: &&Taint| changes.set.iter().any(|set| removed.means(&set.key, set.effect.as_deref()));
        match changes.removed.iter().find(both) {
            Some(taint) => Err(UsageError(format!(
                "can not both modify and remove the following taint(s) in the same command: {}",
                taint.words()
            ))),
            None => Ok(changes),
        }
    }

    /// What they make of the taints of a node.
    ///
    /// # Errors
    /// When one is there already and may not be replaced, or one that is to go is not there.
    pub(super) fn apply(&self, node: &str, present: &[Value], clash: Clash) -> Result<Outcome> {
        let is_set = |taint: &Value| self.set.iter().any(|set| set.is_of(taint));
        if clash == Clash::Refused {
            let clashing: Vec<&str> =
                present.iter().filter(|taint| is_set(taint)).map(|taint| text(taint, &["key"])).collect();
            if !clashing.is_empty() {
                let keys = clashing.join(",");
                bail!("node {node} already has {keys} taint(s) with same effect(s) and --overwrite is false");
            }
        }
        let mut taints: Vec<Value> = self.set.iter().map(Taint::object).collect();
        taints.extend(present.iter().filter(|taint| !is_set(taint)).cloned());
        let added = taints.len() != present.len();
        let before = taints.len();
        for removed in &self.removed {
            let count = taints.len();
            taints.retain(|taint| !removed.is_of(taint));
            if taints.len() == count {
                bail!("taint {:?} not found", removed.words());
            }
        }
        let deleted = taints.len() != before;
        let words = match (added, deleted) {
            (true, true) => "modified",
            _ if clash == Clash::Replaced => "modified",
            (true, false) => "tainted",
            (false, _) => "untainted",
        };
        Ok(Outcome { taints, words })
    }
}

impl Taint {
    /// Whether it means a taint of this key and effect.
    fn means(&self, key: &str, effect: Option<&str>) -> bool {
        self.key == key && (self.effect.is_none() || self.effect.as_deref() == effect)
    }

    fn is_same(&self, other: &Self) -> bool {
        self.key == other.key && self.effect == other.effect
    }

    fn is_of(&self, taint: &Value) -> bool {
        self.means(text(taint, &["key"]), Some(text(taint, &["effect"])))
    }

    fn object(&self) -> Value {
        let mut taint = json!({"key": self.key, "effect": self.effect});
        if !self.value.is_empty() {
            taint["value"] = self.value.as_str().into();
        }
        taint
    }

    fn words(&self) -> String {
        match &self.effect {
            Some(effect) => format!("{}:{effect}", self.key),
            None => self.key.clone(),
        }
    }
}

fn taint(text: &str) -> Result<Taint, UsageError> {
    let (pair, effect) = match text.split(':').collect::<Vec<_>>().as_slice() {
        [pair] => (*pair, None),
        [pair, effect] => (*pair, Some((*effect).to_owned())),
        _ => return Err(UsageError(format!("invalid taint spec: {text}"))),
    };
    if let Some(effect) = effect.as_deref().filter(|effect| !EFFECTS.contains(effect)) {
        return Err(UsageError(format!("invalid taint effect: {effect}, unsupported taint effect")));
    }
    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
    if key.is_empty() || value.contains('=') {
        return Err(UsageError(format!("invalid taint spec: {text}")));
    }
    Ok(Taint { key: key.to_owned(), value: value.to_owned(), effect })
}

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Changes, Clash, Outcome};

    fn parse(line: &str) -> Result<Changes, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Changes::parse(&words).map_err(|error| error.to_string())
    }

    fn check(line: &str, present: Value, clash: Clash, expected: Result<(Value, &str), &str>) {
        let applied = parse(line).unwrap().apply("n", present.as_array().unwrap(), clash);
        let found = applied.map(|Outcome { taints, words }| (Value::from(taints), words));
        assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn taints_are_set_and_removed() {
        let a = json!({"key": "a", "value": "1", "effect": "NoSchedule"});
        let b = json!({"key": "a", "effect": "NoExecute"});
        check("a=1:NoSchedule", json!([]), Clash::Refused, Ok((json!([a]), "tainted")));
        let there = "node n already has a taint(s) with same effect(s) and --overwrite is false";
        check("a=1:NoSchedule", json!([a]), Clash::Refused, Err(there));
        check(
            "a=2:NoSchedule",
            json!([a]),
            Clash::Replaced,
            Ok((json!([{"key": "a", "value": "2", "effect": "NoSchedule"}]), "modified")),
        );
        check("a:NoSchedule-", json!([a, b]), Clash::Refused, Ok((json!([b]), "untainted")));
        check("a-", json!([a, b]), Clash::Refused, Ok((json!([]), "untainted")));
        check("a-", json!([]), Clash::Refused, Err("taint \"a\" not found"));
        check("a=1:NoExecute-", json!([a]), Clash::Refused, Err("taint \"a:NoExecute\" not found"));
        check(
            "a:NoExecute z-",
            json!([a, {"key": "z", "effect": "NoExecute"}]),
            Clash::Refused,
            Ok((json!([b, a]), "modified")),
        );
    }

    #[test]
    fn mistakes() {
        let check = |line: &str, expected: &str| assert_eq!(parse(line).unwrap_err(), expected);
        check("a=1:Foo", "invalid taint effect: Foo, unsupported taint effect");
        check("a:b:c", "invalid taint spec: a:b:c");
        check("a=1", "invalid taint spec: a=1, an effect is missing, as in a=1:NoSchedule");
        check(
            "a=1:NoSchedule a=2:NoSchedule",
            "duplicated taints with the same key and effect: a:NoSchedule",
        );
        check(
            "a=1:NoSchedule a-",
            "can not both modify and remove the following taint(s) in the same command: a",
        );
    }
}
