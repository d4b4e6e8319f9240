//! Several captures as one, by time of capture.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::error::{CaptureError, Problem, ProblemKind};
use super::input::Input;
use super::reader::{Head, Reader};
use super::summary::Summary;

/// Most captures at a time: each holds a file and, while it is read, some 100 KiB (several MiB if it is zstd).
pub const INPUTS_MAX: usize = 256;

/// All inputs.
pub struct Timeline {
    readers: Vec<Reader>,
    names: Vec<String>,
    /// When the packet at hand of each was captured; ties go to the earlier input.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    /// The input whose packet was handed out last, before it goes on.
    current: Option<usize>,
}

impl Timeline {
    pub fn open(inputs: &[Input], summary: &mut Summary) -> Result<Self, CaptureError> {
        if inputs.len() > INPUTS_MAX {
            return Err(CaptureError::TooMany { given: inputs.len(), most: INPUTS_MAX });
        }
        let readers = inputs.iter().map(Reader::open).collect::<Result<Vec<_>, _>>()?;
        let names = inputs.iter().map(Input::to_string).collect();
        let mut timeline = Timeline { readers, names, heads: BinaryHeap::new(), current: None };
        for index in 0..inputs.len() {
            timeline.go_on(index, summary);
        }
        Ok(timeline)
    }

    /// Goes on to the next packet and says of which input it is.
    pub fn advance(&mut self, summary: &mut Summary) -> Option<usize> {
        if let Some(current) = self.current.take() {
            self.go_on(current, summary);
        }
        let Reverse((_, input)) = self.heads.pop()?;
        self.current = Some(input);
        self.current
    }

    /// The packet at hand.
    pub fn packet(&self, input: usize) -> Option<(Head, &[u8])> {
        self.readers.get(input)?.packet()
    }

    /// Going on would wait for a pipe.
    pub fn would_wait(&self) -> bool {
        self.current.and_then(|current| self.readers.get(current)).is_some_and(Reader::would_wait)
    }

    /// Raw bytes read so far, and in all if that is known of every input.
    pub fn progress(&self) -> (u64, Option<u64>) {
        let read = self.readers.iter().map(Reader::bytes_read).sum();
        (read, self.readers.iter().map(|reader| reader.total).sum())
    }

    fn go_on(&mut self, index: usize, summary: &mut Summary) {
        let (Some(reader), Some(name)) = (self.readers.get_mut(index), self.names.get(index)) else { return };
        let mut report = |packet: u64, offset: u64, kind: ProblemKind| {
            summary.problem(Problem { input: index, name: name.clone(), packet, offset, kind });
        };
        if let Some(at) = reader.advance(&mut report) {
            self.heads.push(Reverse((at, index)));
        }
    }
}
