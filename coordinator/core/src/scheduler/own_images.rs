//! Linux images in the coordinator's own registry: for which machines each of them is. A record of the store, written with the manifest,
//! says so for each name and each digest.

use std::{collections::HashMap, sync::Arc};

use crate::{image::Wanted, view::PodTemplate};

/// Keys of the store that hold what Linux images are for: this, then the name as the pods' images have it in full, with a tag or a
/// digest. The value is a list of platforms (`["linux/amd64", "linux/arm/v7"]`) as JSON.
pub const PLATFORMS_PREFIX: &str = "/dunlin/platforms/";

/// What is known of these images, by full name.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnImages(HashMap<String, Architectures>);

/// The architectures that an image is there for.
pub(crate) type Architectures = Arc<[String]>;

impl OwnImages {
    /// Takes over a record; one that is gone, or that says nothing, leaves nothing known.
    pub(crate) fn set(&mut self, name: &str, record: Option<&[u8]>) {
        let platforms = record.and_then(|record| serde_json::from_slice::<Vec<String>>(record).ok());
        let architectures: Option<Architectures> = platforms
            .map(|platforms| platforms.iter().filter_map(|platform| architecture(platform)).collect());
        match architectures.filter(|architectures| !architectures.is_empty()) {
            Some(architectures) => drop(self.0.insert(name.to_owned(), architectures)),
            None => drop(self.0.remove(name)),
        }
    }

    /// What a pod's images that are known to be for Linux are there for.
    pub(crate) fn of(&self, template: &PodTemplate) -> Vec<Architectures> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let known = |image: &String| {
            let name = match Wanted::parse(image).ok()? {
                Wanted::Name(name) => name.to_string(),
                Wanted::Digest { pinned, .. } => pinned,
            };
            self.0.get(&name).cloned()
        };
        template.images.iter().filter_map(known).collect()
    }
}

/// Whether a machine of an architecture may run an image that is there for these. Variants are for the node to judge.
pub(crate) fn runs(machine: &str, image: &Architectures) -> bool {
    image.iter().any(|image| {
        machine == image || matches!((machine, image.as_str()), ("amd64", "386") | ("arm64", "arm"))
    })
}

fn architecture(platform: &str) -> Option<String> {
    let rest = platform.strip_prefix("linux/")?;
    rest.split('/').next().filter(|architecture| !architecture.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_run_what_came_before_them() {
        let check = |machine: &str, record: &str, expected: Option<bool>| {
            let mut images = OwnImages::default();
            images.set("dunlin.local/a:1", Some(record.as_bytes()));
            let known = images.0.get("dunlin.local/a:1");
            assert_eq!(known.map(|image| runs(machine, image)), expected, "{record} on {machine}");
        };
        check("amd64", r#"["linux/amd64"]"#, Some(true));
        check("amd64", r#"["linux/386"]"#, Some(true));
        check("arm64", r#"["linux/arm/v7"]"#, Some(true));
        check("arm", r#"["linux/arm64/v8"]"#, Some(false));
        check("amd64", r#"["linux/arm64", "linux/amd64/v3"]"#, Some(true));
        check("amd64", r#"["windows/amd64"]"#, None);
        check("amd64", "[]", None);
        check("amd64", "{", None);
    }
}
