//! Who somebody is: the one who asks, or whoever a token is of.

use dunlin_api::{Status, time::format_time};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::service::{ApiService, User};

/// Answers a SelfSubjectReview.
pub(super) fn of_self(user: &User, mut review: Value, now: Timestamp) -> Value {
    review["metadata"] = json!({ "creationTimestamp": format_time(now) });
    review["status"] = json!({ "userInfo": user_info(user) });
    review
}

impl ApiService {
    /// Answers a TokenReview.
    pub(super) async fn review_token(&self, mut review: Value) -> Result<Value, Status> {
        let token = review["spec"]["token"].as_str().unwrap_or_default();
        if token.is_empty() {
            return Err(Status::bad_request("token is required for TokenReview in authentication"));
        }
        let audiences = review["spec"]["audiences"].as_array().into_iter().flatten();
        let audiences: Vec<String> = audiences.filter_map(Value::as_str).map(str::to_owned).collect();
        let status = match self.authenticate_token(token, &audiences).await {
            Ok(bearer) => {
                let mut status = json!({ "authenticated": true, "user": user_info(&bearer.user) });
                if !bearer.audiences.is_empty() {
                    status["audiences"] = bearer.audiences.into();
                }
                status
            }
            Err(rejected) => json!({ "user": {}, "error": rejected.to_string() }),
        };
        review["status"] = status;
        Ok(review)
    }
}

/// A user as a `UserInfo`.
fn user_info(user: &User) -> Value {
    let mut info = Map::new();
    info.insert("username".to_owned(), user.name.as_str().into());
    if !user.uid.is_empty() {
        info.insert("uid".to_owned(), user.uid.as_str().into());
    }
    if !user.groups.is_empty() {
        info.insert("groups".to_owned(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        info.insert("extra".to_owned(), json!(user.extra));
    }
    info.into()
}
