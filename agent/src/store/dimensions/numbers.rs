//! What one writer remembers of a table: which numbers it has given lately.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// Numbers of one table that are remembered since the others were put aside: as many again are aside. Some forty bytes each; others
/// are looked up.
const MAX_YOUNG: usize = 8_192;

/// Numbers that were used lately.
#[derive(Debug)]
pub(super) struct Numbers<K, V = i64> {
    young: FxHashMap<K, V>,
    /// Those that were young before; what is not used again leaves with them.
    old: FxHashMap<K, V>,
}

impl<K, V> Default for Numbers<K, V> {
    fn default() -> Self {
        Numbers { young: FxHashMap::default(), old: FxHashMap::default() }
    }
}

impl<K: Eq + Hash, V: Copy> Numbers<K, V> {
    pub fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(*value);
        }
        let (key, value) = self.old.remove_entry(key)?;
        Some(self.remember(key, value))
    }

    pub fn remember(&mut self, key: K, value: V) -> V {
        if self.young.len() >= MAX_YOUNG {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
        value
    }
}

impl<K> Numbers<K> {
    /// These numbers mean nothing any more; they are in order.
    pub fn forget(&mut self, gone: &[i64]) {
        for numbers in [&mut self.young, &mut self.old] {
            numbers.retain(|_, number| gone.binary_search(number).is_err());
        }
    }
}
