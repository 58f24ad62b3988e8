//! `auth can-i`: whether the caller may do something, or all that the caller may do in a namespace.

use anyhow::Result;
use dunlin_coordinator::authorizer::{PolicyRule, covers};
use serde_json::{Value, json};

use crate::{
    api,
    document::text,
    failure::{AlreadyReported, UsageError},
    resource::{self, Kind},
    session::Session,
    tabs::{Layout, align},
    terminal,
};

/// Options of `auth can-i`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin auth can-i create pods --all-namespaces
  dunlin auth can-i get pod/hello -n site-a
  dunlin auth can-i get pods --subresource=log
  dunlin auth can-i get /metrics
  dunlin auth can-i --list -n site-a")]
pub(crate) struct Args {
    /// VERB TYPE, VERB TYPE/NAME, VERB TYPE NAME, or VERB /PATH; `*` is any verb or type.
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    /// List all that may be done in the namespace.
    #[arg(long, conflicts_with_all = ["all_namespaces", "quiet", "subresource"])]
    list: bool,
    /// In all namespaces.
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Print nothing; the exit code tells.
    #[arg(long, short)]
    quiet: bool,
    /// A part of the object, for instance `log`, or an action on it.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    subresource: String,
    /// Leave out the first row of the list.
    #[arg(long)]
    no_headers: bool,
}

/// What is asked about, beside the verb.
#[derive(Debug, PartialEq)]
enum Subject {
    Path(String),
    Resource { group: String, plural: String, name: String, is_namespaced: Option<bool> },
}

pub(super) async fn run(args: Args, session: Session) -> Result<()> {
    if args.list {
        return list(&args, &session).await;
    }
    let (verb, subject) = parse(&args.words)?;
    let attributes = match subject {
        Subject::Path(path) => json!({"nonResourceAttributes": {"verb": verb, "path": path}}),
        Subject::Resource { group, plural, name, is_namespaced } => {
            if is_namespaced == Some(false) && !args.quiet {
                terminal::warn(&format!("resource '{plural}' is not namespace scoped"));
            }
            let namespace = if args.all_namespaces { "" } else { &session.namespace };
            json!({"resourceAttributes": {
                "verb": verb, "group": group, "resource": plural, "subresource": args.subresource, "name": name,
                "namespace": namespace,
            }})
        }
    };
    let kind = resource::find("selfsubjectaccessreviews.authorization.k8s.io")?;
    let asked = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "spec": attributes});
    let review = session.api.create(&api::collection(kind, None), &[], &asked).await?;
    let is_allowed = review["status"]["allowed"] == true;
    if !args.quiet {
        terminal::print(&answer(&review["status"]))?;
    }
    if is_allowed { Ok(()) } else { Err(AlreadyReported.into()) }
}

async fn list(args: &Args, session: &Session) -> Result<()> {
    if !args.words.is_empty() {
        return Err(UsageError("--list takes no verb and no type".to_owned()).into());
    }
    let kind = resource::find("selfsubjectrulesreviews.authorization.k8s.io")?;
    let spec = json!({"namespace": session.namespace});
    let asked = json!({"apiVersion": kind.api_version(), "kind": kind.kind, "spec": spec});
    let review = session.api.create(&api::collection(kind, None), &[], &asked).await?;
    let status = &review["status"];
    if status["incomplete"] == true {
        let why = text(status, &["evaluationError"]);
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        terminal::warn(&format!("the list may be incomplete{why}"));
    }
    let mut table = table(status);
    if args.no_headers {
        table = table.split_once('\n').map_or_else(String::new, |(_, rows)| rows.to_owned());
    }
    Ok(terminal::print(&table)?)
}

/// Reads the words after `can-i`.
fn parse(words: &[String]) -> Result<(&str, Subject)> {
    let usage = || {
        UsageError(
            "you must specify two or three arguments: verb, resource, and optional resourceName".to_owned(),
        )
    };
    let (verb, rest) = words.split_first().ok_or_else(usage)?;
    let subject = match rest {
        [path] if path.starts_with('/') => Subject::Path(path.clone()),
        [resource] => match resource.split_once('/') {
            Some((resource, name)) => subject(resource, name),
            None => subject(resource, ""),
        },
        [resource, name] => subject(resource, name),
        _ => return Err(usage().into()),
    };
    Ok((verb.as_str(), subject))
}

/// A type need not be one that is served: rights can be had for any.
fn subject(resource: &str, name: &str) -> Subject {
    let name = name.to_owned();
    match dunlin_api::kind::by_any_name(resource).as_slice() {
        [Kind { group, plural, namespaced, .. }] => Subject::Resource {
            group: (*group).to_owned(),
            plural: (*plural).to_owned(),
            name,
            is_namespaced: Some(*namespaced),
        },
        _ => {
            if resource != "*" {
                terminal::warn(&format!("the server doesn't have a resource type '{resource}'"));
            }
            let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
            Subject::Resource {
                group: group.to_owned(),
                plural: plural.to_owned(),
                name,
                is_namespaced: None,
            }
        }
    }
}

