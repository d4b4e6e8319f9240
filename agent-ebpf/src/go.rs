//! Probes of crypto/tls of Go 1.18 to 1.27 on x86-64. Arguments are in registers of Go's own convention: rax, rbx, rcx and so
//! on, r14 for the goroutine; structures that do not fit are on the stack, behind the return address.
//!
//! A goroutine changes threads, so that what was seen before is remembered for the goroutine. Returns are not probed: Go moves
//! its stacks.

use aya_ebpf::{macros::uprobe, programs::ProbeContext};
use countersign_common::{counter, family, form, library, presenter, verdict};

use crate::{
    certificates::{is_certificate, list_of},
    connect::STREAM,
    library::{Subject, Whose, ship_certificates, ship_verdict},
    maps::{GOROUTINES, noted},
    task::current_process,
    user::{be24, read_user},
};

/// Certificates of an own chain that are shipped.
const OWN_MAX: u64 = 8;
/// Distance from the begin of a function of crypto/tls to what it calls.
const FUNCTION_LENGTH: u64 = 16 * 1024;

/// `runtime.g.goid`.
const GOROUTINE_ID: u64 = 152;
/// The pointer of an interface, and with it that of the first field of `tls.Conn`.
const INTERFACE_DATA: u64 = 8;
/// `net.netFD`: `pfd.Sysfd`, `family` and `sotype`.
const DESCRIPTOR: u64 = 16;
const FAMILY: u64 = 56;
const SOCKET_TYPE: u64 = 64;

/// Key of `GOROUTINES`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct GoroutineKey {
    process: u64,
    id: u64,
}

/// Value of `GOROUTINES`: the handshake that a goroutine is in.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Goroutine {
    /// Address of the function of crypto/tls that was called with the peer's certificates; 0 before, and once it has called
    /// for their verification.
    verifier: u64,
    /// The file descriptor of its connection, or one of the two below.
    descriptor: i32,
    /// No implicit padding.
    reserved: u32,
}

/// The connection is wrapped more deeply, or was not seen. The last receive of the thread would often be another goroutine's.
const UNKNOWN: i32 = -1;
/// There is none: TLS in QUIC.
const NONE: i32 = -2;

impl Goroutine {
    /// Without a branch on what is known: the verifier wants every path to have a descriptor.
    #[inline(always)]
    fn whose(&self) -> Option<Whose> {
        if self.descriptor == NONE { None } else { Some(Whose::Descriptor(self.descriptor)) }
    }
}

/// Where registers are in the `pt_regs` of x86-64 (arch/x86/include/asm/ptrace.h), in words.
mod register {
    pub const R14: usize = 1;
    pub const RBX: usize = 5;
    pub const RAX: usize = 10;
    pub const RCX: usize = 11;
    pub const RIP: usize = 16;
    pub const RSP: usize = 19;
}

/// One of them.
#[inline(always)]
fn read<const REGISTER: usize>(context: &ProbeContext) -> u64 {
    unsafe { *context.regs.cast::<u64>().add(REGISTER) }
}

#[inline(always)]
fn current_goroutine(context: &ProbeContext) -> Option<GoroutineKey> {
    let id = read_user(read::<{ register::R14 }>(context).wrapping_add(GOROUTINE_ID))?;
    Some(GoroutineKey { process: u64::from(current_process()), id })
}

/// `func (c *Conn) serverHandshake(ctx context.Context) error`
#[uprobe]
fn go_server(context: ProbeContext) -> u32 {
    enter(&context, 0);
    0
}

/// `func (c *Conn) verifyServerCertificate(certificates [][]byte) error`
#[uprobe]
fn go_peer_of_client(context: ProbeContext) -> u32 {
    received(&context, read::<{ register::RBX }>(&context), read::<{ register::RCX }>(&context));
    0
}

/// `func (c *Conn) processCertsFromClient(certificate Certificate) error`: a structure that begins with the slice.
#[uprobe]
fn go_peer_of_server(context: ProbeContext) -> u32 {
    if let Some([_, chain, count]) = read_user::<[u64; 3]>(read::<{ register::RSP }>(&context)) {
        received(&context, chain, count);
    }
    0
}

/// `func (m *certificateMsg) marshal() ([]byte, error)` and that of `certificateMsgTLS13`, whose first field is the message if
/// it was received or made before.
#[uprobe]
fn go_own_at24(context: ProbeContext) -> u32 {
    if let Some([0, _, _, chain, count]) = read_user::<[u64; 5]>(read::<{ register::RAX }>(&context)) {
        sent(&context, chain, count);
    }
    0
}

/// The same since Go 1.23, where it is only called to send.
#[uprobe]
fn go_own_at0(context: ProbeContext) -> u32 {
    if let Some([chain, count]) = read_user::<[u64; 2]>(read::<{ register::RAX }>(&context)) {
        sent(&context, chain, count);
    }
    0
}

