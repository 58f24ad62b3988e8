//! The files of a projected volume: keys of ConfigMaps and Secrets, what the pod is, and tokens of its service account.

use std::sync::Arc;

use dunlin_link::{
    pod::{ConfigKind, PodAssignment},
    tokens::TokenProjection,
    volumes::{ConfigItem, DownwardItem, DownwardValue, Projection, Volume},
};

use super::{File, is_safe_relative};
use crate::env::{self, Surroundings};

/// The files of all sources; of two with one path the later one counts.
pub(super) fn files(
    assignment: &PodAssignment,
    volume: &Volume,
    (default_mode, sources): (u32, &[Projection]),
    around: &Surroundings<'_>,
) -> Result<Vec<File>, String> {
    let mut all = Files::default();
    let mut tokens = assignment.tokens.of(&volume.name).peekable();
    for (before, source) in sources.iter().enumerate() {
        while let Some(token) =
            tokens.next_if(|token| usize::try_from(token.after).is_ok_and(|after| after <= before))
        {
            all.add_token(assignment, token, default_mode, around)?;
        }
        match source {
            Projection::Config { kind, name, items, optional } => {
                let object = match env::config_object(assignment, *kind, name, around) {
                    Err(error) if *optional && !error.is_temporary() => continue,
                    found => found.map_err(|error| error.to_string())?,
                };
                let keys = Keys { kind: *kind, data: &object.data, is_optional: *optional };
                all.add_keys(&keys, items, default_mode)?;
            }
            Projection::Downward { items } => {
                for item in items {
                    all.add_field(assignment, item, default_mode, around)?;
                }
            }
        }
    }
    for token in tokens {
        all.add_token(assignment, token, default_mode, around)?;
    }
    Ok(all.list)
}

/// The data of an object.
struct Keys<'a> {
    kind: ConfigKind,
    data: &'a [(String, Vec<u8>)],
    is_optional: bool,
}

#[derive(Default)]
struct Files {
    list: Vec<File>,
    bytes: usize,
}

impl Files {
    fn add_keys(&mut self, keys: &Keys<'_>, items: &[ConfigItem], default_mode: u32) -> Result<(), String> {
        if items.is_empty() {
            for (key, value) in keys.data {
                self.add(key, default_mode, value)?;
            }
        }
        for item in items {
            match keys.data.iter().find(|(key, _)| *key == item.key) {
                Some((_, value)) => self.add(&item.path, item.mode.unwrap_or(default_mode), value)?,
                None if keys.is_optional => {}
                None => {
                    let what = match keys.kind {
                        ConfigKind::ConfigMap => "config",
                        ConfigKind::Secret => "secret",
                    };
                    let holder = match keys.kind {
                        ConfigKind::ConfigMap => "configmap ",
                        ConfigKind::Secret => "",
                    };
                    return Err(format!("{holder}references non-existent {what} key: {}", item.key));
                }
            }
        }
        Ok(())
    }

    fn add_field(
        &mut self,
        assignment: &PodAssignment,
        item: &DownwardItem,
        default_mode: u32,
        around: &Surroundings<'_>,
    ) -> Result<(), String> {
        let value = match &item.value {
            DownwardValue::Field(path) if path == "metadata.labels" => quoted_lines(&assignment.spec.labels),
            DownwardValue::Field(path) if path == "metadata.annotations" => {
                quoted_lines(&assignment.spec.annotations)
            }
            DownwardValue::Field(path) => {
                env::field_value(assignment, path, around).map_err(|error| error.to_string())?
            }
            DownwardValue::Resource { container, resource, divisor_milli } => {
                env::resource_value(assignment, container, (resource, *divisor_milli), around)
                    .map_err(|error| error.to_string())?
            }
        };
        self.add(&item.path, item.mode.unwrap_or(default_mode), value.as_bytes())
    }

