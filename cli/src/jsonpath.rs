//! Kubernetes' JSONPath templates, as far as scripts use them: `{.a.b[0]}`, `{.items[*].metadata.name}`, quoted text, filters
//! `[?(@.type=="Ready")]`, and `{range ...}{end}`.

use std::{iter::Peekable, str::Chars};

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use crate::document::plain;

/// A parsed template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template(Vec<Node>);

#[derive(Clone, Debug, PartialEq)]
enum Node {
    Text(String),
    Path(Origin, Vec<Step>),
    Range(Origin, Vec<Step>, Vec<Self>),
}

/// Where a path starts: at the whole object, or at the element of the innermost range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    Root,
    Here,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    Each,
    Filter { path: Vec<Self>, test: Option<(bool, Value)> },
}

impl Template {
    /// Parses a template. A text without braces is one path, as `wait` and `--sort-by` take it.
    ///
    /// # Errors
    /// When brackets, quotes or ranges do not close, or a construct is not supported.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.contains('{') {
            let mut parser = Parser { rest: text.chars().peekable() };
            let nodes = parser.nodes(Inside::Template)?;
            return Ok(Self(nodes));
        }
        let path = if text.starts_with(['.', '[']) { text.to_owned() } else { format!(".{text}") };
        let mut parser = Parser { rest: path.chars().peekable() };
        let steps = parser.steps()?;
        match parser.rest.next() {
            None => Ok(Self(vec![Node::Path(Origin::Here, steps)])),
            Some(letter) => Err(anyhow!("unexpected {letter:?} in JSONPath {text:?}")),
        }
    }

    /// Fills in the template.
    pub(crate) fn render(&self, root: &Value) -> String {
        let mut rendered = String::new();
        render(&self.0, root, root, &mut rendered);
        rendered
    }

    /// All values that the first path finds.
    pub(crate) fn values<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        let path = self.0.iter().find_map(|node| match node {
            Node::Path(_, steps) => Some(steps),
            _ => None,
        });
        path.map(|steps| walk(steps, root)).unwrap_or_default()
    }
}

fn render(nodes: &[Node], root: &Value, here: &Value, rendered: &mut String) {
    for node in nodes {
        match node {
            Node::Text(text) => rendered.push_str(text),
            Node::Path(origin, steps) => {
                let values: Vec<String> = walk(steps, origin.of(root, here)).into_iter().map(plain).collect();
                rendered.push_str(&values.join(" "));
            }
            Node::Range(origin, steps, inner) => {
                walk(steps, origin.of(root, here))
                    .into_iter()
                    .for_each(|value| render(inner, root, value, rendered));
            }
        }
    }
}

impl Origin {
    const fn of<'a>(self, root: &'a Value, here: &'a Value) -> &'a Value {
        match self {
            Self::Root => root,
            Self::Here => here,
        }
    }
}

fn walk<'a>(steps: &[Step], from: &'a Value) -> Vec<&'a Value> {
    steps
        .iter()
        .fold(vec![from], |found, step| found.into_iter().flat_map(|value| step.apply(value)).collect())
}

impl Step {
    fn apply<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Field(name), Value::Object(map)) => map.get(name).into_iter().collect(),
            (Self::Index(index), Value::Array(items)) => {
                position(*index, items.len()).and_then(|index| items.get(index)).into_iter().collect()
            }
            (Self::Slice(from, to), Value::Array(items)) => {
                let bound =
                    |index: Option<i64>, default| index.map_or(default, |index| clamp(index, items.len()));
                let (from, to) = (bound(*from, 0), bound(*to, items.len()));
                items.get(from..to).unwrap_or_default().iter().collect()
            }
            (Self::Each, Value::Array(items)) => items.iter().collect(),
            (Self::Each, Value::Object(map)) => map.values().collect(),
            (Self::Filter { path, test }, Value::Array(items)) => {
                items.iter().filter(|item| passes(item, path, test.as_ref())).collect()
            }
            _ => Vec::new(),
        }
    }
}

fn passes(item: &Value, path: &[Step], test: Option<&(bool, Value)>) -> bool {
    let found = walk(path, item);
    match test {
        None => !found.is_empty(),
        Some((equal, wanted)) => found.iter().any(|value| (**value == *wanted) == *equal),
    }
}

