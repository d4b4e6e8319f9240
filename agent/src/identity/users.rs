//! Names of users, cached.
//!
//! The system's user database may ask a directory in the network. A thread of its own does that, and nobody waits long for it:
//! a name that comes late is learnt late.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Duration;

use nix::unistd::{Uid, User};
use rustc_hash::{FxHashMap, FxHashSet};

use super::generations::TableSize;
use crate::event::Timestamp;

/// Bound on remembered users: hosts have tens; directory services with thousands log in few at a time.
const MAX_USERS: usize = 1024;
/// For how long a name is believed, in nanoseconds (10 minutes): users are renamed rarely, created sometimes.
const NAME_LIFETIME: u64 = 600 * 1_000_000_000;
/// Questions that may be open; a further one is asked again when the name is wanted again.
const MAX_ASKED: usize = 64;
/// Longest wait for the first name of a user, and only while no other answer is awaited: files and caches of directories take far
/// less, and events that lie in the kernel meanwhile are a fraction of what it holds.
const PATIENCE: Duration = Duration::from_millis(100);

type LookUp = Arc<dyn Fn(u32) -> Option<String> + Send + Sync>;

/// User ids with their names from the system's user database.
pub(super) struct UserNames {
    names: FxHashMap<u32, (Option<String>, Timestamp)>,
    /// Asked, and not answered yet.
    asked: FxHashSet<u32>,
    /// Names given up for room.
    forgotten: u64,
    look_up: LookUp,
    clerk: Option<Clerk>,
}

/// The thread that asks. It ends with its questions.
struct Clerk {
    questions: SyncSender<u32>,
    answers: Receiver<(u32, Option<String>)>,
}

impl std::fmt::Debug for UserNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserNames").field("names", &self.names).field("asked", &self.asked).finish()
    }
}

impl Default for UserNames {
    fn default() -> Self {
        let look_up = |uid| User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        UserNames::with(Arc::new(look_up))
    }
}

impl UserNames {
    fn with(look_up: LookUp) -> Self {
        let (names, asked) = (FxHashMap::default(), FxHashSet::default());
        UserNames { names, asked, forgotten: 0, look_up, clerk: None }
    }

    /// The name of `uid`, if it has one that is known by now. `at` is now.
    pub(super) fn name(&mut self, uid: u32, at: Timestamp) -> Option<String> {
        self.hear(at);
        let is_fresh = |(_, learnt): &(Option<String>, Timestamp)| at.since(*learnt) < NAME_LIFETIME;
        if !self.names.get(&uid).is_some_and(is_fresh) {
            self.ask(uid, at);
        }
        self.names.get(&uid).and_then(|(name, _)| name.clone())
    }

    /// The name of `uid`, if it is known; nobody is asked.
    pub(super) fn known(&mut self, uid: u32, at: Timestamp) -> Option<&str> {
        self.hear(at);
        self.names.get(&uid).and_then(|(name, _)| name.as_deref())
    }

    /// Whether an answer is still to come.
    pub(super) fn is_awaiting(&self) -> bool {
        !self.asked.is_empty()
    }

    /// How many names are remembered, and how many fit.
    pub(super) fn size(&self) -> TableSize {
        TableSize { entries: self.names.len(), bound: MAX_USERS, evicted: self.forgotten, refused: 0 }
    }

    fn ask(&mut self, uid: u32, at: Timestamp) {
        let is_worth_waiting = !self.is_awaiting() && !self.names.contains_key(&uid);
        if self.asked.contains(&uid) {
            return;
        }
        let Some(clerk) = self.clerk() else { return };
        if clerk.questions.try_send(uid).is_err() {
            return;
        }
        let answer = is_worth_waiting.then(|| clerk.answers.recv_timeout(PATIENCE).ok()).flatten();
        self.asked.insert(uid);
        if let Some((uid, name)) = answer {
            self.learn(uid, name, at);
        }
    }

