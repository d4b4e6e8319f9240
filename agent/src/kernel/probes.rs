//! Probes of TLS libraries: a file and its points → attached programs.
//!
//! Programs are loaded at the first use of their hook, and the tracepoint of receives with the first probe: a host without
//! probes pays nothing for them. Each attached program is one file descriptor.

use std::{fs, path::Path};

use aya::{
    Btf, Ebpf,
    programs::{
        Program,
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
pub(super) const RECEIVES: &str = "tcp_rcv_space_adjust";

/// The attached probes of one file. Dropping it detaches them. That takes no processor time, but the kernel waits about 0.1 s
/// for each program, one after the other whoever asks: what must not stand still drops it on a thread of its own.
#[derive(Debug)]
pub struct Probed {
    links: Vec<UProbeLink>,
    refused: Vec<RefusedPoint>,
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

/// What is remembered about the programs.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// The tracepoint was tried.
    receives_tried: bool,
    /// What this kernel refused.
    pub unavailable: Vec<Unavailable>,
}

impl Probes {
    pub(super) fn attach(&mut self, ebpf: &mut Ebpf, file: &Path, points: &[Point]) -> Probed {
        if !points.is_empty() {
            self.attach_receives(ebpf);
        }
        let mut probed = Probed { links: Vec::new(), refused: Vec::new() };
        for point in points {
            match self.attach_point(ebpf, file, *point) {
                Ok(links) => probed.links.extend(links),
                Err(error) => probed.refused.push(RefusedPoint { point: *point, error }),
            }
        }
        probed
    }

    fn attach_receives(&mut self, ebpf: &mut Ebpf) {
        if self.receives_tried {
            return;
        }
        self.receives_tried = true;
        if let Err(error) = attach_receives(ebpf) {
            self.unavailable.push(Unavailable::new(RECEIVES, &error));
        }
        release_unused_memory();
    }

    /// All programs of a point, or none.
    fn attach_point(
        &mut self,
        ebpf: &mut Ebpf,
        file: &Path,
        point: Point,
    ) -> Result<Vec<UProbeLink>, KernelError> {
        programs_of(point.hook)
            .iter()
            .map(|name| self.attach_program(ebpf, file, point.offset, name))
            .collect()
    }

    fn attach_program(
        &mut self,
        ebpf: &mut Ebpf,
        file: &Path,
        offset: u64,
        name: &'static str,
    ) -> Result<UProbeLink, KernelError> {
        if let Some(known) = self.unavailable.iter().find(|unavailable| unavailable.program == name) {
            return Err(KernelError::Load {
                program: name,
                reason: known.reason.clone(),
                log: String::new(),
            });
        }
        if let Err(error) = load(ebpf, name) {
            self.unavailable.push(Unavailable::new(name, &error));
            return Err(error);
        }
        let Program::UProbe(program) = program(ebpf, name)? else {
            return Err(KernelError::Missing { kind: "program", name });
        };
        let refused = |error| KernelError::attach(name, format!("{} at {offset:#x}", file.display()), &error);
        let link = program.attach(offset, file, UProbeScope::AllProcesses).map_err(refused)?;
        program.take_link(link).map_err(refused)
    }
}

/// Loads every program that a hook needs, and says what the kernel refuses.
pub(super) fn load_all(ebpf: &mut Ebpf) -> Vec<KernelError> {
    let mut names: Vec<_> = Hook::ALL.iter().flat_map(|hook| programs_of(*hook)).copied().collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter_map(|name| load(ebpf, name).err()).collect()
}

/// Attaches a program to a function of this process for a moment: whether the kernel has uprobes, nothing else tells.
pub(super) fn attach_to_self(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let name = "linker_state";
    let refused = |reason: String| KernelError::Attach { program: name, hook: "this process".into(), reason };
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

/// Loads the program of receives and attaches it.
pub(super) fn attach_receives(ebpf: &mut Ebpf) -> Result<(), KernelError> {
    let types = Btf::from_sys_fs().map_err(|error| KernelError::Load {
        program: RECEIVES,
        reason: error.to_string(),
        log: String::new(),
    })?;
    let Program::BtfTracePoint(program) = program(ebpf, RECEIVES)? else {
        return Err(KernelError::Missing { kind: "program", name: RECEIVES });
    };
    program.load(RECEIVES, &types).map_err(|error| KernelError::load(RECEIVES, &error))?;
    program
        .attach()
        .map_err(|error| KernelError::attach(RECEIVES, format!("tracepoint {RECEIVES}"), &error))?;
    Ok(())
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
        Hook::GnuTlsPeer => &["gnutls_pcert_import_x509_raw"],
        Hook::GnuTlsVerifyPeers => &["gnutls_certificate_verify_peers", "gnutls_verified"],
        Hook::GnuTlsVerifyPeers2 => &["gnutls_certificate_verify_peers2", "gnutls_verified"],
        Hook::GnuTlsVerifyPeers3 => &["gnutls_certificate_verify_peers3", "gnutls_verified"],
        Hook::NssPeer => &["cert_new_temp_certificate"],
        Hook::NssVerify => &["ssl_auth_certificate"],
        Hook::GoServer => &["go_server"],
        Hook::GoPeerOfClient => &["go_peer_of_client"],
        Hook::GoPeerOfServer => &["go_peer_of_server"],
        Hook::GoOwnAt24 => &["go_own_at24"],
        Hook::GoOwnAt0 => &["go_own_at0"],
        Hook::GoVerify => &["go_verify"],
        Hook::RustlsPayload13 => &["rustls_payload13"],
        Hook::RustlsVerify => &["rustls_verify"],
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
