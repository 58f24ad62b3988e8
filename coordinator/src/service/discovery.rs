//! Discovery: which groups, versions and resources there are, in the plain and the aggregated form; and which build this is.

mod aggregated;
mod groups;
mod plain;

use dunlin_api::Status;
use serde_json::{Value, json};

use self::groups::group_names;
use super::{
    ApiService,
    encode::encode,
    media::{self, Accepted, Answer},
    response::Response,
    routes,
};

/// As `GET /version` and documents about the API say it.
pub(super) const GIT_VERSION: &str = concat!("v1.36.2+dunlin-", env!("CARGO_PKG_VERSION"));

impl ApiService {
    /// Answers a path of discovery; `None` when it is another.
    pub(super) fn discover(&self, path: &str, accept: &str) -> Option<Result<Response, Status>> {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        let value = match segments.as_slice() {
            // These are JSON, whatever is accepted: they are no objects of the API.
            [""] => return Some(Ok(Response::json(200, &json!({"paths": paths()})))),
            ["version"] => return Some(Ok(Response::json(200, &version()))),
            ["api"] => match aggregated::asked(accept) {
                Some(form) => return Some(Ok(aggregated::answer(form, &[""]))),
                None => plain::core_versions(self.addresses()),
            },
            ["apis"] => match aggregated::asked(accept) {
                Some(form) => return Some(Ok(aggregated::answer(form, &group_names()))),
                None => plain::groups(),
            },
            ["api", version] => plain::resources("", version)?,
            ["apis", group] => plain::group(group)?,
            ["apis", group, version] => plain::resources(group, version)?,
            _ => return None,
        };
        Some(media::negotiate(accept, Answer::Object).and_then(|accepted| answer(accepted, &value)))
    }

    fn addresses(&self) -> &[String] {
        self.inner.attached.cluster.get().map(|cluster| cluster.addresses.as_slice()).unwrap_or_default()
    }
}

fn answer(accepted: Accepted, value: &Value) -> Result<Response, Status> {
    encode(accepted.encoding, 200, value)
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("linux/{}", match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        }),
    })
}

/// Every path that leads somewhere by itself.
fn paths() -> Vec<String> {
    let mut paths: Vec<String> =
        ["/api", "/apis", "/apis/", "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/version"]
            .map(str::to_owned)
            .into();
    paths.extend(routes::fixed_paths().map(str::to_owned));
    for version in groups::versions("") {
        paths.push(format!("/api/{version}"));
    }
    for group in group_names() {
        paths.extend(groups::versions(group).into_iter().map(|version| format!("/apis/{group}/{version}")));
        paths.push(format!("/apis/{group}"));
    }
    paths.sort();
    paths
}

#[cfg(test)]
mod tests;
