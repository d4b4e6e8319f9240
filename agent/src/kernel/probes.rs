//! Probes of TLS libraries: a file and its points → attached programs.
//!
//! A [`Prober`] works beside the source, on whatever thread looks for libraries: loading a program takes milliseconds, and
//! no event waits for it, only a pass over open files. Programs are loaded once, and the tracepoint of receives is attached as long as a library is
//! probed: a host without one pays nothing for it. Each attached program is one file descriptor.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use aya::{
    Btf, Ebpf,
    programs::{
        Program,
        tp_btf::BtfTracePointLink,
        uprobe::{UProbeLink, UProbeScope},
    },
};

use super::{
    KernelError,
    memory::release_unused_memory,
    programs::{Unavailable, program},
};
use crate::library::{Hook, Point};

/// The tracepoint that tells from which socket a thread received last, and its program.
pub(super) const RECEIVES: &str = "sock_recv_length";

/// The attached probes of one file. Dropping it detaches them. That takes no processor time, but the kernel waits about 0.1 s
/// for each program, one after the other whoever asks: what must not stand still drops it on a thread of its own.
#[derive(Debug)]
pub struct Probed {
    links: Vec<UProbeLink>,
    refused: Vec<RefusedPoint>,
    /// Held by every file with a library that is probed; the last one to go detaches it.
    _receives: Option<Arc<BtfTracePointLink>>,
}

/// A point that could not be probed.
#[derive(Debug)]
pub struct RefusedPoint {
    /// Which.
    pub point: Point,
    /// Why.
    pub error: KernelError,
}

impl Probed {
    /// How many programs are attached: one for some hooks, two for others.
    pub fn attached(&self) -> usize {
        self.links.len()
    }

    /// What is not probed; the rest is.
    pub fn refused(&self) -> &[RefusedPoint] {
        &self.refused
    }
}

/// Attaches probes.
#[derive(Debug)]
pub struct Prober {
    ebpf: Arc<Mutex<Ebpf>>,
    receives: Weak<BtfTracePointLink>,
    /// What this kernel refused for good.
    unavailable: Vec<Unavailable>,
}

impl Prober {
    pub(super) fn new(ebpf: Arc<Mutex<Ebpf>>) -> Self {
        Prober { ebpf, receives: Weak::new(), unavailable: Vec::new() }
    }

    /// Loads every program as long as that is `wanted`, so that the first probe of a library does not wait for the verifier. Takes some
    /// tenths of a second.
    pub fn load(&mut self, wanted: impl Fn() -> bool) {
        for name in names() {
            if !wanted() {
                return;
            }
            // One that is refused for now is tried again where it is needed.
            let _known = self.ready(name, |ebpf| load(ebpf, name));
        }
        let _known = self.ready(RECEIVES, load_receives);
        release_unused_memory();
    }

    /// What this kernel refused for good. Without `sock_recv_length` (Linux 6.3) events of libraries have no
    /// [`crate::event::SocketBy::LastReceive`].
    pub fn unavailable(&self) -> &[Unavailable] {
        &self.unavailable
    }

    /// Probes a file at `points`, which are those of its text, in every process that maps it now or later. `file` may be
    /// any path that leads to it, `/proc/PID/map_files` among them; it is followed once.
    ///
    /// What is refused is listed by [`Probed::refused`], and the rest attached.
    pub fn probe(&mut self, file: &Path, points: &[Point]) -> Probed {
        let mut probed = Probed { links: Vec::new(), refused: Vec::new(), _receives: None };
        if let Some(point) = points.iter().find(|point| point.hook.library().is_some()) {
            match self.attach_receives() {
                Ok(receives) => probed._receives = receives,
                // Without it chains would be joined by their sizes alone, and stay so.
                Err(error) => {
                    probed.refused.push(RefusedPoint { point: *point, error });
                    return probed;
                }
            }
        }
        for point in points {
            match self.attach_point(file, *point) {
                Ok(links) => probed.links.extend(links),
                Err(error) => probed.refused.push(RefusedPoint { point: *point, error }),
            }
        }
        probed
    }

