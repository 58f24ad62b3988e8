//! `metav1.Status`: every refusal of the API, with Kubernetes' codes, reasons and words.

use serde::{Deserialize, Serialize};

/// A refusal (or the success of a delete), as clients see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status(pub serde_json::Value);
