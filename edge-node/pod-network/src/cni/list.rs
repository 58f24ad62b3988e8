//! Which plugins a node has, as their configuration says.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::PluginError;

/// The plugins of one network, in order, as an administrator wrote them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PluginList {
    /// As it was written.
    pub(super) text: Value,
    pub(super) name: String,
    pub(super) version: Version,
    pub(super) plugins: Vec<Map<String, Value>>,
    pub(super) is_check_disabled: bool,
    pub(super) is_gc_disabled: bool,
}

/// A version of the specification.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version([u32; 3]);

impl PluginList {
    /// The first of a folder by name.
    pub(super) fn first(folder: &Path) -> Result<Self, PluginError> {
        let failed = |source| PluginError::Folder { path: folder.to_owned(), source };
        let mut paths: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let is_wanted =
                path.extension().is_some_and(|end| EXTENSIONS.iter().any(|wanted| end == *wanted));
            if is_wanted && paths.len() < FILES_MAX {
                paths.push(path);
            }
        }
        let path = paths.into_iter().min().ok_or_else(|| PluginError::None { path: folder.to_owned() })?;
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut text));
        read.map_err(|source| PluginError::Folder { path: path.clone(), source })?;
        let value = serde_json::from_slice(&text).ok();
        let list = value.and_then(Self::read);
        list.ok_or(PluginError::Configuration { path })
    }

    /// Reads a list, or the configuration of a single plugin.
    pub(super) fn read(value: Value) -> Option<Self> {
        let text = value.clone();
        let Value::Object(mut list) = value else { return None };
        let name = list.get("name")?.as_str()?.to_owned();
        let version = Version::parse(list.get("cniVersion").and_then(Value::as_str)?)?;
        let flag = |key: &str| list.get(key).and_then(Value::as_bool).unwrap_or(false);
        let (is_check_disabled, is_gc_disabled) = (flag("disableCheck"), flag("disableGC"));
        let plugins = match list.remove("plugins") {
            Some(Value::Array(plugins)) => plugins
                .into_iter()
                .map(|plugin| match plugin {
                    Value::Object(plugin) => Some(plugin),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>()?,
            Some(_) => return None,
            None => vec![list],
        };
        let is_good = !name.is_empty()
            && (1..=PLUGINS_MAX).contains(&plugins.len())
            && plugins.iter().all(|plugin| plugin_type(plugin).is_some());
        is_good.then_some(Self { text, name, version, plugins, is_check_disabled, is_gc_disabled })
    }
}

impl Version {
    /// `None` for what is no version, or one whose results have another form than ours.
    fn parse(text: &str) -> Option<Self> {
        let parts: Vec<u32> = text.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let version = Self(parts.try_into().ok()?);
        (version >= Self([0, 3, 0])).then_some(version)
    }

    pub(super) fn can_check(&self) -> bool {
        *self >= Self([0, 4, 0])
    }

    pub(super) fn can_collect(&self) -> bool {
        *self >= Self([1, 1, 0])
    }

    pub(super) fn text(&self) -> String {
        let [major, minor, patch] = self.0;
        format!("{major}.{minor}.{patch}")
    }
}

/// The name of a plugin's program; `None` if it is no name of a file.
pub(super) fn plugin_type(plugin: &Map<String, Value>) -> Option<&str> {
    let name = plugin.get("type")?.as_str()?;
    (!name.is_empty() && !name.contains('/') && name != "." && name != "..").then_some(name)
}

const EXTENSIONS: [&str; 3] = ["conflist", "conf", "json"];
/// Files of a folder that are looked at.
const FILES_MAX: usize = 1024;
/// Of a configuration; lists have some kilobytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Of a list; those of clusters have three or four.
const PLUGINS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_and_single_plugins_are_read() {
        let single = json!({"cniVersion": "0.3.1", "name": "n", "type": "bridge"});
        let list = PluginList::read(single).unwrap();
        assert_eq!((list.name.as_str(), list.plugins.len()), ("n", 1));
        assert!(!list.version.can_check());
        let list = json!({"cniVersion": "1.1.0", "name": "n", "disableCheck": true, "plugins": [{"type": "a"}, {"type": "b"}]});
        let list = PluginList::read(list).unwrap();
        assert!(list.is_check_disabled && list.version.can_check() && list.version.can_collect());
        assert_eq!(list.version.text(), "1.1.0");
        for bad in [
            json!({}),
            json!([]),
            json!({"cniVersion": "0.2.0", "name": "n", "type": "bridge"}),
            json!({"cniVersion": "1.0", "name": "n", "type": "bridge"}),
            json!({"cniVersion": "1.0.0", "name": "", "type": "bridge"}),
            json!({"cniVersion": "1.0.0", "name": "n", "type": "../bridge"}),
            json!({"cniVersion": "1.0.0", "name": "n", "plugins": []}),
            json!({"cniVersion": "1.0.0", "name": "n", "plugins": [1]}),
            json!({"cniVersion": "1.0.0", "name": "n", "plugins": {}}),
        ] {
            assert_eq!(PluginList::read(bad.clone()), None, "{bad}");
        }
    }
}
