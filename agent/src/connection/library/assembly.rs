//! Runs of certificate bytes → wholes. The runs of one call follow one another on its thread.

use std::collections::VecDeque;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::{LibraryCounts, LibraryOutcome};
use crate::event::{LibraryBytes, LibraryCall, LibraryForm, Presenter, ProcessKey, Timestamp};

/// Most bytes of a whole that are kept, which is what the source copies: longer ones are truncated.
pub const MAX_WHOLE: usize = 64 << 10;
/// The most that a Certificate message can announce (RFC 8446 section 4.4.2).
const MAX_TOTAL: u32 = (1 << 24) - 1;
/// Calls of which some runs are here: a thread makes one at a time, and its runs follow within microseconds.
const MAX_PARTIAL: usize = 64;
/// A run that is not here by then was lost.
const MAX_AGE: u64 = 1_000_000_000;

/// A thread of a process.
pub(super) type Thread = (ProcessKey, u32);

/// All that there is of what one call showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Whole {
    pub call: LibraryCall,
    pub presenter: Presenter,
    pub form: LibraryForm,
    /// Length of the original.
    pub total: u32,
    /// Its first bytes, at most [`MAX_WHOLE`].
    pub bytes: Bytes,
}

impl Whole {
    pub fn thread(&self) -> Thread {
        (self.call.task.process, self.call.task.thread)
    }

    /// The original was longer.
    pub fn is_truncated(&self) -> bool {
        self.bytes.len() < length(self.total)
    }
}

/// Wholes in the making; bounded, the oldest goes first.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    partial: FxHashMap<Thread, Partial>,
    order: VecDeque<(Timestamp, Thread)>,
}

#[derive(Debug)]
struct Partial {
    first: LibraryBytes,
    bytes: Vec<u8>,
}

impl Assembly {
    /// Takes a run. What cannot be completed any more is counted.
    pub fn take(&mut self, run: &LibraryBytes, counts: &mut LibraryCounts) -> Option<Whole> {
        let library = run.call.library;
        let kept = length(run.total).min(MAX_WHOLE);
        let end = length(run.offset).saturating_add(run.bytes.len());
        if run.bytes.is_empty() || run.total > MAX_TOTAL || end > kept {
            counts.add(library, LibraryOutcome::Malformed);
            return None;
        }
        let thread = (run.call.task.process, run.call.task.thread);
        let earlier = self.partial.remove(&thread);
        let mut partial = match earlier {
            Some(partial) if partial.is_continued_by(run) => partial,
            earlier => {
                if let Some(earlier) = earlier {
                    counts.add(earlier.first.call.library, LibraryOutcome::Truncated);
                }
                if run.offset != 0 {
                    counts.add(library, LibraryOutcome::Truncated);
                    return None;
                }
                if end == kept {
                    return Some(whole(run, run.bytes.clone()));
                }
                self.order.push_back((run.call.at, thread));
                let first = LibraryBytes { bytes: Bytes::new(), ..run.clone() };
                Partial { first, bytes: Vec::new() }
            }
        };
        partial.bytes.extend_from_slice(&run.bytes);
        if partial.bytes.len() == kept {
            return Some(whole(&partial.first, partial.bytes.into()));
        }
        self.partial.insert(thread, partial);
        while self.partial.len() > MAX_PARTIAL || self.order.len() > 4 * MAX_PARTIAL {
            self.drop_oldest(counts);
        }
        None
    }

    /// Gives up what waits too long.
    pub fn sweep(&mut self, now: Timestamp, counts: &mut LibraryCounts) {
        while let Some((at, _)) = self.order.front()
            && now.since(*at) >= MAX_AGE
        {
            self.drop_oldest(counts);
        }
    }

    fn drop_oldest(&mut self, counts: &mut LibraryCounts) {
        let Some((at, thread)) = self.order.pop_front() else { return };
        if self.partial.get(&thread).is_some_and(|partial| partial.first.call.at == at)
            && let Some(partial) = self.partial.remove(&thread)
        {
            counts.add(partial.first.call.library, LibraryOutcome::Truncated);
        }
    }
}