    fn clerk(&mut self) -> Option<&Clerk> {
        if self.clerk.is_none() {
            let (questions, asked) = sync_channel(MAX_ASKED);
            let (told, answers) = channel();
            let look_up = Arc::clone(&self.look_up);
            let work = move || {
                for uid in asked {
                    if told.send((uid, look_up(uid))).is_err() {
                        return;
                    }
                }
            };
            // Without a thread users have no names until there is room for one.
            std::thread::Builder::new().name("users".to_owned()).spawn(work).ok()?;
            self.clerk = Some(Clerk { questions, answers });
        }
        self.clerk.as_ref()
    }

    fn hear(&mut self, at: Timestamp) {
        while let Some((uid, name)) = self.clerk.as_ref().and_then(|clerk| clerk.answers.try_recv().ok()) {
            self.learn(uid, name, at);
        }
    }

    fn learn(&mut self, uid: u32, name: Option<String>, at: Timestamp) {
        self.asked.remove(&uid);
        if self.names.len() >= MAX_USERS {
            self.forgotten += self.names.len() as u64;
            self.names.clear();
        }
        self.names.insert(uid, (name, at));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;

    #[test]
    fn root_has_a_name_and_a_stray_id_has_none() {
        let mut users = UserNames::default();
        assert_eq!(wait_for(&mut users, 0).as_deref(), Some("root"));
        assert_eq!(users.name(3_999_999_999, Timestamp(1)), None);
    }

    #[test]
    fn many_ids_do_not_grow_the_cache_beyond_its_bound() {
        let mut users = UserNames::with(Arc::new(|_| None));
        for uid in 0..3 * MAX_USERS as u32 {
            users.learn(uid, None, Timestamp(0));
            assert!(users.size().entries <= users.size().bound);
        }
        assert_eq!(users.size().entries as u64 + users.size().evicted, 3 * MAX_USERS as u64);
    }

    /// On a loaded machine an answer may take longer than anybody waits.
    fn wait_for(users: &mut UserNames, uid: u32) -> Option<String> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let name = users.name(uid, Timestamp(1));
            if name.is_some() || Instant::now() > deadline {
                return name;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_directory_that_does_not_answer_is_waited_for_once_and_believed_later() {
        let gate = Arc::new(Mutex::new(()));
        let (closed, behind) = (Arc::clone(&gate), Arc::clone(&gate));
        let look_up = move |uid: u32| {
            drop(behind.lock().unwrap());
            Some(format!("user{uid}"))
        };
        let mut users = UserNames::with(Arc::new(look_up));
        let held = closed.lock().unwrap();
        let started = Instant::now();
        for uid in 0..1000 {
            assert_eq!(users.name(uid, Timestamp(1)), None);
        }
        let took = started.elapsed();
        assert!(took < 20 * PATIENCE, "{took:?} for a thousand users");
        assert!(users.is_awaiting() && users.asked.len() <= MAX_ASKED + 1, "{}", users.asked.len());
        drop(held);
        assert_eq!(wait_for(&mut users, 7).as_deref(), Some("user7"));
        assert_eq!(wait_for(&mut users, 999).as_deref(), Some("user999"), "asked again");
        assert_eq!(users.known(7, Timestamp(1)), Some("user7"));
    }

    #[test]
    fn a_name_is_asked_for_again_after_a_while_and_kept_until_there_is_another() {
        let name = Arc::new(Mutex::new("old".to_owned()));
        let told = Arc::clone(&name);
        let mut users = UserNames::with(Arc::new(move |_| Some(told.lock().unwrap().clone())));
        assert_eq!(wait_for(&mut users, 7).as_deref(), Some("old"));
        *name.lock().unwrap() = "new".to_owned();
        assert_eq!(users.name(7, Timestamp(NAME_LIFETIME)).as_deref(), Some("old"));
        let later = Timestamp(NAME_LIFETIME + 1);
        assert!(users.name(7, later).is_some(), "never without a name in between");
        let deadline = Instant::now() + Duration::from_secs(30);
        while users.known(7, later) != Some("new") && Instant::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(users.known(7, later), Some("new"));
    }
}
