//! `events`: what happened, the newest last, once or as it comes.

use anyhow::Result;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    age, api,
    api::Accept,
    document::{items, text},
    failure::UsageError,
    resource,
    session::Session,
    tabs::{self, Layout},
    terminal,
};

/// Options of `events`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin events
  dunlin events -A --types=Warning
  dunlin events --for pod/hello -w")]
pub(crate) struct Args {
    /// In all namespaces.
    #[arg(long, short = 'A')]
    all_namespaces: bool,
    /// Only events about this TYPE/NAME.
    #[arg(long = "for", value_name = "OBJECT")]
    about: Option<String>,
    /// Only events of these types: Normal, Warning.
    #[arg(long, value_delimiter = ',', value_name = "TYPE", ignore_case = true, hide_possible_values = true,
          value_parser = ["Normal", "Warning"])]
    types: Vec<String>,
    /// Go on printing events as they come.
    #[arg(long, short)]
    watch: bool,
    /// Leave out the row of column names.
    #[arg(long)]
    no_headers: bool,
}

/// Prints the events of a namespace, or of all.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let kind = resource::find("events")?;
    let namespace = (!args.all_namespaces).then_some(session.namespace.as_str());
    let path = api::collection(kind, namespace);
    if let Some((typed, _)) = args.about.as_deref().and_then(|about| about.split_once('/')) {
        resource::resolve_one(typed, &session.api).await?;
    }
    let selector = args.about.as_deref().map(field_selector).transpose()?;
    let query: Vec<(&str, &str)> =
        selector.iter().map(|selector| ("fieldSelector", selector.as_str())).collect();
    let list = session.api.list(&path, &query).await?;
    let mut events = items(&list, &["items"]).to_vec();
    events.retain(|event| args.wants(event));
    sort(&mut events);
    if events.is_empty() && !args.watch {
        terminal::remark(&match namespace {
            Some(namespace) => format!("No events found in {namespace} namespace."),
            None => "No events found.".to_owned(),
        });
        return Ok(());
    }
    let now = Timestamp::now();
    let mut rows = if args.no_headers { String::new() } else { args.header() };
    rows.extend(events.iter().map(|event| args.row(event, now)));
    terminal::print(&tabs::align(&rows, Layout::TABLE))?;
    if !args.watch {
        return Ok(());
    }
    let mut version = text(&list, &["metadata", "resourceVersion"]).to_owned();
    loop {
        let mut query = query.clone();
        query.push(("resourceVersion", &version));
        let mut watch = session.api.watch(&path, &query, Accept::Objects).await?;
        let mut last = None;
        while let Some((change, event)) = watch.next().await? {
            last = Some(text(&event, &["metadata", "resourceVersion"]).to_owned());
            if matches!(change.as_str(), "ADDED" | "MODIFIED") && args.wants(&event) {
                terminal::print(&tabs::align(&args.row(&event, Timestamp::now()), Layout::TABLE))?;
            }
        }
        version = last.unwrap_or(version);
    }
}

/// Events about one object.
fn field_selector(about: &str) -> Result<String> {
    let Some((typed, name)) = about.split_once('/') else {
        return Err(UsageError(format!("--for {about:?} is not of the form TYPE/NAME")).into());
    };
    let kind = resource::find(typed)?;
    Ok(format!("involvedObject.kind={},involvedObject.name={name}", kind.kind))
}

/// Orders events by when they were last seen.
pub(super) fn sort(events: &mut [Value]) {
    events.sort_by_cached_key(|event| last_seen(event).to_owned());
}

/// When an event was last seen, RFC 3339; empty when it does not say.
pub(super) fn last_seen(event: &Value) -> &str {
    let times = [
        text(event, &["series", "lastObservedTime"]),
        text(event, &["lastTimestamp"]),
        text(event, &["eventTime"]),
        text(event, &["firstTimestamp"]),
        text(event, &["metadata", "creationTimestamp"]),
    ];
    times.into_iter().find(|time| !time.is_empty()).unwrap_or_default()
}

/// How often and since when: `5s`, or `5s (x3 over 2m)`.
pub(super) fn interval(event: &Value, now: Timestamp) -> String {
    let last = age::since(Some(last_seen(event)), now);
    let count = event["series"]["count"].as_i64().or_else(|| event["count"].as_i64()).unwrap_or(1);
    if count < 2 {
        return last;
    }
    let first = [text(event, &["firstTimestamp"]), text(event, &["eventTime"])];
    let first = first.into_iter().find(|time| !time.is_empty());
    format!("{last} (x{count} over {})", age::since(first, now))
}

impl Args {
    fn wants(&self, event: &Value) -> bool {
        let kind = text(event, &["type"]);
        self.types.is_empty() || self.types.iter().any(|wanted| wanted.eq_ignore_ascii_case(kind))
    }

    fn header(&self) -> String {
        let namespace = if self.all_namespaces { "NAMESPACE\t" } else { "" };
        format!("{namespace}LAST SEEN\tTYPE\tREASON\tOBJECT\tMESSAGE\n")
    }

    fn row(&self, event: &Value, now: Timestamp) -> String {
        let namespace = match self.all_namespaces {
            true => format!("{}\t", text(event, &["metadata", "namespace"])),
            false => String::new(),
        };
        let about = &event["involvedObject"];
        format!(
            "{namespace}{}\t{}\t{}\t{}/{}\t{}\n",
            interval(event, now),
            text(event, &["type"]),
            text(event, &["reason"]),
            text(about, &["kind"]),
            text(about, &["name"]),
            text(event, &["message"]).trim().replace(['\n', '\t'], " "),
        )
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{Value, json};

    use super::{field_selector, interval};

    #[test]
    fn intervals() {
        let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
        let check = |event: Value, expected| assert_eq!(interval(&event, now), expected);
        check(json!({"lastTimestamp": "2026-01-01T00:09:30Z", "count": 1}), "30s");
        check(
            json!({"firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:09:30Z", "count": 3}),
            "30s (x3 over 10m)",
        );
        check(json!({"eventTime": "2026-01-01T00:09:59Z"}), "1s");
        check(json!({}), "<unknown>");
    }

    #[test]
    fn about() {
        assert_eq!(field_selector("po/x").unwrap(), "involvedObject.kind=Pod,involvedObject.name=x");
        assert!(field_selector("x").is_err());
    }
}
