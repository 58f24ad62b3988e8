//! `set image`: images of containers by name.

use anyhow::{Result, bail};
use serde_json::Value;

use super::{Shared, split, template};
use crate::{document::text, failure::UsageError, session::Session};

/// Options of `set image`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin set image deployment/web web=dunlin.local/http-hello:2
  dunlin set image deployment,daemonset --all sidecar=dunlin.local/sidecar:3
  dunlin set image -f web.yaml '*=dunlin.local/http-hello:2' --dry-run -o yaml")]
pub(super) struct Args {
    /// TYPE NAME.. or TYPE/NAME.., then CONTAINER=IMAGE; `*` means all containers.
    #[arg(value_name = "OBJECT|CHANGE", value_parser = crate::resource::TypeWords, hide_possible_values = true)]
    words: Vec<String>,
    #[command(flatten)]
    shared: Shared,
}

/// Sets them.
pub(super) async fn run(args: &Args, session: &Session) -> Result<()> {
    let (objects, changes) = split(&args.words, |word| word.contains('='))?;
    if changes.is_empty() {
        return Err(UsageError("at least one image update is required".to_owned()).into());
    }
    let images: Vec<(&str, &str)> = changes.iter().filter_map(|change| change.split_once('=')).collect();
    if let Some((name, image)) =
        images.iter().find(|(name, image)| name.is_empty() || image.trim().is_empty())
    {
        return Err(UsageError(format!("\"{name}={image}\" is not of the form CONTAINER=IMAGE")).into());
    }
    let change = |found: &_| template::edit(found, |spec| set(spec, &images));
    args.shared.change(objects, "image updated", change, session).await
}

fn set(spec: &mut Value, images: &[(&str, &str)]) -> Result<()> {
    for (name, image) in images {
        let mut count = 0;
        let meant = template::containers_mut(spec)
            .filter(|container| *name == "*" || text(container, &["name"]) == *name);
        for container in meant {
            container["image"] = (*image).into();
            count += 1;
        }
        if count == 0 {
            bail!("unable to find container named {name:?}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::set;

    #[test]
    fn containers_are_meant_by_name() {
        let mut spec = json!({"initContainers": [{"name": "i", "image": "x"}], "containers": [{"name": "a", "image": "x"}]});
        set(&mut spec, &[("a", "y")]).unwrap();
        assert_eq!(
            (&spec["containers"][0]["image"], &spec["initContainers"][0]["image"]),
            (&json!("y"), &json!("x"))
        );
        set(&mut spec, &[("*", "z")]).unwrap();
        assert_eq!(
            (&spec["containers"][0]["image"], &spec["initContainers"][0]["image"]),
            (&json!("z"), &json!("z"))
        );
        assert_eq!(
            set(&mut spec, &[("b", "y")]).unwrap_err().to_string(),
            "unable to find container named \"b\""
        );
    }
}
