//! Which step of an operation the kernel refused.

use std::io;

/// A step that failed.
#[derive(Debug, thiserror::Error)]
#[error("failed to {step}")]
pub struct StepError {
    step: &'static str,
    #[source]
    source: io::Error,
}

/// Names the step in which something failed.
pub(crate) trait Step {
    /// What it is with its step named.
    type Named;

    /// `step` follows "failed to".
    fn step(self, step: &'static str) -> Self::Named;
}

impl<T> Step for io::Result<T> {
    type Named = Result<T, StepError>;

    fn step(self, step: &'static str) -> Self::Named {
        self.map_err(|source| source.step(step))
    }
}

impl Step for io::Error {
    type Named = StepError;

    fn step(self, step: &'static str) -> StepError {
        StepError { step, source: self }
    }
}
