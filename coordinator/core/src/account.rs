//! Service accounts as users: their names and groups, and their tokens.

pub mod token;

/// The user that a service account is.
pub fn user(namespace: &str, name: &str) -> String {
    format!("{USER_PREFIX}{namespace}:{name}")
}

/// Namespace and name of the service account that a user is, if it is one.
pub fn of_user(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(USER_PREFIX)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

/// The groups of the service accounts of a namespace.
pub fn groups(namespace: &str) -> [String; 2] {
    [ALL_ACCOUNTS.to_owned(), format!("{ALL_ACCOUNTS}:{namespace}")]
}

const USER_PREFIX: &str = "system:serviceaccount:";

const ALL_ACCOUNTS: &str = "system:serviceaccounts";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_are_told_from_other_users() {
        assert_eq!(of_user(&user("ns", "builder")), Some(("ns", "builder")));
        for other in
            ["system:serviceaccount:ns", "system:serviceaccount::x", "system:serviceaccount:a:b:c", "joe"]
        {
            assert_eq!(of_user(other), None, "{other}");
        }
    }
}
