//! `create role` and its kin: objects of access control, from options.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::{Value, json};

use super::OutputArgs;
use crate::{
    failure::UsageError,
    resource::{self, Kind},
};

/// Options of `create role` and, with more, of `create clusterrole`.
#[derive(Debug, clap::Args)]
pub(crate) struct RuleArgs {
    /// Verbs, separated by commas; may be repeated.
    #[arg(long, value_name = "VERB", value_delimiter = ',')]
    verb: Vec<String>,
    /// Types, for instance `pods`, `deployments.apps` or `pods/log`, separated by commas; may be repeated.
    #[arg(long, value_name = "TYPE", value_delimiter = ',')]
    resource: Vec<String>,
    /// Only objects of this name; may be repeated.
    #[arg(long, value_name = "NAME")]
    resource_name: Vec<String>,
}

/// Options of `create role`.
#[derive(Debug, clap::Args)]
pub(crate) struct RoleArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    rule: RuleArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Options of `create clusterrole`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterRoleArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    rule: RuleArgs,
    /// Paths, for instance `/healthz`, separated by commas; may be repeated.
    #[arg(long, value_name = "PATH", value_delimiter = ',')]
    non_resource_url: Vec<String>,
    /// Labels, as `KEY=VALUE,..`, of the roles that it is made of.
    #[arg(long, value_name = "LABELS", value_delimiter = ',',
          conflicts_with_all = ["verb", "resource", "resource_name", "non_resource_url"])]
    aggregation_rule: Vec<String>,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Options of `create rolebinding`.
#[derive(Debug, clap::Args)]
pub(crate) struct RoleBindingArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// The ClusterRole to give.
    #[arg(long, value_name = "NAME", required_unless_present = "role", conflicts_with = "role")]
    clusterrole: Option<String>,
    /// The Role to give.
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    #[command(flatten)]
    subjects: SubjectArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// Options of `create clusterrolebinding`.
#[derive(Debug, clap::Args)]
pub(crate) struct ClusterRoleBindingArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    /// The ClusterRole to give.
    #[arg(long, value_name = "NAME")]
    clusterrole: String,
    #[command(flatten)]
    subjects: SubjectArgs,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// To whom rights are given.
#[derive(Debug, clap::Args)]
struct SubjectArgs {
    /// A user; may be repeated.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    user: Vec<String>,
    /// A group; may be repeated.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    group: Vec<String>,
    /// A service account, as NAMESPACE:NAME; may be repeated.
    #[arg(long, value_name = "ACCOUNT", value_delimiter = ',')]
    serviceaccount: Vec<String>,
}

/// Options of `create serviceaccount`.
#[derive(Debug, clap::Args)]
pub(crate) struct ServiceAccountArgs {
    /// Its name.
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    pub(super) output: OutputArgs,
}

impl RoleArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        let rules = self.rule.rules(&[])?;
        Ok((resource::find("roles")?, json!({"metadata": {"name": self.name}, "rules": rules})))
    }
}

impl ClusterRoleArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        let kind = resource::find("clusterroles")?;
        if self.aggregation_rule.is_empty() {
            let rules = self.rule.rules(&self.non_resource_url)?;
            return Ok((kind, json!({"metadata": {"name": self.name}, "rules": rules})));
        }
        let mut labels = BTreeMap::new();
        for label in &self.aggregation_rule {
            let (key, value) = label
                .split_once('=')
                .ok_or_else(|| UsageError(format!("{label:?} is not a label of the form KEY=VALUE")))?;
            labels.insert(key, value);
        }
        let selectors = json!([{"matchLabels": labels}]);
        let rule = json!({"clusterRoleSelectors": selectors});
        Ok((kind, json!({"metadata": {"name": self.name}, "rules": [], "aggregationRule": rule})))
    }
}

impl RoleBindingArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        let (kind, name) = match (&self.role, &self.clusterrole) {
            (Some(role), _) => ("Role", role.as_str()),
            (None, role) => ("ClusterRole", role.as_deref().unwrap_or_default()),
        };
        Ok((resource::find("rolebindings")?, binding(&self.name, (kind, name), &self.subjects)?))
    }
}

impl ClusterRoleBindingArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        let role = ("ClusterRole", self.clusterrole.as_str());
        Ok((resource::find("clusterrolebindings")?, binding(&self.name, role, &self.subjects)?))
    }
}

impl ServiceAccountArgs {
    pub(super) fn object(&self) -> Result<(&'static Kind, Value)> {
        Ok((resource::find("serviceaccounts")?, json!({"metadata": {"name": self.name}})))
    }
}

