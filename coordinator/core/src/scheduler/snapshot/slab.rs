//! Things with small numbers for names: places in a list that are used again once they are free.

/// A list whose elements keep their place until they are taken out.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn insert(&mut self, value: T) -> usize {
        if let Some(place) = self.free.pop() {
            self.entries[place] = Some(value);
            return place;
        }
        self.entries.push(Some(value));
        self.entries.len() - 1
    }

    pub(crate) fn remove(&mut self, place: usize) -> Option<T> {
        let taken = self.entries.get_mut(place)?.take();
        if taken.is_some() {
            self.free.push(place);
        }
        taken
    }

    pub(crate) fn get(&self, place: usize) -> Option<&T> {
        self.entries.get(place)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, place: usize) -> Option<&mut T> {
        self.entries.get_mut(place)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.entries.iter().enumerate().filter_map(|(place, entry)| Some((place, entry.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        self.entries.iter_mut().enumerate().filter_map(|(place, entry)| Some((place, entry.as_mut()?)))
    }
}
