//! Requests that are made as somebody else: whether who sends one may, and who it is then.
//!
//! Each part of the other user is a right of its own, with the verb `impersonate`. What comes after sees only the other user.

use std::collections::BTreeMap;

use dunlin_api::Status;
use dunlin_coordinator_core::{
    account,
    authorizer::{Attributes, Target},
};
use dunlin_link::rpc::Impersonation;

use super::{
    ApiService, User,
    authorize::{Decision, refuse_right},
    encode::refusal,
    media,
    response::Response,
};

impl ApiService {
    /// Whom a request of `user` is made as.
    ///
    /// # Errors
    /// The answer, in an encoding that is accepted: 403 for who may not.
    pub async fn impersonate(
        &self,
        user: &User,
        asked: &Impersonation,
        accept: &str,
    ) -> Result<User, Response> {
        self.impersonated(user, asked)
            .await
            .map_err(|status| refusal(media::error_encoding(accept), status.into()))
    }

    async fn impersonated(&self, user: &User, asked: &Impersonation) -> Result<User, Status> {
        if asked.user.is_empty() {
            return Err(Status::internal("requested an impersonation without impersonating a user"));
        }
        for target in rights(asked) {
            let attributes = Attributes { verb: VERB, target };
            if let Decision::Refused(why) = self.decide(user, &attributes).await? {
                tracing::debug!(user = user.name, impersonated = asked.user, "refused an impersonation");
                return Err(refuse_right(user, attributes, &why));
            }
        }
        tracing::debug!(user = user.name, impersonated = asked.user, "a request is made as somebody else");
        Ok(other(asked))
    }
}

/// What must be allowed, part by part.
fn rights(asked: &Impersonation) -> impl Iterator<Item = Target<'_>> {
    let right = |group, resource, subresource, name| Target::Resource {
        group,
        resource,
        subresource,
        namespace: "",
        name,
    };
    let user = match account::of_user(&asked.user) {
        Some((namespace, name)) => {
            Target::Resource { group: "", resource: "serviceaccounts", subresource: "", namespace, name }
        }
        None => right("", "users", "", asked.user.as_str()),
    };
    let groups = asked.groups.iter().map(move |group| right("", "groups", "", group.as_str()));
    let extra = asked
        .extra
        .iter()
        .map(move |(key, value)| right(AUTHENTICATION, "userextras", key.as_str(), value.as_str()));
    let uid = (!asked.uid.is_empty()).then(|| right(AUTHENTICATION, "uids", "", asked.uid.as_str()));
    std::iter::once(user).chain(groups).chain(extra).chain(uid)
}

/// The user that is asked for.
fn other(asked: &Impersonation) -> User {
    let mut groups = asked.groups.clone();
    if groups.is_empty()
        && let Some((namespace, _)) = account::of_user(&asked.user)
    {
        groups.extend(account::groups(namespace));
    }
    let mut extra: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in &asked.extra {
        extra.entry(key.clone()).or_default().push(value.clone());
    }
    let mut user = User::new(asked.user.clone(), groups).classified();
    user.uid.clone_from(&asked.uid);
    user.extra = extra;
    user
}

const VERB: &str = "impersonate";

const AUTHENTICATION: &str = "authentication.k8s.io";

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(user: &str, groups: &[&str]) -> Impersonation {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Impersonation { user: user.to_owned(), groups, uid: String::new(), extra: Vec::new() }
    }

    #[test]
    fn groups_follow_from_who_is_asked_for() {
        let check = |user: &str, groups: &[&str], expected: &[&str]| {
            assert_eq!(other(&asked(user, groups)).groups, expected, "{user} {groups:?}");
        };
        check("joe", &[], &["system:authenticated"]);
        check("joe", &["a", "b"], &["a", "b", "system:authenticated"]);
        check("joe", &["system:authenticated"], &["system:authenticated"]);
        check("joe", &["system:unauthenticated"], &["system:unauthenticated"]);
        check("system:anonymous", &[], &["system:unauthenticated"]);
        check(
            "system:anonymous",
            &["system:authenticated"],
            &["system:authenticated", "system:unauthenticated"],
        );
        let account = "system:serviceaccount:ns:builder";
        let of_accounts = ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"];
        check(account, &[], &of_accounts);
        check(account, &["a"], &["a", "system:authenticated"]);
    }

    #[test]
    fn values_of_a_key_are_kept_together() {
        let extra = [("k", "1"), ("l", "2"), ("k", "3")];
        let extra = extra.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let user = other(&Impersonation { extra, uid: "u".to_owned(), ..asked("joe", &[]) });
        assert_eq!(user.uid, "u");
        assert_eq!(user.extra["k"], ["1", "3"]);
        assert_eq!(user.extra["l"], ["2"]);
    }
}
