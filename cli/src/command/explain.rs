//! `explain`: what the fields of a kind are, as the coordinator's OpenAPI documents say it.

use anyhow::{Result, anyhow};

use crate::{
    failure::UsageError,
    resource::{self, Kind},
    session::Session,
    terminal,
};

mod page;
mod schema;
mod wrap;

use schema::Schema;

/// Options of `explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dunlin explain pods
  dunlin explain pod.spec.containers
  dunlin explain pod.spec --recursive
  dunlin explain horizontalpodautoscalers --api-version=autoscaling/v1")]
pub(crate) struct Args {
    /// A kind and, after dots, one of its fields.
    #[arg(value_name = "KIND[.FIELD..]")]
    path: String,
    /// Print the fields of fields, too, by name only.
    #[arg(long)]
    recursive: bool,
    /// A version of the kind other than the preferred one, for instance autoscaling/v1.
    #[arg(long, value_name = "VERSION")]
    api_version: Option<String>,
}

/// Prints the page about a kind or field.
pub(crate) async fn run(args: Args, session: Session) -> Result<()> {
    let first = args.path.split('.').next().unwrap_or_default();
    resource::resolve_one(first, &session.api).await?;
    let (kind, fields) = args.parse()?;
    let document = session.api.get(&document_of(kind), &[]).await?;
    let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
    let of_kind = Schema::of_kind(&document, kind.group, kind.version, kind.kind)
        .ok_or_else(|| anyhow!("the coordinator's documents do not describe {}", kind.group_resource()))?;
    let title = page::title(kind);
    match find(of_kind, &fields) {
        Ok(field) => {
            let depth = if args.recursive { page::Depth::All } else { page::Depth::One };
            Ok(terminal::print(&format!("{title}{}", page::render(&field, fields.last().copied(), depth)))?)
        }
        Err(missing) => {
            terminal::print(&title)?;
            Err(anyhow!("field {missing:?} does not exist"))
        }
    }
}

impl Args {
    /// The kind and the path of fields. A kind's name may have a group after dots, as far as there is a kind of that name.
    fn parse(&self) -> Result<(&'static Kind, Vec<String>)> {
        let words: Vec<&str> = self.path.trim_end_matches('.').split('.').collect();
        let qualified = (2..=words.len()).rev().find_map(|length| {
            let kind = resource::find(&words[..length].join(".")).ok()?;
            Some((kind, length))
        });
        let (kind, length) = match qualified {
            Some(found) => found,
            None => (resource::find(words[0])?, 1),
        };
        let fields = words[length..].iter().map(|word| (*word).to_owned()).collect();
        let Some(version) = &self.api_version else { return Ok((kind, fields)) };
        let other = dunlin_api::kind::by_kind(version, kind.kind);
        let missing = || UsageError(format!("there is no {} in version {version:?}", kind.plural));
        Ok((other.ok_or_else(missing)?, fields))
    }
}

/// The schema of the field that `fields` lead to, or the first of them that is not there.
fn find<'d, 'f>(mut schema: Schema<'d>, fields: &[&'f str]) -> Result<Schema<'d>, &'f str> {
    for field in fields {
        schema = schema.field(field).ok_or(*field)?;
    }
    Ok(schema)
}

/// Where the document about a kind is.
fn document_of(kind: &Kind) -> String {
    match kind.group {
        "" => format!("/openapi/v3/api/{}", kind.version),
        group => format!("/openapi/v3/apis/{group}/{}", kind.version),
    }
}

#[cfg(test)]
mod tests;