impl Partial {
    fn is_continued_by(&self, run: &LibraryBytes) -> bool {
        let first = &self.first;
        let same_call = (first.call.library, first.call.socket) == (run.call.library, run.call.socket);
        let same_whole = (first.presenter, first.form, first.total) == (run.presenter, run.form, run.total);
        same_call && same_whole && length(run.offset) == self.bytes.len()
    }
}

fn whole(run: &LibraryBytes, bytes: Bytes) -> Whole {
    Whole { call: run.call, presenter: run.presenter, form: run.form, total: run.total, bytes }
}

fn length(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::samples::{call, run};
    use super::*;
    use crate::event::Library;

    const LIST: LibraryForm = LibraryForm::List;

    fn truncated(counts: &LibraryCounts) -> u64 {
        counts.of(Library::OpenSsl, LibraryOutcome::Truncated)
    }

    #[test]
    fn runs_of_several_threads_become_wholes() {
        let (mut assembly, mut counts) = (Assembly::default(), LibraryCounts::default());
        let content: Vec<u8> = (0..10_000u32).map(|number| number as u8).collect();
        let mut wholes = Vec::new();
        for chunk in 0..3 {
            for thread in [1, 2] {
                let (begin, end) = (chunk * 4096, content.len().min((chunk + 1) * 4096));
                let run = run(call(thread, None), LIST, 10_000, begin as u32, &content[begin..end]);
                wholes.extend(assembly.take(&run, &mut counts));
            }
        }
        assert_eq!(wholes.len(), 2);
        assert!(wholes.iter().all(|whole| whole.bytes == content && !whole.is_truncated()));
        assert!(assembly.partial.is_empty() && truncated(&counts) == 0);
    }

    #[test]
    fn a_whole_beyond_the_bound_is_truncated_and_one_with_a_lost_run_is_given_up() {
        let (mut assembly, mut counts) = (Assembly::default(), LibraryCounts::default());
        let whole = assembly.take(&run(call(1, None), LIST, 100_000, 0, &vec![0; MAX_WHOLE]), &mut counts);
        assert!(whole.unwrap().is_truncated());
        let piece = [0; 4096];
        for offset in [0, 8192] {
            assert_eq!(assembly.take(&run(call(1, None), LIST, 12_288, offset, &piece), &mut counts), None);
        }
        // Both what was begun and the run that continues nothing.
        assert_eq!((truncated(&counts), assembly.partial.len()), (2, 0));
    }

    #[test]
    fn what_is_begun_is_bounded_and_does_not_wait_for_ever() {
        let (mut assembly, mut counts) = (Assembly::default(), LibraryCounts::default());
        for thread in 0..10_000 {
            assembly.take(&run(call(thread, None), LIST, 9000, 0, &[0; 10]), &mut counts);
            assert!(assembly.partial.len() <= MAX_PARTIAL && assembly.order.len() <= 4 * MAX_PARTIAL);
        }
        assembly.sweep(Timestamp(u64::MAX), &mut counts);
        assert_eq!((assembly.partial.len(), truncated(&counts)), (0, 10_000));
    }

    #[test]
    fn runs_that_claim_more_than_they_may_are_refused() {
        let (mut assembly, mut counts) = (Assembly::default(), LibraryCounts::default());
        for (total, offset, bytes) in
            [(10, 0, 0), (10, 0, 11), (10, 8, 3), (u32::MAX, 0, 1), (9, u32::MAX, 1)]
        {
            assert_eq!(
                assembly.take(&run(call(1, None), LIST, total, offset, &vec![0; bytes]), &mut counts),
                None
            );
        }
        assert_eq!(counts.of(Library::OpenSsl, LibraryOutcome::Malformed), 5);
    }
}
