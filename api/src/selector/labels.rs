//! Label selectors: the text form of queries, and the object form of specs (`matchLabels`, `matchExpressions`).

use std::{collections::BTreeMap, fmt};

use serde_json::{Map, Value};

use super::SelectorError;
use crate::names;

/// A parsed label selector: every requirement must hold. The default selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Equals,
    NotEquals,
    In,
    NotIn,
    Exists,
    DoesNotExist,
    GreaterThan,
    LessThan,
}

impl LabelSelector {
    /// Parses `a=b,c!=d,e in (f,g),h notin (i),j,!k,l>1`.
    ///
    /// # Errors
    ///
    /// When the syntax is wrong or a key or value cannot be a label's.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut parser = Parser { tokens: tokenize(text), position: 0 };
        let mut requirements = Vec::new();
        loop {
            match parser.peek() {
                Token::End => break,
                Token::Word(_) | Token::Not => requirements.push(parser.requirement()?),
                other => return Err(unexpected(other, "!, identifier, or 'end of string'")),
            }
            match parser.next() {
                Token::End => break,
                Token::Comma => match parser.peek() {
                    Token::Word(_) | Token::Not => {}
                    other => return Err(unexpected(other, "identifier after ','")),
                },
                other => return Err(unexpected(&other, "',' or 'end of string'")),
            }
        }
        Ok(Self { requirements })
    }

    /// The selector of a spec: `{matchLabels, matchExpressions}`. A missing one selects nothing in Kubernetes, which is for
    /// the caller to decide.
    ///
    /// # Errors
    ///
    /// When an operator is unknown or a key or value cannot be a label's.
    pub fn from_object(selector: &Value) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement::new(key, Operator::Equals, vec![value])?);
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let operator = match expression["operator"].as_str().unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    return Err(SelectorError::new(format_args!(
                        "\"{other}\" is not a valid label selector operator"
                    )));
                }
            };
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
            requirements.push(Requirement::new(
                expression["key"].as_str().unwrap_or_default(),
                operator,
                values,
            )?);
        }
        requirements.sort_by(|one: &Requirement, other| one.key.cmp(&other.key));
        Ok(Self { requirements })
    }

    /// Whether it selects an object with these `metadata.labels`.
    pub fn matches(&self, labels: Option<&Map<String, Value>>) -> bool {
        let value_of = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        self.requirements.iter().all(|requirement| requirement.holds(value_of(&requirement.key)))
    }

    /// Whether it selects an object with these `metadata.labels`.
    pub fn matches_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let value_of = |key: &str| labels.get(key).map(String::as_str);
        self.requirements.iter().all(|requirement| requirement.holds(value_of(&requirement.key)))
    }

    /// Whether it selects everything.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, requirement) in self.requirements.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl Requirement {
    fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        let fail = |field: &str, value: &str, detail: &str| {
            SelectorError::new(format_args!("{field}: Invalid value: {}: {detail}", Value::from(value)))
        };
        if let Some(detail) = names::qualified_name(key).first() {
            return Err(fail("key", key, detail));
        }
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                let detail = "for 'in', 'notin' operators, values set can't be empty";
                return Err(SelectorError::new(format_args!("values: Invalid value: []: {detail}")));
            }
            Operator::GreaterThan | Operator::LessThan
                if values.iter().any(|value| value.parse::<i64>().is_err()) =>
            {
                let value = values.first().map_or("", String::as_str);
                return Err(fail(
                    "values[0]",
                    value,
                    "for 'Gt', 'Lt' operators, the value must be an integer",
                ));
            }
            _ => {}
        }
        for (position, value) in values.iter().enumerate() {
            if let Some(detail) = names::label_value(value).first() {
                return Err(fail(&format!("values[{position}][{key}]"), value, detail));
            }
        }
        Ok(Self { key: key.to_owned(), operator, values })
    }

    fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|known| known == value);
        let bound = self.values.first().and_then(|bound| bound.parse::<i64>().ok());
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self.operator {
            Operator::Equals | Operator::In => value.is_some_and(listed),
            Operator::NotEquals | Operator::NotIn => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => number().zip(bound).is_some_and(|(number, bound)| number > bound),
            Operator::LessThan => number().zip(bound).is_some_and(|(number, bound)| number < bound),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, operator, .. } = self;
        let mut values: Vec<&str> = self.values.iter().map(String::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        match operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Open,
    Close,
    Comma,
    Not,
    Equals,
    DoubleEquals,
    NotEquals,
    Greater,
    Less,
    End,
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Self::Word(word) => word,
            Self::Open => "(",
            Self::Close => ")",
            Self::Comma => ",",
            Self::Not => "!",
            Self::Equals => "=",
            Self::DoubleEquals => "==",
            Self::NotEquals => "!=",
            Self::Greater => ">",
            Self::Less => "<",
            Self::End => "",
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    position: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens.get(self.position).unwrap_or(&Token::End)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let negated = *self.peek() == Token::Not;
        if negated {
            self.next();
        }
        let key = match self.next() {
            Token::Word(word) => word,
            other => return Err(within(unexpected(&other, "identifier"))),
        };
        if negated {
            return Requirement::new(&key, Operator::DoesNotExist, Vec::new()).map_err(within);
        }
        let (operator, values) = match self.peek().clone() {
            Token::End | Token::Comma => (Operator::Exists, Vec::new()),
            Token::Word(word) if word == "in" => (Operator::In, self.values()?),
            Token::Word(word) if word == "notin" => (Operator::NotIn, self.values()?),
            Token::Equals | Token::DoubleEquals => (Operator::Equals, vec![self.value()?]),
            Token::NotEquals => (Operator::NotEquals, vec![self.value()?]),
            Token::Greater => (Operator::GreaterThan, vec![self.value()?]),
            Token::Less => (Operator::LessThan, vec![self.value()?]),
            other => {
                return Err(within(unexpected(&other, "in, notin, =, ==, !=, gt, lt")));
            }
        };
        Requirement::new(&key, operator, values).map_err(within)
    }

    /// The single value after an operator; nothing at all means the empty value.
    fn value(&mut self) -> Result<String, SelectorError> {
        self.next();
        match self.peek().clone() {
            Token::End | Token::Comma => Ok(String::new()),
            Token::Word(word) => {
                self.next();
                Ok(word)
            }
            other => Err(within(unexpected(&other, "identifier"))),
        }
    }

    /// The values in parentheses after `in` or `notin`, sorted and without duplicates.
    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        self.next();
        match self.next() {
            Token::Open => {}
            // Kubernetes leaves the comma out here and only here.
            other => {
                return Err(within(SelectorError::new(format_args!(
                    "found '{}' expected: '('",
                    other.text()
                ))));
            }
        }
        let mut values = Vec::new();
        let mut after_value = false;
        loop {
            match self.next() {
                Token::Word(word) if !after_value => {
                    values.push(word);
                    after_value = true;
                }
                Token::Comma => {
                    if !after_value {
                        values.push(String::new());
                    }
                    after_value = false;
                }
                Token::Close => {
                    if !after_value {
                        values.push(String::new());
                    }
                    break;
                }
                other if after_value => return Err(within(unexpected(&other, "',' or ')'"))),
                other => return Err(within(unexpected(&other, "',', ')' or identifier"))),
            }
        }
        values.sort_unstable();
        values.dedup();
        Ok(values)
    }
}

fn tokenize(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '>' => (Token::Greater, 1),
            '<' => (Token::Less, 1),
            '!' if rest.starts_with("!=") => (Token::NotEquals, 2),
            '!' => (Token::Not, 1),
            '=' if rest.starts_with("==") => (Token::DoubleEquals, 2),
            '=' => (Token::Equals, 1),
            _ => {
                let end =
                    rest.find(|c: char| c.is_whitespace() || "(),!=<>".contains(c)).unwrap_or(rest.len());
                (Token::Word(rest[..end].to_owned()), end)
            }
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    tokens
}

fn unexpected(token: &Token, expected: &str) -> SelectorError {
    SelectorError::new(format_args!("found '{}', expected: {expected}", token.text()))
}

fn within(error: SelectorError) -> SelectorError {
    SelectorError::new(format_args!("unable to parse requirement: {error}"))
}

#[cfg(test)]
mod tests;
