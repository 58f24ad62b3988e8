//! What an image says of how it runs. Everything of it gives way to what the pod says.

/// How an image runs where a pod says nothing else: `config` of the OCI image specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageDefaults {
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub cmd: Vec<String>,
    /// `Env`, each `NAME=VALUE`.
    pub env: Vec<String>,
    /// `WorkingDir`.
    pub working_dir: String,
    /// `User`.
    pub user: String,
    /// `Volumes`: paths inside.
    pub volumes: Vec<String>,
    /// `StopSignal`: a name or a number, or empty.
    pub stop_signal: String,
}

impl ImageDefaults {
    /// The image's variables over `all`, and the container's over those.
    pub(crate) fn env_under(
        &self,
        mut all: Vec<(String, String)>,
        declared: Vec<(String, String)>,
    ) -> Vec<(String, String)> {
        let of_image = self.env.iter().map(|text| {
            let (name, value) = text.split_once('=').unwrap_or((text, ""));
            (name.to_owned(), value.to_owned())
        });
        for (name, value) in of_image.chain(declared) {
            match all.iter_mut().find(|(known, _)| *known == name) {
                Some((_, known)) => *known = value,
                None => all.push((name, value)),
            }
        }
        all
    }
}
