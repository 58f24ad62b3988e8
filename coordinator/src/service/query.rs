//! The query of a request: decoded parameters, read with Kubernetes' rules and words.

use dunlin_api::{Status, managed::manager_of_user_agent};

/// Query parameters in the order they came; the first of a name counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Query {
    parameters: Vec<(String, String)>,
    /// What the client's program calls itself, which is the default of `fieldManager`.
    user_agent: String,
}

impl Query {
    /// Takes a request's decoded parameters.
    pub(super) const fn new(parameters: Vec<(String, String)>) -> Self {
        Self { parameters, user_agent: String::new() }
    }

    /// The query of a request that this program sends.
    pub(super) fn sent_by(self, user_agent: String) -> Self {
        Self { user_agent, ..self }
    }

    /// All parameters.
    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// Who owns what the request changes: as it says, or as its program calls itself.
    pub(super) fn manager(&self) -> String {
        match self.text("fieldManager") {
            "" => manager_of_user_agent(&self.user_agent),
            manager => manager.to_owned(),
        }
    }

    /// The value of a parameter.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter, empty when it is not there.
    pub(super) fn text(&self, name: &str) -> &str {
        self.value(name).unwrap_or_default()
    }

    /// All values of a parameter.
    pub(super) fn values<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.parameters.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// A boolean, as Kubernetes reads them: everything that is not plainly false is true.
    pub(super) fn optional_flag(&self, name: &str) -> Option<bool> {
        self.value(name).map(|value| !(value == "0" || value.eq_ignore_ascii_case("false")))
    }

    /// A boolean that is false when it is not there.
    pub(super) fn flag(&self, name: &str) -> bool {
        self.optional_flag(name).unwrap_or_default()
    }

    /// A number.
    ///
    /// # Errors
    /// 400 when the value is none.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Status> {
        self.value(name).map(parse_integer).transpose()
    }
}

fn parse_integer(text: &str) -> Result<i64, Status> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let why = if matches!(error.kind(), NegOverflow | PosOverflow) {
            "value out of range"
        } else {
            "invalid syntax"
        };
        Status::bad_request(format!("strconv.ParseInt: parsing \"{text}\": {why}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_numbers_are_read_as_kubernetes_does() {
        let flag = |value: &str| Query::new(vec![("x".to_owned(), value.to_owned())]).flag("x");
        for (value, expected) in
            [("1", true), ("true", true), ("", true), ("x", true), ("0", false), ("False", false)]
        {
            assert_eq!(flag(value), expected, "{value}");
        }
        assert_eq!(parse_integer("-3").unwrap(), -3);
        for (value, why) in
            [("x", "invalid syntax"), ("", "invalid syntax"), ("99999999999999999999", "value out of range")]
        {
            let message = format!("strconv.ParseInt: parsing \"{value}\": {why}");
            assert_eq!(parse_integer(value).unwrap_err().message(), message);
        }
    }
}
