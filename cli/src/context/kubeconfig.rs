//! The file format, which is kubeconfig's: named clusters, users, and contexts that pair them. Fields we do not know are kept.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error as _},
    ser::SerializeMap as _,
};
use serde_norway::Value;

/// The whole file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Kubeconfig {
    /// The folder of the file, from which names of other files start.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    /// Servers and their authorities.
    #[serde(deserialize_with = "or_empty")]
    pub(crate) clusters: Vec<Named<Cluster>>,
    /// Certificates and keys.
    #[serde(deserialize_with = "or_empty")]
    pub(crate) users: Vec<Named<User>>,
    /// Pairs of the two.
    #[serde(deserialize_with = "or_empty")]
    pub(crate) contexts: Vec<Named<Context>>,
    /// The context of commands that name none; may be empty.
    pub(crate) current_context: String,
    /// Kept as they are.
    #[serde(flatten)]
    pub(crate) others: BTreeMap<String, Value>,
}

impl Kubeconfig {
    /// A context by name.
    pub(crate) fn context(&self, name: &str) -> Option<&Context> {
        find(&self.contexts, name)
    }
}

impl Default for Kubeconfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            api_version: "v1".to_owned(),
            kind: "Config".to_owned(),
            clusters: Vec::new(),
            users: Vec::new(),
            contexts: Vec::new(),
            current_context: String::new(),
            others: BTreeMap::new(),
        }
    }
}

/// Where the coordinator is and how it is recognised.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Cluster {
    /// `quic://host:port`, or `https://host:port`.
    #[serde(default)]
    pub(crate) server: String,
    /// PEM in base64.
    #[serde(rename = "certificate-authority-data", skip_serializing_if = "Option::is_none")]
    pub(crate) authority_data: Option<String>,
    /// A file of PEM.
    #[serde(rename = "certificate-authority", skip_serializing_if = "Option::is_none")]
    pub(crate) authority_file: Option<PathBuf>,
    /// Kept as they are.
    #[serde(flatten)]
    pub(crate) others: BTreeMap<String, Value>,
}

/// Who we are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct User {
    /// PEM in base64.
    #[serde(rename = "client-certificate-data", skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_data: Option<String>,
    /// A file of PEM.
    #[serde(rename = "client-certificate", skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_file: Option<PathBuf>,
    /// PEM in base64.
    #[serde(rename = "client-key-data", skip_serializing_if = "Option::is_none")]
    pub(crate) key_data: Option<String>,
    /// A file of PEM.
    #[serde(rename = "client-key", skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
    /// Kept as they are.
    #[serde(flatten)]
    pub(crate) others: BTreeMap<String, Value>,
}

/// A cluster as a user, with a namespace.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Context {
    /// Name of a cluster.
    #[serde(default)]
    pub(crate) cluster: String,
    /// Name of a user.
    #[serde(default)]
    pub(crate) user: String,
    /// `default` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// Kept as they are.
    #[serde(flatten)]
    pub(crate) others: BTreeMap<String, Value>,
}

/// An entry of one of the three lists: `{name: N, cluster: {...}}` and so on.
#[derive(Clone, Debug)]
pub(crate) struct Named<T> {
    /// Unique in its list.
    pub(crate) name: String,
    /// What it names.
    pub(crate) value: T,
}

/// The key beside `name` that holds an entry's value.
pub(crate) trait Entry {
    /// For instance `cluster`.
    const KEY: &'static str;
}

impl Entry for Cluster {
    const KEY: &'static str = "cluster";
}

impl Entry for User {
    const KEY: &'static str = "user";
}

impl Entry for Context {
    const KEY: &'static str = "context";
}

impl<T: Entry + Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry(T::KEY, &self.value)?;
        map.end()
    }
}

impl<'de, T: Entry + DeserializeOwned> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let name = map.remove("name").as_ref().and_then(Value::as_str).map(str::to_owned);
        let value = map.remove(T::KEY).ok_or_else(|| D::Error::missing_field(T::KEY))?;
        Ok(Self {
            name: name.ok_or_else(|| D::Error::missing_field("name"))?,
            value: serde_norway::from_value(value).map_err(D::Error::custom)?,
        })
    }
}

/// kubectl writes null for a list of nothing.
fn or_empty<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// The value of an entry.
pub(crate) fn find<'a, T>(list: &'a [Named<T>], name: &str) -> Option<&'a T> {
    list.iter().find(|entry| entry.name == name).map(|entry| &entry.value)
}

/// Replaces the entry of the same name, or adds it.
pub(crate) fn put<T>(list: &mut Vec<Named<T>>, new: Named<T>) {
    match list.iter_mut().find(|entry| entry.name == new.name) {
        Some(entry) => *entry = new,
        None => list.push(new),
    }
}
