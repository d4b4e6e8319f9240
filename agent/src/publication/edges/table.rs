//! A table with a bound. What was not used since the search for room last came by is forgotten first (second chance): near to
//! "longest unused", at no cost for what is used.

use std::collections::HashMap;
use std::sync::Arc;

/// Values by name. The names are an adversary's to choose, so they are hashed by chance.
#[derive(Debug)]
pub(super) struct Table<V> {
    bound: usize,
    places: HashMap<Arc<str>, usize>,
    slots: Vec<Slot<V>>,
    /// Slots in which nothing is.
    free: Vec<usize>,
    /// Where the search for room goes on.
    hand: usize,
    next_id: u32,
    evicted: u64,
}

#[derive(Debug)]
struct Slot<V> {
    id: u32,
    used: bool,
    /// `None`: it is free.
    held: Option<(Arc<str>, V)>,
}

/// Where a value was put; it may have been forgotten since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    slot: u32,
    id: u32,
}

impl<V> Table<V> {
    pub(super) fn new(bound: usize) -> Self {
        Table {
            bound: bound.max(1),
            places: HashMap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            hand: 0,
            next_id: 0,
            evicted: 0,
        }
    }

    /// The place of a name, with a new value if there is none.
    pub(super) fn enter(&mut self, name: &str, new: impl FnOnce() -> V) -> Place {
        if let Some(&slot) = self.places.get(name) {
            let found = &mut self.slots[slot];
            found.used = true;
            return Place { slot: slot as u32, id: found.id };
        }
        let slot = self.free_slot();
        let name: Arc<str> = name.into();
        self.places.insert(Arc::clone(&name), slot);
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        self.slots[slot] = Slot { id, used: true, held: Some((name, new())) };
        Place { slot: slot as u32, id }
    }

    /// What is at a place, unless it was forgotten.
    pub(super) fn at(&mut self, place: Place) -> Option<&mut V> {
        let slot = self.slots.get_mut(place.slot as usize).filter(|slot| slot.id == place.id)?;
        slot.held.as_mut().map(|(_, value)| value)
    }

    pub(super) fn remove(&mut self, place: Place) {
        if self.at(place).is_some() {
            self.clear(place.slot as usize);
            self.free.push(place.slot as usize);
        }
    }

    pub(super) fn each(&self) -> impl Iterator<Item = (&Arc<str>, &V)> {
        self.slots.iter().filter_map(|slot| slot.held.as_ref()).map(|(name, value)| (name, value))
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    fn free_slot(&mut self) -> usize {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        if self.slots.len() < self.bound {
            self.slots.push(Slot { id: 0, used: false, held: None });
            return self.slots.len() - 1;
        }
        // Ends within two rounds: the first leaves nothing marked as used.
        loop {
            let slot = self.hand;
            self.hand = (self.hand + 1) % self.slots.len();
            if !std::mem::take(&mut self.slots[slot].used) {
                self.clear(slot);
                self.evicted += 1;
                return slot;
            }
        }
    }

    fn clear(&mut self, slot: usize) {
        if let Some((name, _)) = self.slots[slot].held.take() {
            self.places.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(table: &Table<u32>) -> Vec<String> {
        let mut names: Vec<String> = table.each().map(|(name, _)| name.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_table_forgets_what_was_not_used_since_and_counts_it() {
        let mut table = Table::new(3);
        let places = ["a", "b", "c"].map(|name| table.enter(name, || 0));
        // Every one was used: the round that finds that out forgets the first.
        table.enter("d", || 0);
        assert_eq!((names(&table), table.evicted()), (vec!["b".into(), "c".into(), "d".into()], 1));
        table.enter("b", || 0);
        table.enter("e", || 0);
        assert_eq!(names(&table), ["b", "d", "e"], "b was used since, c was not");
        assert!(
            table.at(places[0]).is_none() && table.at(places[2]).is_none(),
            "their places are others' now"
        );
        assert!(table.at(places[1]).is_some());
    }

    #[test]
    fn what_is_removed_leaves_room_and_is_no_loss() {
        let mut table = Table::new(2);
        let place = table.enter("a", || 1);
        table.enter("b", || 2);
        table.remove(place);
        table.remove(place);
        let again = table.enter("c", || 3);
        assert!(table.at(place).is_none(), "the same slot, another value");
        assert_eq!(table.at(again), Some(&mut 3));
        assert_eq!((names(&table), table.len(), table.evicted()), (vec!["b".into(), "c".into()], 2, 0));
    }

    #[test]
    fn a_flood_of_names_stays_within_the_bound() {
        let mut table = Table::new(100);
        for number in 0..10_000 {
            table.enter(&number.to_string(), || number);
            table.enter("used all the time", || 0);
        }
        assert_eq!((table.len(), table.evicted()), (100, 10_001 - 100));
        assert!(names(&table).contains(&"used all the time".to_owned()));
    }
}
