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
    /// Protobuf, in Kubernetes' envelope.
    Protobuf,
}

impl Encoding {
    /// The media type of bodies; watches in protobuf add what they are.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// The media type of a watch. There is none in YAML, which has no frames.
    pub(super) const fn stream_type(self) -> &'static str {
        match self {
            Self::Json | Self::Yaml => "application/json",
            Self::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        }
    }

    /// The encodings that a media type stands for, the one to prefer first.
    fn all_of(essence: &str) -> &'static [Self] {
        match essence {
            "*/*" | "application/*" => &[Self::Json, Self::Yaml, Self::Protobuf],
            "application/json" => &[Self::Json],
            "application/yaml" => &[Self::Yaml],
            "application/vnd.kubernetes.protobuf" => &[Self::Protobuf],
            _ => &[],
        }
    }
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

/// Picks the first representation of `accept` that we have. Where that is protobuf and JSON of the same shape will do, it is JSON:
/// objects are stored so, and answers copied.
///
/// # Errors
/// 406 when there is none.
pub(super) fn negotiate(accept: &str, answer: Answer) -> Result<Accepted, Status> {
    if accept.trim().is_empty() {
        return Ok(Accepted { shape: Shape::Object, encoding: Encoding::Json });
    }
    let clauses = clauses(accept);
    let mut offers = clauses.iter().flat_map(|media| offers(media, answer));
    match offers.next() {
        Some(Accepted { shape, encoding: Encoding::Protobuf })
            if offers.any(|other| other == Accepted { shape, encoding: Encoding::Json }) =>
        {
            Ok(Accepted { shape, encoding: Encoding::Json })
        }
        Some(first) => Ok(first),
        None if clauses.iter().all(|media| Encoding::all_of(&media.essence).is_empty()) => Err(unknown()),
        None => Err(unacceptable(answer)),
    }
}

/// How to write an error for a caller who accepts this: JSON where nothing that it names will do.
pub(super) fn error_encoding(accept: &str) -> Encoding {
    negotiate(accept, Answer::Object).map_or(Encoding::Json, |accepted| match accepted.shape {
        Shape::Object => accepted.encoding,
        Shape::Metadata(_) | Shape::Table(_) => Encoding::Json,
    })
}

/// The media types of a header, those first that its weights and then their being named in full prefer.
fn clauses(accept: &str) -> Vec<MediaType> {
    let mut clauses: Vec<MediaType> = accept.split(',').take(CLAUSES_MAX).map(MediaType::parse).collect();
    clauses.sort_by(|one, other| {
        let by_weight = other.weight().total_cmp(&one.weight());
        by_weight.then_with(|| one.wildcards().cmp(&other.wildcards()))
    });
    clauses
}

/// What we have of one media type.
fn offers(media: &MediaType, answer: Answer) -> impl Iterator<Item = Accepted> {
    let shape = shape(media, answer);
    let stream = media.parameter("stream").unwrap_or_default();
    let is_stream = stream.is_empty() || stream == "watch";
    let has = move |encoding: &Encoding| match encoding {
        Encoding::Json => true,
        Encoding::Yaml => answer != Answer::Watch && stream.is_empty(),
        // Kubernetes has no table in protobuf.
        Encoding::Protobuf => !matches!(shape, Some(Shape::Table(_))),
    };
    let encodings = Encoding::all_of(&media.essence).iter().copied().filter(has).filter(move |_| is_stream);
    encodings.filter_map(move |encoding| Some(Accepted { shape: shape?, encoding }))
}

fn unacceptable(answer: Answer) -> Status {
    Status::not_acceptable(match answer {
        Answer::Watch => "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
        Answer::Object | Answer::List => BODIES,
    })
}

