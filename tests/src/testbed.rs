//! Where the peers live: keys, two namespaces and what joins them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::{Namespace, Pki, output_of};

/// The name that clients ask for and server certificates carry.
pub const SERVER_NAME: &str = "server.test";

/// First port handed out: below the ephemeral range, so that no client socket gets it.
const FIRST_PORT: u16 = 21_000;
/// An agent sees the connections of another run on this host, too: runs begin at different ports, each with room for a full
/// matrix.
const PORTS_OF_A_RUN: u16 = 900;
/// So many runs have different ports.
const RUNS: u16 = 13;

/// Two namespaces joined by a veth pair: `10.77.0.1` (client) and `10.77.0.2` (server).
#[derive(Debug)]
pub struct Testbed {
    /// Where clients run.
    pub client_side: Namespace,
    /// Where servers run.
    pub server_side: Namespace,
    /// Keys and certificates.
    pub pki: Pki,
    scratch: PathBuf,
    serial: AtomicU32,
}

impl Testbed {
    /// Address of the client side.
    pub const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
    /// Address of the server side.
    pub const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));
    /// The same for IPv6 (RFC 4193).
    pub const CLIENT6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1));
    /// The same for IPv6.
    pub const SERVER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2));

    /// Makes everything.
    ///
    /// # Errors
    /// Without the right to make namespaces.
    pub fn new() -> Result<Self> {
        static INSTANCE: AtomicU32 = AtomicU32::new(0);
        let instance = INSTANCE.fetch_add(1, Ordering::Relaxed);
        let scratch = scratch_root()?.join(instance.to_string());
        std::fs::create_dir_all(&scratch)?;
        let (client_side, server_side) = (Namespace::new()?, Namespace::new()?);
        client_side.veth("veth-client", &server_side, "veth-server")?;
        for (side, device, four, six) in [
            (&client_side, "veth-client", Self::CLIENT, Self::CLIENT6),
            (&server_side, "veth-server", Self::SERVER, Self::SERVER6),
        ] {
            side.ip(&format!("addr add {four}/24 dev {device}"))?;
            side.ip(&format!("addr add {six}/64 dev {device} nodad"))?;
        }
        let pki = Pki::new(&scratch.join("pki"))?;
        Ok(Self { client_side, server_side, pki, scratch, serial: AtomicU32::new(0) })
    }

    /// The one that all tests of a program share.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Testbed> = OnceLock::new();
        SHARED.get_or_init(|| Self::new().unwrap_or_else(|error| panic!("no testbed: {error:?}")))
    }

    /// A port that nobody else of this process uses.
    #[must_use]
    pub fn port(&self) -> u16 {
        static USED: AtomicU16 = AtomicU16::new(0);
        let run = u16::try_from(std::process::id() % u32::from(RUNS)).unwrap_or_default();
        FIRST_PORT + run * PORTS_OF_A_RUN + USED.fetch_add(1, Ordering::Relaxed)
    }

    /// A new folder for the files of one peer.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let folder = self.scratch.join(format!("{serial}-{name}"));
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

impl Drop for Testbed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// A folder of this process; those of processes that are gone are removed (a shared testbed is never dropped).
fn scratch_root() -> Result<PathBuf> {
    let all = std::env::temp_dir().join("countersign-tests");
    std::fs::create_dir_all(&all)?;
    for entry in std::fs::read_dir(&all)?.flatten() {
        if !Path::new("/proc").join(entry.file_name()).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(all.join(std::process::id().to_string()))
}

/// Path of one of our peer programs in `tests/peers`.
#[must_use]
pub fn peer_script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// The Python interpreter itself: `python3` may be a shell script that takes longer than the test.
///
/// # Errors
/// Without Python.
pub fn python() -> Result<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON
        .get_or_init(|| {
            let path = output_of(Command::new("python3").args(["-c", "import sys; print(sys.executable)"]));
            path.ok().map(|path| PathBuf::from(path.trim()))
        })
        .as_deref()
        .context("python3 is not installed: run `cargo xtask setup`")
}