/// A position from the front, or from the back when negative.
fn position(index: i64, length: usize) -> Option<usize> {
    let length = i64::try_from(length).ok()?;
    usize::try_from(if index < 0 { length + index } else { index }).ok()
}

fn clamp(index: i64, length: usize) -> usize {
    position(index, length).unwrap_or(0).min(length)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Template,
    Range,
}

struct Parser<'a> {
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn nodes(&mut self, inside: Inside) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        loop {
            let mut text = String::new();
            while let Some(letter) = self.rest.next_if(|letter| *letter != '{') {
                text.push(letter);
            }
            if !text.is_empty() {
                nodes.push(Node::Text(text));
            }
            if self.rest.next().is_none() {
                return match inside {
                    Inside::Template => Ok(nodes),
                    Inside::Range => Err(anyhow!("{{range}} without {{end}}")),
                };
            }
            match self.action()? {
                Action::Nodes(more) => nodes.extend(more),
                Action::Range(origin, steps) => {
                    nodes.push(Node::Range(origin, steps, self.nodes(Inside::Range)?))
                }
                Action::End if inside == Inside::Range => return Ok(nodes),
                Action::End => bail!("{{end}} without {{range}}"),
            }
        }
    }

    /// What stands between braces, after the opening one.
    fn action(&mut self) -> Result<Action> {
        let mut nodes = Vec::new();
        loop {
            self.blanks();
            match self.rest.peek() {
                Some('}') => {
                    self.rest.next();
                    return Ok(Action::Nodes(nodes));
                }
                Some('"' | '\'') => nodes.push(Node::Text(self.quoted()?)),
                Some('.' | '[' | '@' | '$') => nodes.push(Node::Path(self.origin(), self.steps()?)),
                Some(letter) if letter.is_alphabetic() => {
                    let word = self.word();
                    self.blanks();
                    let action = match word.as_str() {
                        "range" => Action::Range(self.origin(), self.steps()?),
                        "end" => Action::End,
                        _ => bail!("{word:?} in a JSONPath template; did you mean \".{word}\"?"),
                    };
                    self.blanks();
                    return match self.rest.next() {
                        Some('}') => Ok(action),
                        _ => Err(anyhow!("unclosed action in a JSONPath template")),
                    };
                }
                Some(letter) => bail!("unexpected {letter:?} in a JSONPath template"),
                None => bail!("unclosed action in a JSONPath template"),
            }
        }
    }

    fn origin(&mut self) -> Origin {
        if self.rest.peek() == Some(&'$') { Origin::Root } else { Origin::Here }
    }

    fn steps(&mut self) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        self.rest.next_if(|letter| matches!(letter, '$' | '@'));
        loop {
            match self.rest.peek() {
                Some('.') => {
                    self.rest.next();
                    match self.rest.peek() {
                        Some('.') => bail!("recursive descent (`..`) is not supported in JSONPath"),
                        Some('*') => {
                            self.rest.next();
                            steps.push(Step::Each);
                        }
                        Some('[') => {}
                        _ => {
                            let name = self.word();
                            // A lone dot is the value itself.
                            if !name.is_empty() {
                                steps.push(Step::Field(name));
                            }
                        }
                    }
                }
                Some('[') => {
                    self.rest.next();
                    steps.push(self.bracket()?);
                }
                _ => return Ok(steps),
            }
        }
    }

    /// What stands in brackets, after the opening one.
    fn bracket(&mut self) -> Result<Step> {
        let step = match self.rest.peek() {
            Some('*') => {
                self.rest.next();
                Step::Each
            }
            Some('"' | '\'') => Step::Field(self.quoted()?),
            Some('?') => {
                self.rest.next();
                self.filter()?
            }
            _ => {
                let from = self.number()?;
                match (from, self.rest.next_if_eq(&':')) {
                    (from, Some(_)) => Step::Slice(from, self.number()?),
                    (Some(index), None) => Step::Index(index),
                    (None, None) => bail!("empty brackets in JSONPath"),
                }
            }
        };
        match self.rest.next() {
            Some(']') => Ok(step),
            _ => Err(anyhow!("unclosed bracket in JSONPath")),
        }
    }

    /// `(@.path)` or `(@.path=="value")`.
    fn filter(&mut self) -> Result<Step> {
        let unclosed = || anyhow!("a JSONPath filter has the form ?(@.field==\"value\")");
        self.rest.next_if_eq(&'(').ok_or_else(unclosed)?;
        let path = self.steps()?;
        self.blanks();
        let test = match self.rest.peek() {
            Some(')') => None,
            _ => {
                let operator: String = [self.rest.next(), self.rest.next()].into_iter().flatten().collect();
                let equal = match operator.as_str() {
                    "==" => true,
                    "!=" => false,
                    _ => return Err(unclosed()),
                };
                self.blanks();
                Some((equal, self.literal()?))
            }
        };
        self.blanks();
        self.rest.next_if_eq(&')').ok_or_else(unclosed)?;
        Ok(Step::Filter { path, test })
    }

    fn literal(&mut self) -> Result<Value> {
        if matches!(self.rest.peek(), Some('"' | '\'')) {
            return Ok(self.quoted()?.into());
        }
        let word = self.word();
        serde_json::from_str(&word)
            .map_err(|_| anyhow!("{word:?} is no value for a JSONPath filter; quote text"))
    }

    fn quoted(&mut self) -> Result<String> {
        let Some(quote) = self.rest.next() else { bail!("unclosed quote in JSONPath") };
        let mut text = String::new();
        loop {
            match self.rest.next() {
                Some(letter) if letter == quote => return Ok(text),
                Some('\\') => match self.rest.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(letter) => text.push(letter),
                    None => bail!("unclosed quote in JSONPath"),
                },
                Some(letter) => text.push(letter),
                None => bail!("unclosed quote in JSONPath"),
            }
        }
    }

    fn number(&mut self) -> Result<Option<i64>> {
        let mut text = String::new();
        while let Some(letter) = self.rest.next_if(|letter| letter.is_ascii_digit() || *letter == '-') {
            text.push(letter);
        }
        match text.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| anyhow!("{text:?} is no position in JSONPath")),
        }
    }

    /// A field's name; a backslash takes the next letter as it is, for names with dots.
    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(letter) =
            self.rest.next_if(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '/' | '\\'))
        {
            match letter {
                '\\' => word.extend(self.rest.next()),
                letter => word.push(letter),
            }
        }
        word
    }

    fn blanks(&mut self) {
        while self.rest.next_if(|letter| letter.is_whitespace()).is_some() {}
    }
}

