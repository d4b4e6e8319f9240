//! Probes of OpenSSL 1.1.1 and 3, and of what exports its functions. None of them runs per record.

use aya_ebpf::{
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use countersign_common::{form, library, presenter, verdict};

use crate::{
    certificates::{is_certificate, stands_in_message},
    library::{Subject, Whose, ship_certificates, ship_list_of, ship_verdict},
    maps::{VERIFYING, WRITING},
    receive::last_receive,
    user::read_user,
};

/// Bytes between two certificates of an outgoing list at most, the next one's length included: in TLS 1.3 the extensions
/// of the first, a stapled OCSP response and timestamps of certificate transparency among them.
const GAP_MAX: u64 = 16 * 1024;

/// Value of `WRITING`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Writing {
    /// Where the certificate is being written to, 0 between two calls.
    buffer: u64,
    /// The end of the one that was written last.
    end: u64,
    /// The thread's last receive when that was written.
    received_at: u64,
}

/// Value of `VERIFYING`: the verification of a peer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Verifying {
    /// Its `X509_STORE_CTX`.
    context: u64,
    /// One of the stages below.
    stage: u32,
    /// Calls of `X509_verify_cert` that have not returned: it verifies the signers of revocation lists by itself.
    depth: u32,
}

/// The first bytes of `ssl_client` and of `ssl_server`.
const SSL_CLIENT: u64 = u64::from_ne_bytes(*b"ssl_clie");
const SSL_SERVER: u64 = u64::from_ne_bytes(*b"ssl_serv");

/// Nothing is verified.
const NONE: u32 = 0;
/// The context is set up.
const BEGUN: u32 = 1;
/// `X509_verify_cert` has been called with it.
const RUNNING: u32 = 2;
/// It has returned.
const DONE: u32 = 3;

/// `X509 *d2i_X509(X509 **a, const unsigned char **in, long length)`
#[uprobe]
fn d2i_x509(context: ProbeContext) -> u32 {
    let der = read_user::<u64>(context.arg(1).unwrap_or(0));
    if let (Some(der), Some(length)) = (der, context.arg(2)) {
        ship_list_of(library::OPENSSL, der, length);
    }
    0
}

/// `int i2d_X509(X509 *a, unsigned char **out)`: without a buffer it only tells the length, or makes one.
#[uprobe]
fn i2d_x509(context: ProbeContext) -> u32 {
    let target: u64 = context.arg(1).unwrap_or(0);
    if target == 0 {
        return 0;
    }
    let buffer = read_user(target).unwrap_or(0);
    if buffer == 0 {
        return 0;
    }
    if let Some(writing) = WRITING.get_or_create() {
        writing.buffer = buffer;
    }
    0
}

#[uretprobe]
fn i2d_x509_done(context: RetProbeContext) -> u32 {
    let Some(writing) = WRITING.get() else { return 0 };
    let buffer = writing.buffer;
    writing.buffer = 0;
    let length: i32 = context.ret();
    if buffer != 0 && length > 0 {
        written(writing, buffer, length as u32);
    }
    0
}

/// A certificate that stands behind its own length has been written into a message.
#[inline(always)]
fn written(writing: &mut Writing, buffer: u64, length: u32) {
    if !stands_in_message(buffer, length) || !is_certificate(buffer, length) {
        return;
    }
    let received_at = last_receive().map_or(0, |received| received.at);
    let gap = buffer.wrapping_sub(writing.end);
    let follows = writing.end != 0 && gap <= GAP_MAX && received_at == writing.received_at;
    writing.end = buffer.wrapping_add(u64::from(length));
    writing.received_at = received_at;
    let form = if follows { form::FOLLOWING } else { form::LEAF };
    let subject = Subject { library: library::OPENSSL, presenter: presenter::OWN, form };
    ship_certificates(subject, Whose::LastReceive, buffer, length);
}

/// `int X509_STORE_CTX_set_default(X509_STORE_CTX *ctx, const char *name)`: the name is that of a TLS role only where the
/// certificate of a peer is about to be verified.
#[uprobe]
fn x509_store_ctx_set_default(context: ProbeContext) -> u32 {
    let name = read_user::<u64>(context.arg(1).unwrap_or(0));
    if name == Some(SSL_CLIENT) || name == Some(SSL_SERVER) {
        if let Some(verifying) = VERIFYING.get_or_create() {
            *verifying = Verifying { context: context.arg(0).unwrap_or(0), stage: BEGUN, depth: 0 };
        }
    }
    0
}

/// `int X509_verify_cert(X509_STORE_CTX *ctx)`
#[uprobe]
fn x509_verify_cert(context: ProbeContext) -> u32 {
    let Some(verifying) = VERIFYING.get() else { return 0 };
    if verifying.stage == BEGUN && context.arg(0) == Some(verifying.context) {
        verifying.stage = RUNNING;
    }
    if verifying.stage == RUNNING {
        verifying.depth += 1;
    }
    0
}

#[uretprobe]
fn x509_verify_cert_done(_context: RetProbeContext) -> u32 {
    let Some(verifying) = VERIFYING.get() else { return 0 };
    if verifying.stage == RUNNING {
        verifying.depth = verifying.depth.saturating_sub(1);
        if verifying.depth == 0 {
            verifying.stage = DONE;
        }
    }
    0
}

/// `int X509_STORE_CTX_get_error(const X509_STORE_CTX *ctx)`: libssl asks once verification is over; callbacks ask before.
#[uretprobe]
fn x509_store_ctx_get_error(context: RetProbeContext) -> u32 {
    let Some(verifying) = VERIFYING.get() else { return 0 };
    let stage = verifying.stage;
    if stage == NONE || stage == RUNNING {
        return 0;
    }
    verifying.stage = NONE;
    let error: i32 = context.ret();
    // Where X509_verify_cert was not called, a callback of the application verified, and what the error means is its matter.
    let (verdict, code) = match (stage, error) {
        (DONE, 0) => (verdict::VERIFIED, 0),
        (DONE, code) => (verdict::FAILED, code),
        _ => (verdict::ATTEMPTED, 0),
    };
    ship_verdict(library::OPENSSL, Whose::LastReceive, verdict, code);
    0
}
