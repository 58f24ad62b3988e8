//! `api-resources`: the kinds of objects that the coordinator serves.

use anyhow::Result;
use serde_json::Value;

use crate::{
    document::{items, text},
    session::Session,
    tabs::{self, Layout},
    terminal,
};

/// Options of `api-resources`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin api-resources
  dunlin api-resources -o wide --sort-by=name
  dunlin api-resources --api-group=apps --namespaced=true
  dunlin api-resources --verbs=list,watch -o name")]
pub(crate) struct Args {
    /// Print only names, or more columns.
    #[arg(long, short, value_name = "FORMAT")]
    output: Option<Output>,
    /// Only those of this group; empty means the core group.
    #[arg(long, value_name = "GROUP")]
    api_group: Option<String>,
    /// Only those whose objects live in namespaces, or do not.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    namespaced: Option<bool>,
    /// Only those that all these can be done to, for instance list,watch.
    #[arg(long, value_delimiter = ',', value_name = "VERB")]
    verbs: Vec<String>,
    /// Only those in all these categories, for instance all.
    #[arg(long, value_delimiter = ',', value_name = "CATEGORY")]
    categories: Vec<String>,
    /// Sort by name or by kind (default: by group).
    #[arg(long, value_name = "COLUMN")]
    sort_by: Option<SortBy>,
    /// Leave out the row of column names.
    #[arg(long)]
    no_headers: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// Verbs and categories, too.
    Wide,
    /// Only names, for scripts.
    Name,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum SortBy {
    Name,
    Kind,
}

/// Prints them.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let (core, groups) = session.api.discovery().await?;
    Ok(terminal::print(&args.render(&[core, groups]))?)
}

impl Args {
    fn render(&self, lists: &[Value]) -> String {
        let mut resources: Vec<Resource> =
            lists.iter().flat_map(|list| items(list, &["items"])).flat_map(preferred).collect();
        resources.retain(|resource| self.wants(resource));
        resources
            .sort_by(|one, other| (self.sort_key(one), &one.name).cmp(&(self.sort_key(other), &other.name)));
        if self.output == Some(Output::Name) {
            return resources.iter().map(|resource| resource.qualified_name() + "\n").collect();
        }
        let mut rows = String::new();
        if !self.no_headers {
            rows.push_str("NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND");
            rows.push_str(if self.output == Some(Output::Wide) { "\tVERBS\tCATEGORIES\n" } else { "\n" });
        }
        for resource in &resources {
            rows.push_str(&resource.row());
            if self.output == Some(Output::Wide) {
                rows.push_str(&format!("\t{}\t{}", resource.verbs.join(","), resource.categories.join(",")));
            }
            rows.push('\n');
        }
        tabs::align(&rows, Layout::TABLE)
    }

    fn wants(&self, resource: &Resource) -> bool {
        self.api_group.as_ref().is_none_or(|group| *group == resource.group)
            && self.namespaced.is_none_or(|namespaced| namespaced == resource.namespaced)
            && self.verbs.iter().all(|verb| resource.verbs.contains(verb))
            && self.categories.iter().all(|category| resource.categories.contains(category))
    }

    fn sort_key<'a>(&self, resource: &'a Resource) -> &'a str {
        match self.sort_by {
            None => &resource.group,
            Some(SortBy::Name) => &resource.name,
            Some(SortBy::Kind) => &resource.kind,
        }
    }
}

/// One resource in its preferred version.
struct Resource {
    group: String,
    version: String,
    name: String,
    kind: String,
    namespaced: bool,
    short_names: Vec<String>,
    verbs: Vec<String>,
    categories: Vec<String>,
}

/// The resources of a group, each in the first version that has it.
fn preferred(group: &Value) -> Vec<Resource> {
    let mut resources: Vec<Resource> = Vec::new();
    for version in items(group, &["versions"]) {
        for resource in items(version, &["resources"]) {
            let resource =
                Resource::new(text(group, &["metadata", "name"]), text(version, &["version"]), resource);
            // What nothing can be done to is there for its subresources only.
            if !resource.verbs.is_empty() && resources.iter().all(|known| known.name != resource.name) {
                resources.push(resource);
            }
        }
    }
    resources
}

impl Resource {
    fn new(group: &str, version: &str, resource: &Value) -> Self {
        let list = |key: &str| -> Vec<String> {
            items(resource, &[key]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            group: group.to_owned(),
            version: version.to_owned(),
            name: text(resource, &["resource"]).to_owned(),
            kind: text(resource, &["responseKind", "kind"]).to_owned(),
            namespaced: text(resource, &["scope"]) == "Namespaced",
            short_names: list("shortNames"),
            verbs: list("verbs"),
            categories: list("categories"),
        }
    }

    fn qualified_name(&self) -> String {
        if self.group.is_empty() { self.name.clone() } else { format!("{}.{}", self.name, self.group) }
    }

    fn row(&self) -> String {
        let Self { group, version, name, kind, namespaced, .. } = self;
        let version = if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
        format!("{name}\t{}\t{version}\t{namespaced}\t{kind}", self.short_names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn check(line: &str, expected: &Expect) {
        let resource = |name: &str, kind: &str, scope: &str, verbs: &[&str]| json!({"resource": name, "responseKind": {"kind": kind}, "scope": scope, "verbs": verbs});
        let mut pods = resource("pods", "Pod", "Namespaced", &["get", "list"]);
        pods["shortNames"] = json!(["po"]);
        pods["categories"] = json!(["all"]);
        let core =
            [pods, resource("nodes", "Node", "Cluster", &["get"]), resource("none", "None", "Cluster", &[])];
        let scaler = resource("scalers", "Scaler", "Namespaced", &["get"]);
        let groups = json!([{"metadata": {"name": "autoscaling"}, "versions": [
            {"version": "v2", "resources": [scaler]},
            {"version": "v1", "resources": [scaler, resource("old", "Old", "Cluster", &["get"])]},
        ]}]);
        let lists = [
            json!({"items": [{"metadata": {}, "versions": [{"version": "v1", "resources": core}]}]}),
            json!({"items": groups}),
        ];
        let line = Line::parse_from(["x"].into_iter().chain(line.split_whitespace()));
        expected.assert_eq(&line.args.render(&lists));
    }

    #[test]
    fn resources_are_listed_by_group_in_their_preferred_version() {
        check(
            "",
            &expect![[r#"
                NAME      SHORTNAMES   APIVERSION       NAMESPACED   KIND
                nodes                  v1               false        Node
                pods      po           v1               true         Pod
                old                    autoscaling/v1   false        Old
                scalers                autoscaling/v2   true         Scaler
            "#]],
        );
        check("--namespaced -o name --sort-by=kind", &expect!["pods\nscalers.autoscaling\n"]);
        check("--namespaced=false --api-group= -o name", &expect!["nodes\n"]);
        check("--verbs=list,get --no-headers", &expect!["pods   po    v1    true   Pod\n"]);
        check(
            "--categories=all -o wide --no-headers",
            &expect!["pods   po    v1    true   Pod   get,list   all\n"],
        );
    }
}
