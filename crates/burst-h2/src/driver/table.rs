//! The connections of a driver by their index, and the names that they are called by.

use super::endpoint::{ConnectionRef, Endpoint};

/// Places are used again; a generation tells a connection from those that had its place before.
pub(super) struct Table<T> {
    places: Vec<Option<Box<Endpoint<T>>>>,
    generations: Vec<u32>,
    free: Vec<u32>,
}

impl<T> Table<T> {
    pub(super) fn new() -> Table<T> {
        Table { places: Vec::new(), generations: Vec::new(), free: Vec::new() }
    }

    /// Takes a place, which stays empty until [`Table::put`].
    pub(super) fn reserve(&mut self, user: u64) -> ConnectionRef {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.generations.push(0);
            self.places.len() as u32 - 1
        });
        ConnectionRef { index, generation: self.generations[index as usize], user }
    }

    pub(super) fn put(&mut self, endpoint: Endpoint<T>) {
        let index = endpoint.id.index as usize;
        self.places[index] = Some(Box::new(endpoint));
    }

    /// Gives a place back, empty or not.
    pub(super) fn remove(&mut self, id: ConnectionRef) -> Option<Box<Endpoint<T>>> {
        self.generations[id.index as usize] += 1;
        self.free.push(id.index);
        self.places[id.index as usize].take()
    }

    #[inline]
    pub(super) fn get(&mut self, index: u32) -> Option<&mut Endpoint<T>> {
        self.places.get_mut(index as usize)?.as_deref_mut()
    }

    pub(super) fn named(&mut self, id: ConnectionRef) -> Option<&mut Endpoint<T>> {
        self.get(id.index).filter(|endpoint| endpoint.id == id)
    }

    pub(super) fn count(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn indices(&self) -> impl Iterator<Item = u32> + use<T> {
        0..self.places.len() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ConnectionConfig;

    #[test]
    fn a_place_is_used_again_under_another_name() {
        let mut table = Table::new();
        let open = |table: &mut Table<()>| {
            let id = table.reserve(7);
            table.put(Endpoint::new(id, (), &ConnectionConfig::default(), 0));
            id
        };
        let (first, other) = (open(&mut table), open(&mut table));
        assert!(table.remove(first).is_some());
        let second = open(&mut table);
        assert_eq!((second.index, second.user), (first.index, 7));
        assert_ne!(second, first);
        assert!(
            table.named(first).is_none() && table.named(second).is_some() && table.named(other).is_some()
        );
        assert_eq!(table.count(), 2);
    }
}
