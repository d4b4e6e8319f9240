//! Short names of what repeats, for the memory of one writer.
//!
//! Every connection is looked up by them, and no JSON has to be made for it, as it has for the digests of the file. They are
//! keyed with chance, since peers choose much of what is hashed, and long enough that no two things ever share one.

use std::hash::{BuildHasher as _, Hash, Hasher, RandomState};

use siphasher::sip128::SipHasher13;

/// 128 bits of SipHash-1-3.
pub(super) type Key = u128;

/// Gives keys.
#[derive(Debug)]
pub(super) struct Keys {
    hasher: SipHasher13,
    written: Written,
}

impl Default for Keys {
    fn default() -> Self {
        // The standard library's way to chance.
        let chance = || RandomState::new().build_hasher().finish();
        Keys { hasher: SipHasher13::new_with_keys(chance(), chance()), written: Written::default() }
    }
}

impl Keys {
    pub fn of(&mut self, value: &impl Hash) -> Key {
        self.written.0.clear();
        value.hash(&mut self.written);
        self.hasher.hash(&self.written.0).as_u128()
    }
}

/// What a value has to be hashed: a record is a hundred short texts, which SipHash takes faster as one.
#[derive(Debug, Default)]
struct Written(Vec<u8>);

impl Hasher for Written {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// Is not asked for.
    fn finish(&self) -> u64 {
        0
    }
}
