//! What the labels of a namespace ask for.

use std::fmt;

use serde_json::Value;

use crate::field::FieldError;

/// What becomes of pods that do not keep to a standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Pods that break it are refused.
    pub enforce: Standard,
    /// They would stand in an audit log.
    pub audit: Standard,
    /// Who makes them, or what makes them, is warned.
    pub warn: Standard,
}

/// A level as it was in some version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standard {
    /// How much is asked of pods.
    pub level: Level,
    /// Of which version of Kubernetes.
    pub version: Version,
}

/// How much is asked of pods, the more the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    Privileged,
    /// Nothing that is known to let pods reach for more.
    Baseline,
    /// Everything that hardens pods.
    Restricted,
}

/// The minor number of a version; `None` is the latest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version(Option<u32>);

impl Policy {
    /// What labels ask for, and what is wrong with them. Where it is not clear how much is enforced, it is everything.
    pub fn of_labels(labels: &Value) -> (Self, Vec<FieldError>) {
        let (mut policy, mut errors) = (Self::default(), Vec::new());
        let modes = [
            (&mut policy.enforce, ENFORCE, Level::Restricted),
            (&mut policy.audit, AUDIT, Level::Privileged),
            (&mut policy.warn, WARN, Level::Privileged),
        ];
        for (standard, label, otherwise) in modes {
            let wrong = |label: &str, value: &str, why: &str| {
                FieldError::invalid(format!("metadata.labels[{label}]").as_str(), value, why)
            };
            if let Some(value) = labels[label].as_str() {
                standard.level = Level::parse(value).unwrap_or_else(|| {
                    errors.push(wrong(label, value, "must be one of privileged, baseline, restricted"));
                    otherwise
                });
            }
            let label = format!("{label}-version");
            if let Some(value) = labels[label.as_str()].as_str() {
                standard.version = Version::parse(value).unwrap_or_else(|| {
                    errors.push(wrong(&label, value, "must be \"latest\" or \"v1.x\""));
                    Version::default()
                });
            }
        }
        (policy, errors)
    }

    /// Whether pods are looked at at all.
    pub fn asks_for_something(&self) -> bool {
        [self.enforce, self.warn].iter().any(|standard| standard.level != Level::Privileged)
    }
}

impl Standard {
    /// Whether pods that keep to `other` may break it.
    pub(super) fn is_stricter_than(self, other: Self) -> bool {
        match self.level {
            Level::Privileged => false,
            level => level > other.level || self.version != other.version,
        }
    }
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "privileged" => Self::Privileged,
            "baseline" => Self::Baseline,
            "restricted" => Self::Restricted,
            _ => return None,
        })
    }
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        if text == "latest" {
            return Some(Self(None));
        }
        let minor = text.strip_prefix("v1.")?;
        let is_number = minor.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = minor == "0" || !minor.starts_with('0');
        let number = (is_number && is_plain).then(|| minor.parse().ok())??;
        Some(Self(Some(number)))
    }

    /// Whether it is version 1.`minor` or a later one.
    pub(super) fn has(self, minor: u32) -> bool {
        self.0.is_none_or(|own| own >= minor)
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version.0 {
            None => write!(f, "{level}:latest"),
            Some(minor) => write!(f, "{level}:v1.{minor}"),
        }
    }
}

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";
pub(super) const AUDIT: &str = "pod-security.kubernetes.io/audit";
const WARN: &str = "pod-security.kubernetes.io/warn";
