//! What each document of version 3 is about, and which paths are in it.

use std::collections::BTreeSet;

use super::paths::{self, Information, Path};
use crate::kind::Kind;

/// What a document of version 3 is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Which build the server is.
    Version,
    /// Versions of the core group.
    CoreVersions,
    /// Groups other than the core group.
    Groups,
    /// Versions of one group.
    Group(&'static str),
    /// Everything in a version of a group; the group is empty for core.
    GroupVersion(&'static str, &'static str),
    /// Who signs tokens of service accounts.
    Issuer,
    /// The keys that sign them.
    Keys,
}

impl Topic {
    /// Every topic there is with these kinds, in the order of their paths.
    pub fn all(kinds: &[&'static Kind]) -> Vec<Self> {
        let mut topics =
            BTreeSet::from([Self::Version, Self::CoreVersions, Self::Groups, Self::Issuer, Self::Keys]);
        for kind in kinds {
            topics.insert(Self::GroupVersion(kind.group, kind.version));
            if !kind.group.is_empty() {
                topics.insert(Self::Group(kind.group));
            }
        }
        let mut topics: Vec<Self> = topics.into_iter().collect();
        topics.sort_by_key(|topic| topic.path());
        topics
    }

    /// Where its document is found below `/openapi/v3/`: the path that it is about.
    pub fn path(&self) -> String {
        match self {
            Self::Version => "version".to_owned(),
            Self::CoreVersions => "api".to_owned(),
            Self::Groups => "apis".to_owned(),
            Self::Group(group) => format!("apis/{group}"),
            Self::GroupVersion(group, version) => {
                paths::base(group, version).trim_start_matches('/').to_owned()
            }
            Self::Issuer => ".well-known/openid-configuration".to_owned(),
            Self::Keys => "openid/v1/jwks".to_owned(),
        }
    }

    /// Adds the paths that it is about.
    pub(super) fn add_paths(&self, kinds: &[&'static Kind], all: &mut Vec<Path>) {
        let information = match self {
            Self::Version => Information::Version,
            Self::CoreVersions => Information::CoreVersions,
            Self::Groups => Information::Groups,
            Self::Group(_) => Information::Group,
            Self::GroupVersion(..) => Information::Resources,
            Self::Issuer => Information::Issuer,
            Self::Keys => Information::Keys,
        };
        all.push(Path::information(format!("/{}/", self.path()), information));
        for kind in kinds.iter().filter(|kind| *self == Self::GroupVersion(kind.group, kind.version)) {
            paths::of_kind(kind, all);
        }
    }
}