/// `yes`, or `no` with the reasons.
fn answer(status: &Value) -> String {
    if status["allowed"] == true {
        return "yes\n".to_owned();
    }
    let mut answer = "no".to_owned();
    for reason in ["reason", "evaluationError"] {
        if !text(status, &[reason]).is_empty() {
            answer.push_str(" - ");
            answer.push_str(text(status, &[reason]));
        }
    }
    answer.push('\n');
    answer
}

/// All rules, those for the same thing together, in Kubernetes' order.
fn table(status: &Value) -> String {
    let rules: Vec<PolicyRule> = ["resourceRules", "nonResourceRules"]
        .iter()
        .flat_map(|field| {
            serde_json::from_value::<Vec<PolicyRule>>(status[*field].clone()).unwrap_or_default()
        })
        .collect();
    let mut rules = covers::compacted(rules.iter().flat_map(covers::broken_down).collect());
    rules.sort_by_key(sort_key);
    let mut rows = vec!["Resources\tNon-Resource URLs\tResource Names\tVerbs".to_owned()];
    rows.extend(rules.iter().map(|rule| {
        let list = |values: &[String]| format!("[{}]", values.join(" "));
        let (urls, names) = (list(&rule.non_resource_urls), list(&rule.resource_names));
        format!("{}\t{urls}\t{names}\t{}", resource_with_group(rule), list(&rule.verbs))
    }));
    align(&rows.join("\n"), Layout::TABLE)
}

/// What Kubernetes' tools sort by: a rule as Go prints it.
fn sort_key(rule: &PolicyRule) -> String {
    let list = |values: &[String]| format!("[{}]", values.join(" "));
    format!(
        "Verbs:{},APIGroups:{},Resources:{},ResourceNames:{},NonResourceURLs:{},",
        list(&rule.verbs),
        list(&rule.api_groups),
        list(&rule.resources),
        list(&rule.resource_names),
        list(&rule.non_resource_urls)
    )
}

/// `deployments.apps/scale`.
fn resource_with_group(rule: &PolicyRule) -> String {
    let Some(resource) = rule.resources.first() else { return String::new() };
    let (main, part) =
        resource.split_once('/').map_or((resource.as_str(), None), |(main, part)| (main, Some(part)));
    let group = rule.api_groups.first().filter(|group| !group.is_empty());
    let group = group.map_or_else(String::new, |group| format!(".{group}"));
    let part = part.map_or_else(String::new, |part| format!("/{part}"));
    format!("{main}{group}{part}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_what_is_asked() {
        let check = |line: &str, verb: &str, expected: Subject| {
            let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(parse(&words).unwrap(), (verb, expected), "{line}");
        };
        let resource = |group: &str, plural: &str, name: &str, is_namespaced| Subject::Resource {
            group: group.to_owned(),
            plural: plural.to_owned(),
            name: name.to_owned(),
            is_namespaced,
        };
        check("get po", "get", resource("", "pods", "", Some(true)));
        check("get pod/hello", "get", resource("", "pods", "hello", Some(true)));
        check("get pods hello", "get", resource("", "pods", "hello", Some(true)));
        check(
            "list roles.rbac.authorization.k8s.io",
            "list",
            resource("rbac.authorization.k8s.io", "roles", "", Some(true)),
        );
        check("list gadgets.example.dev", "list", resource("example.dev", "gadgets", "", None));
        check("* *", "*", resource("", "*", "", None));
        check("get /metrics", "get", Subject::Path("/metrics".to_owned()));
        assert!(parse(&["get".to_owned()]).is_err());
        assert!(parse(&[]).is_err());
    }

    #[test]
    fn answers_say_why_not() {
        assert_eq!(answer(&json!({"allowed": true, "reason": "x"})), "yes\n");
        assert_eq!(answer(&json!({"allowed": false})), "no\n");
        assert_eq!(answer(&json!({"allowed": false, "reason": "RBAC: x"})), "no - RBAC: x\n");
    }

    #[test]
    fn rules_are_compact_and_in_order() {
        let status = json!({
            "resourceRules": [
                {"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "pods/log"]},
                {"verbs": ["list"], "apiGroups": [""], "resources": ["pods"]},
                {"verbs": ["create"], "apiGroups": ["authorization.k8s.io"], "resources": ["selfsubjectaccessreviews"]},
                {"verbs": ["update"], "apiGroups": ["apps"], "resources": ["deployments/scale"], "resourceNames": ["d"]},
            ],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/api/*", "/api"]}],
        });
        let expected = "\
Resources                                       Non-Resource URLs   Resource Names   Verbs
selfsubjectaccessreviews.authorization.k8s.io   []                  []               [create]
pods                                            []                  []               [get list]
                                                [/api/*]            []               [get]
                                                [/api]              []               [get]
pods/log                                        []                  []               [get]
deployments.apps/scale                          []                  [d]              [update]
";
        assert_eq!(table(&status), expected);
    }
}
