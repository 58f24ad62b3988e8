//! What went wrong, for a person.

use std::iter::successors;

/// An error with its causes, in one line.
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Step(&'static str, #[source] Option<Box<Self>>);

    #[test]
    fn causes_follow_in_their_order() {
        let alone = Step("no", None);
        assert_eq!(with_causes(&alone), "no");
        let chain = Step("failed to open", Some(Box::new(Step("no file", Some(Box::new(alone))))));
        assert_eq!(with_causes(&chain), "failed to open: no file: no");
    }
}