    fn lock(&self) -> MutexGuard<'_, Ebpf> {
        self.ebpf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tracepoint of receives, attached; nothing where this kernel does not have it.
    ///
    /// # Errors
    /// If it may be had later.
    fn attach_receives(&mut self) -> Result<Option<Arc<BtfTracePointLink>>, KernelError> {
        if let Some(attached) = self.receives.upgrade() {
            return Ok(Some(attached));
        }
        match self.ready(RECEIVES, |ebpf| load_receives(ebpf).and_then(|()| attach_receives(ebpf))) {
            Ok(link) => {
                let link = Arc::new(link);
                self.receives = Arc::downgrade(&link);
                Ok(Some(link))
            }
            Err(error) if error.is_transient() => Err(error),
            Err(_) => Ok(None),
        }
    }

    /// All programs of a point, or none.
    fn attach_point(&mut self, file: &Path, point: Point) -> Result<Vec<UProbeLink>, KernelError> {
        let names = programs_of(point.hook).iter();
        names.map(|name| self.attach_program(file, point.offset, name)).collect()
    }

    fn attach_program(
        &mut self,
        file: &Path,
        offset: u64,
        name: &'static str,
    ) -> Result<UProbeLink, KernelError> {
        self.ready(name, |ebpf| load(ebpf, name))?;
        let mut ebpf = self.lock();
        let Program::UProbe(program) = program(&mut ebpf, name)? else {
            return Err(KernelError::Missing { kind: "program", name });
        };
        let refused = |error| KernelError::attach(name, format!("{} at {offset:#x}", file.display()), &error);
        let link = program.attach(offset, file, UProbeScope::AllProcesses).map_err(refused)?;
        program.take_link(link).map_err(refused)
    }

    /// Makes a program ready, unless it was refused for good before, which is remembered.
    pub(super) fn ready<T>(
        &mut self,
        name: &'static str,
        make: impl FnOnce(&mut Ebpf) -> Result<T, KernelError>,
    ) -> Result<T, KernelError> {
        if let Some(known) = self.unavailable.iter().find(|unavailable| unavailable.program == name) {
            let (reason, log) = (known.reason.clone(), String::new());
            return Err(KernelError::Load { program: name, reason, log, transient: false });
        }
        let made = make(&mut self.lock());
        if let Err(error) = &made
            && !error.is_transient()
        {
            self.unavailable.push(Unavailable::new(name, error));
        }
        made
    }
}

/// The programs of all hooks.
fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = Hook::ALL.iter().flat_map(|hook| programs_of(*hook)).copied().collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Loads every program that a hook needs, and says what the kernel refuses.
pub(super) fn load_all(ebpf: &mut Ebpf) -> Vec<KernelError> {
    names().into_iter().filter_map(|name| load(ebpf, name).err()).collect()
}

/// Attaches a program to a function of this process for a moment: whether the kernel has uprobes, nothing else tells.
pub(super) fn attach_to_self(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let name = "linker_state";
    let refused = |reason| {
        let hook = "this process".into();
        KernelError::Attach { program: name, hook, reason, transient: false }
    };
    load(ebpf, name)?;
    let Program::UProbe(program) = program(ebpf, name)? else {
        return Err(KernelError::Missing { kind: "program", name });
    };
    let maps = fs::read_to_string("/proc/self/maps").map_err(|error| refused(error.to_string()))?;
    let offset = offset_in_file(&maps, probed as *const () as u64)
        .ok_or_else(|| refused("its own text is in no file".into()))?;
    let link = program
        .attach(offset, "/proc/self/exe", UProbeScope::CallingProcess)
        .map_err(|error| KernelError::attach(name, "this process", &error))?;
    program.detach(link).map_err(|error| refused(error.to_string()))
}

/// What [`attach_to_self`] attaches to.
#[inline(never)]
fn probed() {}

/// Where an address of a process stands in the file that is mapped there. Format: proc_pid_maps(5).
fn offset_in_file(maps: &str, address: u64) -> Option<u64> {
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    maps.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let (start, end) = (number(start)?, number(end)?);
        let offset = number(fields.nth(1)?)?;
        (start..end).contains(&address).then(|| address - start + offset)
    })
}

