//! Network namespaces without names: they end with their last process and descriptor.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::sched::{CloneFlags, setns, unshare};

use crate::output_of;

/// A network namespace, held by a descriptor.
#[derive(Debug)]
pub struct Namespace {
    file: File,
}

impl Namespace {
    /// A new one, with its loopback up.
    ///
    /// # Errors
    /// Without the right to make one.
    pub fn new() -> Result<Self> {
        let file = std::thread::spawn(|| -> Result<File> {
            unshare(CloneFlags::CLONE_NEWNET).context("unshare a network namespace")?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        })
        .join()
        .map_err(|_| anyhow::anyhow!("the thread that makes a namespace panicked"))??;
        let namespace = Self { file };
        namespace.ip("link set lo up")?;
        Ok(namespace)
    }

    /// Runs `work` on a thread inside the namespace: sockets and processes it makes belong there.
    ///
    /// # Errors
    /// When the namespace cannot be entered, and those of `work`.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&self.file, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
                    work()
                })
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs a command there and waits for its success.
    ///
    /// # Errors
    /// When it fails; with what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Result<String> {
        self.enter(|| output_of(Command::new(program).args(arguments)))
    }

    /// `ip ARGUMENTS`, split at spaces.
    ///
    /// # Errors
    /// As [`Namespace::run`].
    pub fn ip(&self, arguments: &str) -> Result<String> {
        self.run("ip", &arguments.split(' ').collect::<Vec<_>>())
    }

    /// Loads an nftables rule set given as text.
    ///
    /// # Errors
    /// When nft refuses it.
    pub fn nft(&self, rules: &str) -> Result<()> {
        self.run("sh", &["-c", "printf '%s' \"$1\" | nft -f -", "sh", rules]).map(drop)
    }

    /// Joins two namespaces by a veth pair `inner` (here) – `outer` (there).
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn veth(&self, inner: &str, other: &Namespace, outer: &str) -> Result<()> {
        let there = format!("/proc/{}/fd/{}", std::process::id(), other.file.as_raw_fd());
        ensure!(there.len() < 64, "path of a namespace");
        self.ip(&format!("link add {inner} type veth peer name {outer} netns {there}"))?;
        self.ip(&format!("link set {inner} up"))?;
        other.ip(&format!("link set {outer} up"))?;
        Ok(())
    }
}
