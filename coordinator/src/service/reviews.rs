//! Reviews: questions about who somebody is and what somebody may do, answered and forgotten.

mod access;
mod subject;

use dunlin_api::{Status, pipeline::Accepted};
use serde_json::{Map, Value};

use super::{ApiService, User, path::ResourceRequest};

impl ApiService {
    /// Answers an object of a kind that is not stored.
    pub(super) async fn review(
        &self,
        user: &User,
        request: &ResourceRequest,
        mut object: Value,
    ) -> Result<Accepted, Status> {
        if object["metadata"].is_null() {
            object["metadata"] = Map::new().into();
        }
        let kind = (request.kind.group, request.kind.kind);
        let object = match kind {
            ("authentication.k8s.io", "SelfSubjectReview") => {
                subject::of_self(user, object, self.clock().now())
            }
            ("authentication.k8s.io", "TokenReview") => self.review_token(object).await?,
            ("authorization.k8s.io", "SelfSubjectRulesReview") => self.review_rules(user, object).await?,
            ("authorization.k8s.io", _) => self.review_access(user, request, object).await?,
            _ => return Err(Status::method_not_allowed()),
        };
        Ok(Accepted { object, warnings: Vec::new() })
    }
}
