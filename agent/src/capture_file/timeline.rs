//! Several captures as one, by time of capture.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::error::{CaptureError, Problem, ProblemKind};
use super::input::Input;
use super::reader::{Head, Reader};
use super::stop::Stop;
use super::summary::Summary;

/// Most captures at a time: each holds a file and, while it is read, some 100 KiB (several MiB if it is zstd).
pub const INPUTS_MAX: usize = 256;

/// All inputs.
pub struct Timeline {
    /// `None` for one that could not be opened.
    readers: Vec<Option<Reader>>,
    names: Vec<String>,
    /// When the packet at hand of each but the current one was captured; ties go to the earlier input.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    /// The input whose packet was handed out last, before it goes on.
    current: Option<usize>,
}

impl Timeline {
    /// Opens what can be opened; the rest is a problem of the summary. An error if that is all there is.
    pub fn open(inputs: &[Input], stop: &Stop, summary: &mut Summary) -> Result<Self, CaptureError> {
        if inputs.len() > INPUTS_MAX {
            return Err(CaptureError::TooMany { given: inputs.len(), most: INPUTS_MAX });
        }
        let (mut readers, mut refused) = (Vec::with_capacity(inputs.len()), Vec::new());
        for (index, input) in inputs.iter().enumerate() {
            let opened =
                Reader::open(input, inputs.len(), stop).map_err(|error| refused.push((index, error)));
            readers.push(opened.ok());
        }
        if refused.len() == inputs.len() {
            let mut errors: Vec<_> = refused.into_iter().map(|(_, error)| error).collect();
            let only = if errors.len() == 1 { errors.pop() } else { None };
            return only.map_or(Err(CaptureError::NoneReadable(errors)), Err);
        }
        for (index, error) in refused {
            let name = inputs.get(index).map(Input::to_string).unwrap_or_default();
            let kind = ProblemKind::Unopened(error.to_string());
            summary.problem(Problem { input: index, name, packet: 0, offset: 0, kind, times: 1 });
        }
        let names = inputs.iter().map(Input::to_string).collect();
        let mut timeline = Timeline { readers, names, heads: BinaryHeap::new(), current: None };
        for index in 0..inputs.len() {
            let head = timeline.next_head(index, summary);
            timeline.heads.extend(head.map(Reverse));
        }
        Ok(timeline)
    }

    /// Goes on to the next packet and says of which input it is.
    #[inline]
    pub fn advance(&mut self, summary: &mut Summary) -> Option<usize> {
        let next = self.current.take().and_then(|current| self.next_head(current, summary));
        let earliest = self.heads.peek().copied();
        self.current = match (next, earliest) {
            // Mostly it is the same input's turn again, above all if there is no other.
            (Some(next), earliest) if earliest.is_none_or(|Reverse(earliest)| next < earliest) => {
                Some(next.1)
            }
            (next, _) => {
                self.heads.extend(next.map(Reverse));
                self.heads.pop().map(|Reverse((_, input))| input)
            }
        };
        self.current
    }

    /// The packet at hand.
    #[inline]
    pub fn packet(&self, input: usize) -> Option<(Head, &[u8])> {
        self.readers.get(input)?.as_ref()?.packet()
    }

    /// Going on would wait for a pipe.
    pub fn would_wait(&self) -> bool {
        self.current.and_then(|current| self.readers.get(current)?.as_ref()).is_some_and(Reader::would_wait)
    }

    /// Raw bytes read so far, and in all if that is known of every input.
    pub fn progress(&self) -> (u64, Option<u64>) {
        let opened = || self.readers.iter().flatten();
        (opened().map(Reader::bytes_read).sum(), opened().map(|reader| reader.total).sum())
    }

    /// Goes on to the next packet of an input: when it was captured.
    #[inline]
    fn next_head(&mut self, index: usize, summary: &mut Summary) -> Option<(u64, usize)> {
        let (reader, name) = (self.readers.get_mut(index)?.as_mut()?, self.names.get(index)?);
        let mut report = |packet: u64, offset: u64, kind: ProblemKind| {
            summary.problem(Problem { input: index, name: name.clone(), packet, offset, kind, times: 1 });
        };
        Some((reader.advance(&mut report)?, index))
    }
}
