//! What a person on the machine asks about images, see [`crate::console`]. Only the agent's task knows which pods need them.

use std::collections::{BTreeMap, BTreeSet};

use dunlin_link::{Digest, reference::Reference};
use tokio::sync::oneshot;

use super::{Agent, AgentHost, inspect::Inspect};
use crate::{
    console::{ImageKind, ImageView},
    images::{Came, ImageContent, ImageEntry},
};

/// A question or order about images.
#[derive(Debug)]
pub(super) enum ImageAsk {
    List { reply: oneshot::Sender<Vec<ImageView>> },
    Find { name: String, reply: oneshot::Sender<Result<ImageView, String>> },
    Remove { name: String, reply: oneshot::Sender<Result<Vec<String>, String>> },
    Came { came: Came, reply: oneshot::Sender<()> },
}

impl AgentHost {
    /// All images, by name.
    pub(crate) async fn images(&self) -> Result<Vec<ImageView>, String> {
        self.inspect(|reply| Inspect::Images(ImageAsk::List { reply })).await
    }

    /// The image that a name, a digest or the beginning of an id means.
    pub(crate) async fn find_image(&self, name: String) -> Result<ImageView, String> {
        self.inspect(|reply| Inspect::Images(ImageAsk::Find { name, reply })).await?
    }

    /// Removes an image that no pod needs; answers the names that are gone.
    pub(crate) async fn remove_image(&self, name: String) -> Result<Vec<String>, String> {
        self.inspect(|reply| Inspect::Images(ImageAsk::Remove { name, reply })).await?
    }

    /// Takes note of an image that came without a pod asking for it.
    pub(crate) async fn image_came(&self, came: Came) -> Result<(), String> {
        self.inspect(|reply| Inspect::Images(ImageAsk::Came { came, reply })).await
    }
}

impl Agent {
    pub(super) fn handle_image_ask(&mut self, ask: ImageAsk) {
        match ask {
            // Who asked may have left.
            ImageAsk::List { reply } => drop(reply.send(self.image_views())),
            ImageAsk::Find { name, reply } => {
                drop(reply.send(find(&self.image_views(), &name).cloned()));
            }
            ImageAsk::Remove { name, reply } => drop(reply.send(self.remove_image(&name))),
            ImageAsk::Came { came, reply } => {
                let used = self.clock.now().wall.0.unsigned_abs();
                let Came { module, pins } = came;
                if let Some((module, bytes)) = module {
                    self.modules.insert(module, bytes, used);
                }
                drop((reply.send(()), pins));
            }
        }
    }

    /// The images that have names, then the coordinator's modules by what pods call them.
    fn image_views(&self) -> Vec<ImageView> {
        let users = self.core.users_of_images();
        let used_by = |digest: &Digest| {
            let users = users.get(digest).into_iter().flatten();
            let mut pods: Vec<_> = users.map(|user| user.pod.clone()).collect();
            pods.dedup();
            pods
        };
        let sizes: BTreeMap<Digest, u64> = self.modules.sizes().collect();
        let mut views = Vec::new();
        let (mut named, mut shown) = (BTreeSet::new(), BTreeSet::new());
        for ImageEntry { names, image, id, bytes, content } in self.images.entries() {
            let (kind, size) = match content {
                ImageContent::Module(module) => {
                    named.insert(module);
                    (ImageKind::Wasm, sizes.get(&module).copied())
                }
                ImageContent::Linux(_) => (ImageKind::Linux, bytes),
                ImageContent::Guest(guest) => {
                    named.extend(guest.modules());
                    (ImageKind::Wasm, bytes)
                }
            };
            let Some(bytes) = size else { continue };
            shown.insert(image);
            views.push(ImageView { names, image, id, bytes, kind, used_by: used_by(&image) });
        }
        // A module that pods have of the coordinator is its own image, also where another image holds the same.
        let is_own = |module: &Digest| {
            !named.contains(module) || users.contains_key(module) && !shown.contains(module)
        };
        for (module, bytes) in sizes.into_iter().filter(|(module, _)| is_own(module)) {
            let references = users.get(&module).into_iter().flatten();
            let mut names: Vec<_> = references.map(|user| user.reference.clone()).collect();
            names.sort();
            names.dedup();
            let used_by = used_by(&module);
            let kind = ImageKind::Wasm;
            views.push(ImageView { names, image: module, id: module, bytes, kind, used_by });
        }
        views
    }

    fn remove_image(&mut self, name: &str) -> Result<Vec<String>, String> {
        let views = self.image_views();
        let found = find(&views, name)?;
        if let [first, others @ ..] = &found.used_by[..] {
            let more = if others.is_empty() { String::new() } else { format!(" and {} more", others.len()) };
            return Err(format!("{name}: used by pod {first}{more}"));
        }
        if self.clerk.volume_images().contains(&found.image) {
            return Err(format!("{name}: it is a volume of a pod"));
        }
        let tagged = |view: &ImageView| view.names.iter().filter(|name| !name.contains('@')).count();
        let reference = name.parse::<Reference>().ok().map(|reference| reference.to_string());
        // One of several names is taken away, as with other tools; the last takes the image along.
        if let Some(tag) = reference.filter(|tag| found.names.contains(tag))
            && tagged(found) > 1
        {
            self.images.untag(&tag).map_err(|error| error.to_string())?;
            return Ok(vec![tag]);
        }
        self.images.remove(&found.image);
        if found.kind == ImageKind::Wasm
            && !views.iter().any(|view| view.id == found.id && view.image != found.image)
        {
            self.modules.remove_one(found.id);
        }
        let names = if found.names.is_empty() { vec![found.image.to_string()] } else { found.names.clone() };
        Ok(names)
    }
}

/// The image that a name, a digest or the beginning of an id means.
fn find<'a>(views: &'a [ImageView], name: &str) -> Result<&'a ImageView, String> {
    let missing = || format!("{name}: no such image");
    let full = name.parse::<Reference>().ok().map(|reference| reference.to_string());
    // Names of the coordinator's modules are as pods have them.
    let is_it = |known: &String| {
        Some(known) == full.as_ref() || known.parse::<Reference>().ok().map(|known| known.to_string()) == full
    };
    if let Some(view) = views.iter().find(|view| full.is_some() && view.names.iter().any(is_it)) {
        return Ok(view);
    }
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    if hex.len() < ID_CHARS_MIN || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(missing());
    }
    let means = |view: &&ImageView| [view.image, view.id].iter().any(|digest| digest.hex().starts_with(hex));
    let mut found = views.iter().filter(means);
    match (found.next(), found.next()) {
        (None, _) => Err(missing()),
        (Some(view), None) => Ok(view),
        (Some(_), Some(_)) => Err(format!("{name}: several images begin so; give more of the id")),
    }
}

/// Shorter ones are mistyped names.
const ID_CHARS_MIN: usize = 6;
