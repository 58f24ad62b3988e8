//! Which representation of an answer the caller accepts, and which form a body has.

use dunlin_api::Status;

/// The shape of the objects in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// As they are.
    Object,
    /// Only their metadata.
    Metadata(MetaVersion),
    /// As rows of a table for people.
    Table(MetaVersion),
}

/// Version of the meta.k8s.io group that the caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetaVersion {
    /// `v1`.
    V1,
    /// `v1beta1`.
    V1Beta1,
}

impl MetaVersion {
    /// As `apiVersion` spells it.
    pub(super) const fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "meta.k8s.io/v1",
            Self::V1Beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Shape and encoding of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Accepted {
    pub(super) shape: Shape,
    pub(super) encoding: Encoding,
}

/// What the request is for; watches and lists have shapes of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// One object.
    Object,
    /// A list.
    List,
    /// A stream of events.
    Watch,
}

/// Picks the first representation of `accept` that we have.
///
/// # Errors
/// 406 when there is none.
pub(super) fn negotiate(accept: &str, answer: Answer) -> Result<Accepted, Status> {
    if accept.trim().is_empty() {
        return Ok(Accepted { shape: Shape::Object, encoding: Encoding::Json });
    }
    let mut known = false;
    for clause in accept.split(',') {
        let media = MediaType::parse(clause);
        let encoding = match media.essence.as_str() {
            "*/*" | "application/*" | "application/json" => Encoding::Json,
            "application/yaml" => Encoding::Yaml,
            _ => continue,
        };
        known = true;
        if encoding == Encoding::Yaml && answer == Answer::Watch {
            continue;
        }
        if let Some(shape) = shape(&media, answer) {
            return Ok(Accepted { shape, encoding });
        }
    }
    Err(if known { unacceptable(answer) } else { unknown() })
}

fn unacceptable(answer: Answer) -> Status {
    Status::not_acceptable(match answer {
        Answer::Watch => "application/json;stream=watch",
        Answer::Object | Answer::List => "application/json, application/yaml",
    })
}

fn unknown() -> Status {
    let available = "application/json, application/yaml, application/json;stream=watch";
    let message = format!("406: Not Acceptable\n\nAvailable representations: {available}");
    let mut status = Status::failure(406, "NotAcceptable", message);
    status.0["details"] = serde_json::json!({});
    status
}

fn shape(media: &MediaType, answer: Answer) -> Option<Shape> {
    let version = match media.parameter("v") {
        Some("v1") => Some(MetaVersion::V1),
        Some("v1beta1") => Some(MetaVersion::V1Beta1),
        _ => None,
    };
    let meta = media.parameter("g") == Some("meta.k8s.io");
    match media.parameter("as") {
        None => Some(Shape::Object),
        Some("Table") if meta => version.map(Shape::Table),
        Some("PartialObjectMetadata") if meta && answer != Answer::List => version.map(Shape::Metadata),
        Some("PartialObjectMetadataList") if meta && answer == Answer::List => version.map(Shape::Metadata),
        Some(_) => None,
    }
}

/// A media type with its parameters.
pub(super) struct MediaType {
    essence: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Reads one, leniently: what has no `=` is no parameter.
    pub(super) fn parse(text: &str) -> Self {
        let mut parts = text.split(';');
        let essence = parts.next().unwrap_or_default().trim().to_ascii_lowercase();
        let parameter = |part: &str| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned()))
        };
        Self { essence, parameters: parts.filter_map(parameter).collect() }
    }

    /// The type without parameters, in lower case.
    pub(super) fn essence(&self) -> &str {
        &self.essence
    }

    /// The value of a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_representation_is_taken() {
        let check = |accept: &str, answer, expected: Result<Shape, &str>| {
            let found = negotiate(accept, answer).map(|accepted| accepted.shape);
            assert_eq!(
                found.as_ref().map_err(Status::reason),
                expected.as_ref().map_err(|reason| *reason),
                "{accept}"
            );
        };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        check("", Answer::List, Ok(Shape::Object));
        check("*/*", Answer::Object, Ok(Shape::Object));
        check("application/vnd.kubernetes.protobuf,application/json", Answer::Object, Ok(Shape::Object));
        check(table, Answer::List, Ok(Shape::Table(MetaVersion::V1)));
        check(&format!("{table}beta1;as=Foo,{table}"), Answer::Watch, Ok(Shape::Table(MetaVersion::V1)));
        check("application/json;as=Foo;g=meta.k8s.io;v=v1", Answer::List, Err("NotAcceptable"));
        check("text/html", Answer::List, Err("NotAcceptable"));
        check("application/yaml", Answer::Watch, Err("NotAcceptable"));
        let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        check(partial, Answer::List, Ok(Shape::Metadata(MetaVersion::V1)));
        check(partial, Answer::Object, Err("NotAcceptable"));
    }
}
