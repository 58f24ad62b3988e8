//! What is remembered of a pod's plugins until it leaves: how they were run, and their result.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use dunlin_link::PodUid;
use serde_json::{Value, json};

use super::list::PluginList;

/// One pod's.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Record {
    /// The list as it was when the pod came, whatever it is now.
    pub(super) list: Value,
    /// What was passed by the environment.
    pub(super) arguments: String,
    pub(super) network_namespace: String,
    /// Which one that was: paths of ended processes come to mean others.
    pub(super) identity: (u64, u64),
    pub(super) port_mappings: Value,
    /// `Null` until all plugins have run.
    pub(super) result: Value,
}

/// What there is of a pod.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    Record(Box<Record>),
    /// It cannot be understood: a disk lost a part of it.
    Damaged,
}

/// The folder of all of them.
#[derive(Clone, Debug)]
pub(super) struct Records {
    folder: PathBuf,
}

impl Records {
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    pub(super) fn read(&self, uid: &PodUid) -> io::Result<Found> {
        let mut bytes = Vec::new();
        match File::open(self.path(uid)) {
            Ok(file) => file.take(RECORD_BYTES_MAX).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        let record = serde_json::from_slice(&bytes).ok().and_then(|value| Record::from_json(&value));
        Ok(record.map_or(Found::Damaged, |record| Found::Record(Box::new(record))))
    }

    /// Has a damaged record out of the way, for a person to look at. Answers where it is.
    pub(super) fn set_aside(&self, uid: &PodUid) -> io::Result<PathBuf> {
        let path = self.path(uid);
        let aside = path.with_extension("damaged");
        fs::rename(&path, &aside)?;
        Ok(aside)
    }

    /// Keeps a record; it is there after a power cut when this returns.
    pub(super) fn write(&self, uid: &PodUid, record: &Record) -> io::Result<()> {
        let path = self.path(uid);
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(record.to_json().to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        File::open(&self.folder)?.sync_all()
    }

    pub(super) fn remove(&self, uid: &PodUid) -> io::Result<()> {
        match fs::remove_file(self.path(uid)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// Whose there are.
    pub(super) fn pods(&self) -> io::Result<Vec<PodUid>> {
        let mut pods = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            pods.extend(name.to_str().and_then(|name| name.strip_suffix(".json")).map(PodUid::new));
        }
        Ok(pods)
    }

    fn path(&self, uid: &PodUid) -> PathBuf {
        self.folder.join(format!("{uid}.json"))
    }
}

impl Record {
    pub(super) fn plugins(&self) -> Option<PluginList> {
        PluginList::read(self.list.clone())
    }

    fn to_json(&self) -> Value {
        json!({
            "list": self.list,
            "arguments": self.arguments,
            "networkNamespace": self.network_namespace,
            "identity": [self.identity.0, self.identity.1],
            "portMappings": self.port_mappings,
            "result": self.result,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
        let number = |index: usize| value.get("identity")?.get(index)?.as_u64();
        Some(Self {
            list: value.get("list")?.clone(),
            arguments: text("arguments")?,
            network_namespace: text("networkNamespace")?,
            identity: (number(0)?, number(1)?),
            port_mappings: value.get("portMappings")?.clone(),
            result: value.get("result")?.clone(),
        })
    }
}

/// A list, a result and some names.
const RECORD_BYTES_MAX: u64 = 4 * 1024 * 1024;