impl RuleArgs {
    /// The rules that the options make: one for each API group, one for paths.
    fn rules(&self, urls: &[String]) -> Result<Vec<Value>> {
        if self.verb.is_empty() {
            return Err(UsageError("at least one verb must be specified".to_owned()).into());
        }
        if self.resource.is_empty() && urls.is_empty() {
            return Err(UsageError("at least one resource must be specified".to_owned()).into());
        }
        if self.resource.len() > 1 && !self.resource_name.is_empty() {
            let why = "resource name(s) can not be applied to multiple resources";
            return Err(UsageError(why.to_owned()).into());
        }
        let verbs =
            if self.verb.iter().any(|verb| verb == "*") { vec!["*".to_owned()] } else { self.verb.clone() };
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for typed in &self.resource {
            let (group, resource) = group_and_resource(typed)?;
            let resources = groups.entry(group).or_default();
            if !resources.contains(&resource) {
                resources.push(resource);
            }
        }
        let mut rules: Vec<Value> = Vec::new();
        for (group, resources) in groups {
            let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources});
            if !self.resource_name.is_empty() {
                rule["resourceNames"] = self.resource_name.clone().into();
            }
            rules.push(rule);
        }
        if !urls.is_empty() {
            rules.push(json!({"verbs": verbs, "nonResourceURLs": urls}));
        }
        Ok(rules)
    }
}

/// Group and plural of a type as typed, its subresource kept.
fn group_and_resource(typed: &str) -> Result<(String, String)> {
    let (main, part) = typed.split_once('/').map_or((typed, None), |(main, part)| (main, Some(part)));
    let part = part.map_or_else(String::new, |part| format!("/{part}"));
    if main == "*" {
        return Ok(("*".to_owned(), format!("*{part}")));
    }
    if let Some(group) = main.strip_prefix("*.") {
        return Ok((group.to_owned(), format!("*{part}")));
    }
    let kind = resource::find(main)?;
    Ok((kind.group.to_owned(), format!("{}{part}", kind.plural)))
}

fn binding(name: &str, (kind, role): (&str, &str), args: &SubjectArgs) -> Result<Value> {
    let mut subjects: Vec<Value> = Vec::new();
    for (kind, names) in [("User", &args.user), ("Group", &args.group)] {
        subjects.extend(names.iter().map(|name| json!({"kind": kind, "apiGroup": GROUP, "name": name})));
    }
    for account in &args.serviceaccount {
        let (namespace, name) = account
            .split_once(':')
            .filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty())
            .ok_or_else(|| UsageError("serviceaccount must be <namespace>:<name>".to_owned()))?;
        subjects.push(json!({"kind": "ServiceAccount", "namespace": namespace, "name": name}));
    }
    let role = json!({"apiGroup": GROUP, "kind": kind, "name": role});
    Ok(json!({"metadata": {"name": name}, "roleRef": role, "subjects": subjects}))
}

const GROUP: &str = "rbac.authorization.k8s.io";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct ClusterRole {
        #[command(flatten)]
        args: ClusterRoleArgs,
    }

    #[derive(Debug, Parser)]
    struct Binding {
        #[command(flatten)]
        args: RoleBindingArgs,
    }

    fn role(line: &str) -> Result<Value> {
        ClusterRole::try_parse_from(line.split(' '))?.args.object().map(|(_, mut object)| {
            object.as_object_mut().unwrap().remove("metadata");
            object
        })
    }

    #[test]
    fn roles_have_a_rule_for_each_group() {
        let object =
            role("create r --verb=get,list --resource=po,roles,pods/log --resource=configmaps").unwrap();
        let group = "rbac.authorization.k8s.io";
        let expected = json!([
            {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "pods/log", "configmaps"]},
            {"verbs": ["get", "list"], "apiGroups": [group], "resources": ["roles"]},
        ]);
        assert_eq!(object["rules"], expected);
        assert!(role("create r --verb=get --resource=gadgets").is_err());
        assert!(role("create r --verb=get").is_err());
        assert!(role("create r --resource=pods").is_err());
        assert!(role("create r --verb=get --resource=pods,secrets --resource-name=x").is_err());
        let paths = role("create r --verb=get --non-resource-url=/x").unwrap();
        assert_eq!(paths["rules"], json!([{"verbs": ["get"], "nonResourceURLs": ["/x"]}]));
        let all = role("create r --verb=*,get --resource=*").unwrap();
        assert_eq!(all["rules"], json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]));
        let made = role("create r --aggregation-rule=a=b,c=d").unwrap();
        assert_eq!(
            made["aggregationRule"]["clusterRoleSelectors"],
            json!([{"matchLabels": {"a": "b", "c": "d"}}])
        );
    }

    #[test]
    fn bindings_name_a_role_and_whom() {
        let object =
            |line: &str| Binding::try_parse_from(line.split(' ')).map_err(anyhow::Error::from)?.args.object();
        let (_, binding) = object("create b --role=r --user=joe --serviceaccount=ns:sa").unwrap();
        assert_eq!(binding["roleRef"], json!({"apiGroup": GROUP, "kind": "Role", "name": "r"}));
        let subjects = json!([
            {"kind": "User", "apiGroup": GROUP, "name": "joe"}, {"kind": "ServiceAccount", "namespace": "ns", "name": "sa"},
        ]);
        assert_eq!(binding["subjects"], subjects);
        assert!(object("create b --user=joe").is_err());
        assert!(object("create b --role=r --clusterrole=c").is_err());
        assert!(object("create b --role=r --serviceaccount=sa").is_err());
    }
}
