//! Names of users, cached.

use nix::unistd::{Uid, User};
use rustc_hash::FxHashMap;

use crate::event::Timestamp;

/// Bound on remembered users: hosts have tens; directory services with thousands log in few at a time.
const MAX_USERS: usize = 1024;
/// For how long a name is believed, in nanoseconds (10 minutes): users are renamed rarely, created sometimes.
const NAME_LIFETIME: u64 = 600 * 1_000_000_000;

/// User ids with their names from the system's user database.
#[derive(Debug, Default)]
pub(super) struct UserNames {
    names: FxHashMap<u32, (Option<String>, Timestamp)>,
}

impl UserNames {
    /// The name of `uid`, if it has one. `at` is now.
    pub(super) fn name(&mut self, uid: u32, at: Timestamp) -> Option<String> {
        if let Some((name, learnt)) = self.names.get(&uid)
            && at.since(*learnt) < NAME_LIFETIME
        {
            return name.clone();
        }
        if self.names.len() >= MAX_USERS {
            self.names.clear();
        }
        let name = User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        self.names.insert(uid, (name.clone(), at));
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_has_a_name_and_a_stray_id_has_none() {
        let mut users = UserNames::default();
        assert_eq!(users.name(0, Timestamp(1)).as_deref(), Some("root"));
        assert_eq!(users.name(3_999_999_999, Timestamp(1)), None);
    }

    #[test]
    fn many_ids_do_not_grow_the_cache_beyond_its_bound() {
        let mut users = UserNames::default();
        for uid in 0..3 * MAX_USERS as u32 {
            users.names.insert(uid, (None, Timestamp(0)));
            if uid as usize >= MAX_USERS {
                users.name(3_000_000_000 + uid, Timestamp(1));
                assert!(users.names.len() <= MAX_USERS + 1);
            }
        }
    }
}