/// Loads a program unless it is loaded.
pub(super) fn load(ebpf: &mut Ebpf, name: &'static str) -> Result<(), KernelError> {
    let Program::UProbe(program) = program(ebpf, name)? else {
        return Err(KernelError::Missing { kind: "program", name });
    };
    if program.fd().is_ok() {
        return Ok(());
    }
    program.load().map_err(|error| KernelError::load(name, &error))
}

/// Loads the program of receives unless it is loaded.
pub(super) fn load_receives(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let Program::BtfTracePoint(program) = program(ebpf, RECEIVES)? else {
        return Err(KernelError::Missing { kind: "program", name: RECEIVES });
    };
    if program.fd().is_ok() {
        return Ok(());
    }
    let types = Btf::from_sys_fs().map_err(|error| KernelError::Load {
        program: RECEIVES,
        reason: error.to_string(),
        log: String::new(),
        // The programs that run already needed them: what failed is the reading.
        transient: true,
    })?;
    program.load(RECEIVES, &types).map_err(|error| KernelError::load(RECEIVES, &error))
}

/// Attaches it.
pub(super) fn attach_receives(ebpf: &mut Ebpf) -> Result<BtfTracePointLink, KernelError> {
    let Program::BtfTracePoint(program) = program(ebpf, RECEIVES)? else {
        return Err(KernelError::Missing { kind: "program", name: RECEIVES });
    };
    let refused = |error| KernelError::attach(RECEIVES, format!("tracepoint {RECEIVES}"), &error);
    let link = program.attach().map_err(refused)?;
    program.take_link(link).map_err(refused)
}

/// The programs that a hook needs.
pub(super) fn programs_of(hook: Hook) -> &'static [&'static str] {
    match hook {
        Hook::OpenSslPeer => &["d2i_x509"],
        Hook::OpenSslOwn => &["i2d_x509", "i2d_x509_done"],
        Hook::OpenSslVerifyBegin => &["x509_store_ctx_set_default"],
        Hook::OpenSslVerify => &["x509_verify_cert", "x509_verify_cert_done"],
        Hook::OpenSslVerifyResult => &["x509_store_ctx_get_error"],
        Hook::LinkerState => &["linker_state"],
        Hook::BoringSslFromCbs => &["crypto_buffer_new_from_cbs"],
        Hook::BoringSslNew => &["crypto_buffer_new"],
        Hook::BoringSslSend => &["tls_add_message"],
        Hook::GnuTlsPeer => &["gnutls_pcert_import_x509_raw"],
        Hook::GnuTlsHash => &["gnutls_hash_fast"],
        Hook::GnuTlsSign => &["gnutls_privkey_sign_data2"],
        Hook::GnuTlsVerifySignature => &["gnutls_pubkey_verify_data2"],
        Hook::GnuTlsVerifyPeers => &["gnutls_certificate_verify_peers", "gnutls_verified"],
        Hook::GnuTlsVerifyPeers2 => &["gnutls_certificate_verify_peers2", "gnutls_verified"],
        Hook::GnuTlsVerifyPeers3 => &["gnutls_certificate_verify_peers3", "gnutls_verified"],
        Hook::NssPeer => &["cert_new_temp_certificate"],
        Hook::NssVerify => &["ssl_auth_certificate"],
        Hook::NssDigest => &["nsc_digest_update"],
        Hook::GoServer => &["go_server"],
        Hook::GoPeerOfClient => &["go_peer_of_client"],
        Hook::GoPeerOfServer => &["go_peer_of_server"],
        Hook::GoOwnAt24 => &["go_own_at24"],
        Hook::GoOwnAt0 => &["go_own_at0"],
        Hook::GoVerify => &["go_verify"],
        Hook::RustlsPayload13 => &["rustls_payload13"],
        Hook::RustlsVerify => &["rustls_verify"],
        Hook::RustlsSend => &["rustls_send"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_found_in_the_file_that_is_mapped_there() {
        let maps = "1000-3000 r--p 00000000 08:01 7 /bin/x\n3000-5000 r-xp 00002800 08:01 7 /bin/x\n";
        assert_eq!(offset_in_file(maps, 0x3010), Some(0x2810));
        assert_eq!(offset_in_file(maps, 0x2fff), Some(0x1fff));
        assert_eq!(offset_in_file(maps, 0x5000), None);
        assert_eq!(offset_in_file("odd\n", 0), None);
    }
}
