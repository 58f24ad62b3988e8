//! AppArmor: which profile a Linux container gets, and which pods a machine cannot take. Rules and words are the kubelet's.

use dunlin_link::{linux::AppArmorProfile, pod::PodAssignment};

use crate::env::ConfigError;

/// What a machine has of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AppArmor {
    /// Nothing: the kernel has none, or it is switched off.
    #[default]
    Absent,
    /// It applies profiles, but the usual one could not be loaded.
    Bare {
        /// Why, for a person.
        why: String,
    },
    /// It applies profiles, and the usual one is loaded.
    Ready,
}

impl AppArmor {
    /// The profile of a container that asks for this; `None` where it has none.
    pub(crate) fn profile(&self, asked: &AppArmorProfile) -> Result<Option<String>, ConfigError> {
        match (asked, self) {
            (AppArmorProfile::Localhost(name), _) => Ok(Some(name.clone())),
            (AppArmorProfile::Unset | AppArmorProfile::RuntimeDefault, Self::Ready) => {
                Ok(Some(DEFAULT_PROFILE.to_owned()))
            }
            (AppArmorProfile::Unset | AppArmorProfile::Unconfined, _) => Ok(None),
            (AppArmorProfile::RuntimeDefault, Self::Absent | Self::Bare { .. }) => {
                Err(ConfigError::NoAppArmor(self.lack().to_owned()))
            }
        }
    }

    /// Why a pod of Linux containers cannot be here, if it cannot.
    pub(crate) fn refusal(&self, pod: &PodAssignment) -> Option<String> {
        let mut asked = pod.linux().containers.iter().map(|says| &says.app_armor);
        let is_missed = match self {
            Self::Ready => false,
            Self::Bare { .. } => asked.any(|asked| *asked == AppArmorProfile::RuntimeDefault),
            Self::Absent => asked.any(|asked| {
                matches!(asked, AppArmorProfile::RuntimeDefault | AppArmorProfile::Localhost(_))
            }),
        };
        is_missed.then(|| format!("Cannot enforce AppArmor: {}", self.lack()))
    }

    fn lack(&self) -> &str {
        match self {
            Self::Bare { why } => why,
            Self::Absent | Self::Ready => "AppArmor is not enabled on the host",
        }
    }
}

/// Name of the usual profile.
pub const DEFAULT_PROFILE: &str = "dunlin-default";

#[cfg(test)]
mod tests {
    use dunlin_link::linux::{ContainerLinux, PodLinux};

    use super::*;
    use crate::pod::fixture;

    #[test]
    fn containers_have_the_usual_profile_where_there_is_one() {
        let bare = AppArmor::Bare { why: "no parser".into() };
        let own = AppArmorProfile::Localhost("tight".into());
        let pod = |asked: &AppArmorProfile| {
            let mut pod = fixture::pod(vec![fixture::container("c")]);
            let says = ContainerLinux { app_armor: asked.clone(), ..ContainerLinux::default() };
            pod.linux = Some(Box::new(PodLinux { containers: vec![says], ..PodLinux::default() }));
            pod
        };
        let check = |machine: &AppArmor, asked: &AppArmorProfile, expected: Result<Option<&str>, &str>| {
            let refusal = machine.refusal(&pod(asked));
            match expected {
                Ok(profile) => {
                    assert_eq!(machine.profile(asked).unwrap().as_deref(), profile);
                    assert_eq!(refusal, None);
                }
                Err(why) => assert_eq!(refusal.as_deref(), Some(why)),
            }
        };
        let (unset, usual) = (AppArmorProfile::Unset, AppArmorProfile::RuntimeDefault);
        check(&AppArmor::Ready, &unset, Ok(Some("dunlin-default")));
        check(&AppArmor::Ready, &usual, Ok(Some("dunlin-default")));
        check(&AppArmor::Ready, &own, Ok(Some("tight")));
        check(&AppArmor::Ready, &AppArmorProfile::Unconfined, Ok(None));
        check(&bare, &unset, Ok(None));
        check(&bare, &own, Ok(Some("tight")));
        check(&bare, &usual, Err("Cannot enforce AppArmor: no parser"));
        let absent = "Cannot enforce AppArmor: AppArmor is not enabled on the host";
        check(&AppArmor::Absent, &unset, Ok(None));
        check(&AppArmor::Absent, &AppArmorProfile::Unconfined, Ok(None));
        check(&AppArmor::Absent, &usual, Err(absent));
        check(&AppArmor::Absent, &own, Err(absent));
        // What is added to a pod that is here waits.
        assert!(AppArmor::Absent.profile(&usual).is_err());
    }
}