    /// Where somebody is known who has to read it, nobody else does: the one user of all containers, or the pod's group, to which
    /// whoever writes it adds the right to read.
    fn add_token(
        &mut self,
        assignment: &PodAssignment,
        token: &TokenProjection,
        default_mode: u32,
        around: &Surroundings<'_>,
    ) -> Result<(), String> {
        let data = (around.tokens)(&token.claim).ok_or("failed to fetch token: it is not here yet")?;
        let owner = only_user(assignment);
        let is_private = owner.is_some() || assignment.linux().fs_group.is_some();
        let mode = if is_private { TOKEN_MODE_PRIVATE } else { default_mode };
        self.add(&token.path, mode, &data)?;
        if let Some(file) = self.list.iter_mut().find(|file| file.path == token.path) {
            file.owner = owner;
        }
        Ok(())
    }

    fn add(&mut self, path: &str, mode: u32, data: &[u8]) -> Result<(), String> {
        // Names that begin so are the writer's own.
        if !is_safe_relative(path) || path.starts_with("..") {
            return Err(format!("invalid path: \"{path}\""));
        }
        let below =
            |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.starts_with('/'));
        if let Some(other) = self.list.iter().find(|file| below(path, &file.path) || below(&file.path, path))
        {
            return Err(format!("conflicting paths: \"{path}\" and \"{}\"", other.path));
        }
        self.bytes += data.len();
        if self.bytes > FILES_BYTES_MAX || self.list.len() >= FILES_MAX {
            return Err("the volume is too large".to_owned());
        }
        let file = File { path: path.to_owned(), mode: mode & 0o777, data: Arc::from(data), owner: None };
        match self.list.iter_mut().find(|known| known.path == path) {
            Some(known) => *known = file,
            None => self.list.push(file),
        }
        Ok(())
    }
}

/// The user that all containers of a pod are to run as, if it is one.
fn only_user(assignment: &PodAssignment) -> Option<u32> {
    let mut users = assignment.linux().containers.iter().map(|says| says.uid);
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first)
}

/// A line `KEY="VALUE"` for each entry, by key, the value quoted as Go does.
fn quoted_lines(entries: &[(String, String)]) -> String {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort();
    let lines: Vec<_> = sorted.iter().map(|(key, value)| format!("{key}={}", go_quote(value))).collect();
    lines.join("\n")
}

fn go_quote(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            control if control.is_ascii_control() => {
                write!(out, "\\x{:02x}", u32::from(control)).expect("writing to a String cannot fail");
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

/// Largest content of one volume: as many of the largest objects as anybody names in one.
const FILES_BYTES_MAX: usize = 16 << 20;

/// Of a token that not everybody in the pod may read.
const TOKEN_MODE_PRIVATE: u32 = 0o600;

/// Most files of one volume.
const FILES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_as_go_quotes_them() {
        let entries = [("b", "x\ny"), ("a", "say \"hi\"\\\u{1}")];
        let entries = entries.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(quoted_lines(&entries), "a=\"say \\\"hi\\\"\\\\\\x01\"\nb=\"x\\ny\"");
        assert_eq!(quoted_lines(&[]), "");
    }

    #[test]
    fn no_path_leads_out_or_lies_below_another() {
        let check = |paths: &[&str], expected: Option<&str>| {
            let mut files = Files::default();
            let result: Result<Vec<()>, _> = paths.iter().map(|path| files.add(path, 0o7644, b"x")).collect();
            assert_eq!(result.err().as_deref(), expected, "{paths:?}");
        };
        check(&["a", "b/c", "b/d", "a"], None);
        check(&["../a"], Some("invalid path: \"../a\""));
        check(&["/a"], Some("invalid path: \"/a\""));
        check(&["a//b"], Some("invalid path: \"a//b\""));
        check(&["..data"], Some("invalid path: \"..data\""));
        check(&["a/b", "a"], Some("conflicting paths: \"a\" and \"a/b\""));
        check(&["a", "a/b"], Some("conflicting paths: \"a/b\" and \"a\""));
    }
}
