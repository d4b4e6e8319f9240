//! Orders to the engine.

use std::sync::mpsc::Sender;

use super::engine::Command;
use crate::kernel::Waker;

/// Sends orders, and wakes the engine so that it takes them at once.
#[derive(Debug, Clone)]
pub struct Orders {
    /// To the engine.
    pub commands: Sender<Command>,
    /// Ends its wait for the kernel.
    pub waker: Waker,
}

impl Orders {
    /// If the engine is gone its end is reported elsewhere.
    pub fn give(&self, command: Command) {
        drop(self.commands.send(command));
        self.waker.wake();
    }
}
