//! What a shim is told on its command line, by the agent alone: read without the parser that people's commands have.

use std::{ffi::OsString, io, path::PathBuf};

use dunlin_container_log::LogBounds;

/// What `dunlin shim` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Args {
    /// The pod's own folder; nothing else may be in it, and it may be used by nobody else.
    pub dir: PathBuf,
    /// The OCI runtime.
    pub runtime: PathBuf,
    /// How it is named to agents, for instance `crun://1.8.1`.
    pub runtime_version: String,
    /// Size and number of each container's log files.
    pub log_bounds: LogBounds,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a shim is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To serve a pod.
    Serve,
    /// To take away what is left of one whose shim is gone.
    Clean,
}

/// Why a command line is none of a shim's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgsError {
    /// It ends where a value should be.
    #[error("{0} takes a value")]
    NoValue(String),
    /// A value that has no meaning.
    #[error("{0} takes a number")]
    NoNumber(String),
    /// Something that is not known.
    #[error("`{0}` is no option of a shim")]
    Unknown(String),
    /// Something that has to be said was not.
    #[error("{0} is missing")]
    Missing(&'static str),
}

impl Args {
    /// Reads what follows `dunlin shim`.
    ///
    /// # Errors
    /// When it is not what an agent writes.
    pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Self, ArgsError> {
        let mut words = words.into_iter();
        let (mut dir, mut runtime, mut runtime_version) = (None, None, String::new());
        let (mut log_bounds, mut purpose) = (LogBounds::DEFAULT, Purpose::Serve);
        while let Some(word) = words.next() {
            let option = word.to_string_lossy().into_owned();
            if option == "--clean" {
                purpose = Purpose::Clean;
                continue;
            }
            let mut value = || words.next().ok_or_else(|| ArgsError::NoValue(option.clone()));
            let number = |value: OsString| {
                value.to_string_lossy().parse::<u32>().map_err(|_| ArgsError::NoNumber(option.clone()))
            };
            match option.as_str() {
                "--dir" => dir = Some(PathBuf::from(value()?)),
                "--runtime" => runtime = Some(PathBuf::from(value()?)),
                "--runtime-version" => runtime_version = value()?.to_string_lossy().into_owned(),
                "--log-bytes" => log_bounds.file_bytes_max = number(value()?)?.into(),
                "--log-files" => log_bounds.files_max = number(value()?)?,
                _ => return Err(ArgsError::Unknown(option)),
            }
        }
        let dir = dir.ok_or(ArgsError::Missing("--dir"))?;
        let runtime = runtime.ok_or(ArgsError::Missing("--runtime"))?;
        Ok(Self { dir, runtime, runtime_version, log_bounds, purpose })
    }

    /// The same with the folder as the kernel names it: mounts in it are known by that name alone.
    ///
    /// # Errors
    /// When the folder is not there.
    pub(crate) fn canonical(self) -> io::Result<Self> {
        Ok(Self { dir: self.dir.canonicalize()?, ..self })
    }

    /// The words that [`Args::parse`] reads.
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![
            "--dir".into(),
            self.dir.clone().into(),
            "--runtime".into(),
            self.runtime.clone().into(),
            "--runtime-version".into(),
            self.runtime_version.clone().into(),
            "--log-bytes".into(),
            self.log_bounds.file_bytes_max.to_string().into(),
            "--log-files".into(),
            self.log_bounds.files_max.to_string().into(),
        ];
        if self.purpose == Purpose::Clean {
            words.push("--clean".into());
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_writes_a_shim_reads() {
        for purpose in [Purpose::Serve, Purpose::Clean] {
            let args = Args {
                dir: PathBuf::from("/run/p"),
                runtime: PathBuf::from("/usr/bin/crun"),
                runtime_version: "crun://1.8.1".into(),
                log_bounds: LogBounds { file_bytes_max: 1000, files_max: 3 },
                purpose,
            };
            assert_eq!(Args::parse(args.words()), Ok(args));
        }
    }

    #[test]
    fn what_nobody_writes_is_refused() {
        let check = |line: &str, expected: &str| {
            let parsed = Args::parse(line.split_whitespace().map(OsString::from));
            assert_eq!(parsed.map(|_| String::new()).unwrap_or_else(|error| error.to_string()), expected);
        };
        check("", "--dir is missing");
        check("--dir /d", "--runtime is missing");
        check("--dir", "--dir takes a value");
        check("--dir /d --runtime r --log-files many", "--log-files takes a number");
        check("--pod p", "`--pod` is no option of a shim");
    }
}