/// `func (c *Certificate) Verify(opts VerifyOptions) ([][]*Certificate, error)`: of interest where crypto/tls itself calls it.
/// If it fails, so does the handshake.
#[uprobe]
fn go_verify(context: ProbeContext) -> u32 {
    let Some(key) = current_goroutine(&context) else { return 0 };
    let Some(goroutine) = GOROUTINES.get_ptr_mut(key) else { return 0 };
    let goroutine = unsafe { &mut *goroutine };
    let caller: u64 = read_user(read::<{ register::RSP }>(&context)).unwrap_or(0);
    if goroutine.verifier != 0 && caller.wrapping_sub(goroutine.verifier) < FUNCTION_LENGTH {
        goroutine.verifier = 0;
        if let Some(whose) = goroutine.whose() {
            ship_verdict(library::GO, whose, verdict::ATTEMPTED, 0);
        }
    }
    0
}

/// Remembers the connection, whose address is the first argument.
#[inline(always)]
fn enter(context: &ProbeContext, verifier: u64) -> Option<Goroutine> {
    let data: u64 = read_user(read::<{ register::RAX }>(context).wrapping_add(INTERFACE_DATA))?;
    let descriptor = if data == 0 { NONE } else { known_descriptor(data) };
    let goroutine = Goroutine { verifier, descriptor, reserved: 0 };
    noted(GOROUTINES.insert(current_goroutine(context)?, goroutine, 0));
    Some(goroutine)
}

/// The file descriptor of a plain TCP connection, or of one that is the first field of the structure that wraps it.
#[inline(always)]
fn known_descriptor(connection: u64) -> i32 {
    if let Some(descriptor) = descriptor_of(connection) {
        return descriptor;
    }
    let inner: u64 = read_user(connection.wrapping_add(INTERFACE_DATA)).unwrap_or(0);
    descriptor_of(inner).unwrap_or(UNKNOWN)
}

/// The file descriptor of a plain TCP connection: only then are family and type where they are in `net.netFD`.
#[inline(always)]
fn descriptor_of(connection: u64) -> Option<i32> {
    let file: u64 = read_user(connection)?;
    let descriptor: u64 = read_user(file.wrapping_add(DESCRIPTOR))?;
    let found: u64 = read_user(file.wrapping_add(FAMILY))?;
    let kind: u64 = read_user(file.wrapping_add(SOCKET_TYPE))?;
    let internet = found == u64::from(family::INET) || found == u64::from(family::INET6);
    let plain = internet && kind == u64::from(STREAM);
    if plain { i32::try_from(descriptor).ok() } else { None }
}

/// The peer's chain, as slices of the message.
#[inline(always)]
fn received(context: &ProbeContext, chain: u64, count: u64) {
    let whose = enter(context, read::<{ register::RIP }>(context)).and_then(|goroutine| goroutine.whose());
    let Some(whose) = whose else { return };
    if count == 0 {
        return;
    }
    let Some([der, length]) = read_user::<[u64; 2]>(chain) else { return };
    let Ok(length) = u32::try_from(length) else { return };
    let Some((list, total)) = list_of(der, length) else { return };
    let subject = Subject { library: library::GO, presenter: presenter::PEER, form: form::LIST };
    ship_certificates(subject, whose, list, total);
}

/// The own chain, as slices of 24 bytes. Unlike a received one it is not in a message.
#[inline(always)]
fn sent(context: &ProbeContext, chain: u64, count: u64) {
    let Some(key) = current_goroutine(context) else { return };
    let descriptor = match unsafe { GOROUTINES.get(key) } {
        Some(goroutine) => goroutine.descriptor,
        None => UNKNOWN,
    };
    if descriptor == NONE {
        return;
    }
    if count > OWN_MAX {
        crate::maps::count(counter::LONG_CHAINS, 1);
    }
    for number in 0..OWN_MAX {
        if number >= count {
            return;
        }
        let Some([der, length]) = read_user::<[u64; 2]>(chain.wrapping_add(24 * number)) else { return };
        let Ok(length) = u32::try_from(length) else { return };
        if !is_certificate(der, length) || is_received(der, length) {
            return;
        }
        let form = if number == 0 { form::LEAF } else { form::FOLLOWING };
        let subject = Subject { library: library::GO, presenter: presenter::OWN, form };
        ship_certificates(subject, Whose::Descriptor(descriptor), der, length);
    }
}

/// Whether a certificate stands behind its length, as in a message.
#[inline(always)]
fn is_received(der: u64, length: u32) -> bool {
    read_user(der.wrapping_sub(3)).is_some_and(|before| be24(before) == length)
}