fn unknown() -> Status {
    let streams = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
    let message = format!("406: Not Acceptable\n\nAvailable representations: {BODIES}, {streams}");
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

    /// What its `q` says; 1 where it says nothing that can be read.
    fn weight(&self) -> f32 {
        let weight = self.parameter("q").and_then(|weight| weight.parse().ok());
        weight.filter(|weight: &f32| weight.is_finite()).unwrap_or(1.0)
    }

    fn wildcards(&self) -> usize {
        self.essence.matches('*').count()
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

/// Media types of bodies, as refusals name them.
pub(super) const BODIES: &str = "application/json, application/yaml, application/vnd.kubernetes.protobuf";

/// Media types looked at in one header; nobody names as many.
const CLAUSES_MAX: usize = 64;

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
        check(table, Answer::List, Ok(Shape::Table(MetaVersion::V1)));
        check(&format!("{table}beta1;as=Foo,{table}"), Answer::Watch, Ok(Shape::Table(MetaVersion::V1)));
        check("application/json;as=Foo;g=meta.k8s.io;v=v1", Answer::List, Err("NotAcceptable"));
        check("text/html", Answer::List, Err("NotAcceptable"));
        check("application/yaml", Answer::Watch, Err("NotAcceptable"));
        let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        check(partial, Answer::List, Ok(Shape::Metadata(MetaVersion::V1)));
        check(partial, Answer::Object, Err("NotAcceptable"));
    }

    #[test]
    fn protobuf_is_for_those_who_take_nothing_else() {
        let check = |accept: &str, answer, expected: Option<(Shape, Encoding)>| {
            let found = negotiate(accept, answer).ok().map(|accepted| (accepted.shape, accepted.encoding));
            assert_eq!(found, expected, "{accept}");
        };
        let metadata = Shape::Metadata(MetaVersion::V1);
        let partial = "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
        check(PROTOBUF, Answer::Object, Some((Shape::Object, Encoding::Protobuf)));
        check(&format!("{PROTOBUF};stream=watch"), Answer::Watch, Some((Shape::Object, Encoding::Protobuf)));
        for json in ["application/json", "*/*", "application/*;q=0.1"] {
            check(&format!("{PROTOBUF},{json}"), Answer::List, Some((Shape::Object, Encoding::Json)));
        }
        check(
            &format!("{PROTOBUF},application/yaml"),
            Answer::List,
            Some((Shape::Object, Encoding::Protobuf)),
        );
        check(&format!("{PROTOBUF};{partial}"), Answer::List, Some((metadata, Encoding::Protobuf)));
        check(
            &format!("{PROTOBUF};{partial},application/json;{partial},application/json"),
            Answer::List,
            Some((metadata, Encoding::Json)),
        );
        // Whole objects are not what is asked first.
        check(
            &format!("{PROTOBUF};{partial},application/json"),
            Answer::List,
            Some((metadata, Encoding::Protobuf)),
        );
        let table = "as=Table;g=meta.k8s.io;v=v1";
        check(&format!("{PROTOBUF};{table}"), Answer::List, None);
        check(
            &format!("{PROTOBUF};{table},{PROTOBUF}"),
            Answer::List,
            Some((Shape::Object, Encoding::Protobuf)),
        );
    }

    #[test]
    fn weights_and_streams_count() {
        let check = |accept: &str, answer, expected: Option<Encoding>| {
            let found = negotiate(accept, answer).ok().map(|accepted| accepted.encoding);
            assert_eq!(found, expected, "{accept}");
        };
        check("application/json;q=0.5,application/yaml", Answer::Object, Some(Encoding::Yaml));
        check("*/*,application/yaml", Answer::Object, Some(Encoding::Yaml));
        check("application/json;q=x,application/yaml;q=0.9", Answer::Object, Some(Encoding::Json));
        check("application/json;stream=watch", Answer::Watch, Some(Encoding::Json));
        check("application/json;stream=watch", Answer::Object, Some(Encoding::Json));
        check("application/json;stream=foo", Answer::Watch, None);
        check("application/yaml;stream=watch", Answer::Object, None);
    }

    #[test]
    fn errors_are_written_as_their_readers_read() {
        let check = |accept, expected| assert_eq!(error_encoding(accept), expected, "{accept}");
        check("", Encoding::Json);
        check("text/html", Encoding::Json);
        check("application/yaml", Encoding::Yaml);
        check(PROTOBUF, Encoding::Protobuf);
        check("application/json;as=Table;g=meta.k8s.io;v=v1", Encoding::Json);
    }

    const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
}