enum Action {
    Nodes(Vec<Node>),
    Range(Origin, Vec<Step>),
    End,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Template;

    fn object() -> Value {
        json!({
            "items": [{"name": "a", "n": 1}, {"name": "b", "n": 2, "x": true}],
            "labels": {"app.kubernetes.io/name": "web"},
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Init", "status": "False"}],
        })
    }

    #[test]
    fn templates() {
        let check = |template: &str, expected: &str| {
            assert_eq!(Template::parse(template).unwrap().render(&object()), expected, "{template}");
        };
        check("{.items[0].name}", "a");
        check("{.items[-1].name}", "b");
        check("{.items[*].name}", "a b");
        check("{.items[0:1].name}", "a");
        check("{range .items[*]}{.name}={.n}{'\\n'}{end}", "a=1\nb=2\n");
        check("{.items[0].foo}", "");
        check("names: {.items[*].name}!", "names: a b!");
        check("{.labels.app\\.kubernetes\\.io/name}", "web");
        check("{.labels['app.kubernetes.io/name']}", "web");
        check("{.conditions[?(@.type==\"Ready\")].status}", "True");
        check("{.conditions[?(@.type != 'Ready')].status}", "False");
        check("{.items[?(@.x)].name}", "b");
        check("{.items[?(@.n==2)].name}", "b");
        check("{range .items[*]}{.name}{$.items[0].n} {end}", "a1 b1 ");
        check(".items[1].n", "2");
        check("items[1]", "{\"n\":2,\"name\":\"b\",\"x\":true}");
        check("{$.items[0].n}{\"\\t\"}{@.items[1].n}", "1\t2");
    }

    #[test]
    fn mistakes() {
        let check = |template: &str, expected: &str| {
            let error = Template::parse(template).unwrap_err().to_string();
            assert!(error.contains(expected), "{template}: {error}");
        };
        check("{.items", "unclosed action");
        check("{.items[0}", "unclosed bracket");
        check("{range .items[*]}{.x}", "without {end}");
        check("{end}", "without {range}");
        check("{items}", "did you mean \".items\"?");
        check("{..name}", "not supported");
        check("{.a[?(x)]}", "filter has the form");
    }
}
