//! How a command ended, as the error channel tells it.

use dunlin_api::Status;
use dunlin_link::exec::ExecEnd;
use serde_json::{Value, json};

/// The status of an end.
pub(super) fn status(end: &ExecEnd) -> Value {
    match end {
        ExecEnd::Exited(0) | ExecEnd::Detached => json!({"metadata": {}, "status": "Success"}),
        ExecEnd::Exited(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!(
                "command terminated with non-zero exit code: command terminated with exit code {code}"
            ),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        ExecEnd::Failed(why) => Status::internal(format!("error executing command in container: {why}")).0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_code_is_a_cause() {
        assert_eq!(status(&ExecEnd::Exited(0))["status"], "Success");
        let failed = status(&ExecEnd::Exited(3));
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"][0], json!({"reason": "ExitCode", "message": "3"}));
        let broken = status(&ExecEnd::Failed("no".to_owned()));
        let message = "Internal error occurred: error executing command in container: no";
        assert_eq!((&broken["reason"], &broken["message"]), (&json!("InternalError"), &json!(message)));
    }
}
