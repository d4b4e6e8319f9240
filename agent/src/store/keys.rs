//! Short names of what repeats, for the memory of one writer.
//!
//! Every connection is looked up by them, and no JSON has to be made for it, as it has for the digests of the file. They are
//! keyed with chance, since peers choose much of what is hashed, and long enough that no two things ever share one.

use std::hash::{BuildHasher as _, Hash, Hasher as _, RandomState};

use siphasher::sip128::{Hasher128 as _, SipHasher13};

/// 128 bits of SipHash-1-3.
pub(super) type Key = u128;

/// Gives keys.
#[derive(Debug)]
pub(super) struct Keys(SipHasher13);

impl Default for Keys {
    fn default() -> Self {
        // The standard library's way to chance.
        let chance = || RandomState::new().build_hasher().finish();
        Keys(SipHasher13::new_with_keys(chance(), chance()))
    }
}

impl Keys {
    pub fn of(&self, value: &impl Hash) -> Key {
        let mut hasher = self.0;
        value.hash(&mut hasher);
        hasher.finish128().as_u128()
    }
}
