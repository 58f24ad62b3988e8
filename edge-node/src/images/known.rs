//! What is known of images: their names, and what those lead to.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
};

use dunlin_link::{Digest, reference::Reference};

use super::{
    ImageContent,
    bring::{Brought, BroughtContent},
    collect::Uses,
    configs::Configs,
    guests::Guests,
    layers::LayerStore,
    meanings::{Holds, Meaning, Meanings},
};

/// Names, and what those of Linux images lead to.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) meanings: Meanings,
    pub(super) configs: Configs,
    pub(super) guests: Guests,
    pub(super) uses: Uses,
    /// Not removed to make room.
    pub(super) protected: BTreeSet<Digest>,
}

impl Known {
    pub(super) fn content(&self, image: &Digest, holds: Holds) -> Option<ImageContent> {
        match holds {
            Holds::Module(module) => Some(ImageContent::Module(module)),
            Holds::Linux { config, .. } => self.configs.get(&config).map(ImageContent::Linux),
            Holds::Guest { .. } => self.guests.get(image).map(ImageContent::Guest),
        }
    }

    /// What it leads to is durable before the name is.
    pub(super) fn remember(&mut self, name: &Reference, brought: Brought) -> io::Result<()> {
        let Brought { image, bytes, content, pins } = brought;
        let holds = match content {
            BroughtContent::Module(module) => Holds::Module(module),
            BroughtContent::Linux(config) => Holds::Linux { config: self.configs.insert(&config)?, bytes },
            BroughtContent::Guest(staged) => {
                staged.map_or(Ok(()), |staged| self.guests.insert(image, &staged))?;
                Holds::Guest { bytes }
            }
        };
        self.uses.touch(image);
        self.meanings.remember(name, Meaning { image, holds })?;
        drop(pins);
        Ok(())
    }

    /// Forgets an image by all of its names.
    pub(super) fn forget(&mut self, image: &Digest) {
        self.meanings.retain_images(|known, _| known != image);
        self.drop_unnamed();
    }

    /// The images that were used last are those of the configs that were.
    pub(super) fn recall_uses(&mut self) {
        self.guests.by_use().into_iter().for_each(|image| self.uses.touch(image));
        for config in self.configs.by_use() {
            let of_config =
                |(image, holds): (Digest, Holds)| (holds.config() == Some(config)).then_some(image);
            let images: Vec<_> = self.meanings.images().filter_map(of_config).collect();
            images.into_iter().for_each(|image| self.uses.touch(image));
        }
    }

    /// Forgets names whose content is gone, then what no name leads to.
    pub(super) fn retain(&mut self, store: &LayerStore, has_module: impl Fn(&Digest) -> bool) {
        let (configs, guests) = (&self.configs, &self.guests);
        self.meanings.retain_images(|image, holds| match holds {
            Holds::Module(module) => has_module(module),
            Holds::Linux { config, .. } => configs.get(config).is_some_and(|image| store.has(&image.layers)),
            Holds::Guest { .. } => guests.get(image).is_some(),
        });
        self.drop_unnamed();
    }

    /// Forgets what no name leads to.
    pub(super) fn drop_unnamed(&mut self) {
        let images: HashMap<Digest, Holds> = self.meanings.images().collect();
        let named: HashSet<Digest> = images.values().filter_map(|holds| holds.config()).collect();
        self.configs.retain(|config| named.contains(config));
        self.guests.retain(|image| images.contains_key(image));
        self.uses.retain(|image| images.contains_key(image));
    }
}
