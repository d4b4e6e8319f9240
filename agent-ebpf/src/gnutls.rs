//! Probes of GnuTLS.

use aya_ebpf::{
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use countersign_common::{form, library, presenter, verdict};

use crate::{
    certificates::{Messages, is_certificate, stands_in_message},
    library::{Subject, Whose, ship_certificates, ship_list, ship_list_of, ship_verdict},
    maps::{TRANSCRIPT, VERIFICATIONS},
    user::read_user,
};

/// `GNUTLS_X509_FMT_DER` (gnutls/gnutls.h).
const FORMAT_DER: u32 = 0;

/// `gnutls_datum_t` (gnutls/gnutls.h).
#[repr(C)]
#[derive(Clone, Copy)]
struct Datum {
    data: u64,
    size: u32,
    padding: u32,
}

/// Value of `TRANSCRIPT`: the handshake messages that a thread has hashed last.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Transcript {
    address: u64,
    /// 0 for none.
    length: u64,
}

/// HandshakeTypes of the first message of a transcript: client_hello, or message_hash in the place of the first of two (RFC 8446 sections
/// 4 and 4.4.1).
const CLIENT_HELLO: u8 = 1;
const MESSAGE_HASH: u8 = 254;

/// What a CertificateVerify of TLS 1.3 signs (RFC 8446 section 4.4.3) begins with 64 spaces and this, the begin of a name.
const SIGNED: u64 = u64::from_ne_bytes(*b"TLS 1.3,");
const SIGNED_AT: u32 = 64;

/// `int gnutls_pcert_import_x509_raw(gnutls_pcert_st *pcert, const gnutls_datum_t *cert, gnutls_x509_crt_fmt_t format,
/// unsigned int flags)`: the peer's certificates; own ones take another way. Up to TLS 1.2 they are in the message, and the
/// leaf is read again from a copy; in TLS 1.3 there is the copy of the leaf, all that is shown where the message was compressed.
#[uprobe]
fn gnutls_pcert_import_x509_raw(context: ProbeContext) -> u32 {
    if context.arg(2) != Some(FORMAT_DER) {
        return 0;
    }
    let Some(datum) = read_user::<Datum>(context.arg(1).unwrap_or(0)) else { return 0 };
    if stands_in_message(datum.data, datum.size) {
        ship_list_of(library::GNUTLS, datum.data, u64::from(datum.size));
    } else if is_certificate(datum.data, datum.size) {
        let subject = Subject { library: library::GNUTLS, presenter: presenter::PEER, form: form::LEAF };
        ship_certificates(subject, Whose::LastReceive, datum.data, datum.size);
    }
    0
}

/// `int gnutls_hash_fast(gnutls_digest_algorithm_t algorithm, const void *ptext, size_t ptext_len, void *digest)`: in TLS 1.3 all
/// messages of the handshake so far are hashed for a signature.
#[uprobe]
fn gnutls_hash_fast(context: ProbeContext) -> u32 {
    let (Some(address), Some(length)) = (context.arg(1), context.arg(2)) else { return 0 };
    let begins = matches!(read_user::<[u8; 1]>(address), Some([CLIENT_HELLO | MESSAGE_HASH]));
    let transcript = if begins { TRANSCRIPT.get_or_create() } else { TRANSCRIPT.get() };
    if let Some(transcript) = transcript {
        *transcript = Transcript { address, length: if begins { length } else { 0 } };
    }
    0
}

/// `int gnutls_privkey_sign_data2(gnutls_privkey_t signer, gnutls_sign_algorithm_t algo, unsigned int flags, const gnutls_datum_t *data,
/// gnutls_datum_t *signature)`
#[uprobe]
fn gnutls_privkey_sign_data2(context: ProbeContext) -> u32 {
    shown(&context, presenter::OWN);
    0
}

/// `int gnutls_pubkey_verify_data2(gnutls_pubkey_t pubkey, gnutls_sign_algorithm_t algo, unsigned int flags, const gnutls_datum_t *data,
/// const gnutls_datum_t *signature)`
#[uprobe]
fn gnutls_pubkey_verify_data2(context: ProbeContext) -> u32 {
    shown(&context, presenter::PEER);
    0
}

/// Whoever signs has just sent its Certificate message, and whoever checks a signature has just received the peer's: the transcript ends
/// with it.
#[inline(always)]
fn shown(context: &ProbeContext, presenter: u32) -> Option<()> {
    let transcript = TRANSCRIPT.get()?;
    let length = u32::try_from(core::mem::take(&mut transcript.length)).ok()?;
    let signed: Datum = read_user(context.arg(3)?)?;
    let name: u64 = read_user(signed.data.wrapping_add(u64::from(SIGNED_AT)))?;
    if signed.size <= SIGNED_AT || name != SIGNED {
        return None;
    }
    let messages = Messages::read(transcript.address, length)?;
    if !messages.ends_with_it {
        return None;
    }
    ship_list(library::GNUTLS, presenter, messages.list()?);
    None
}

/// `int gnutls_certificate_verify_peers(gnutls_session_t session, gnutls_typed_vdata_st *data, unsigned int elements,
/// unsigned int *status)`
#[uprobe]
fn gnutls_certificate_verify_peers(context: ProbeContext) -> u32 {
    verifies(context.arg(3));
    0
}

/// `int gnutls_certificate_verify_peers2(gnutls_session_t session, unsigned int *status)`
#[uprobe]
fn gnutls_certificate_verify_peers2(context: ProbeContext) -> u32 {
    verifies(context.arg(1));
    0
}

/// `int gnutls_certificate_verify_peers3(gnutls_session_t session, const char *hostname, unsigned int *status)`
#[uprobe]
fn gnutls_certificate_verify_peers3(context: ProbeContext) -> u32 {
    verifies(context.arg(2));
    0
}

/// Notes where the outcome will be. One of these functions may call another with the same place.
#[inline(always)]
fn verifies(status: Option<u64>) {
    if let Some(status) = status
        && let Some(verification) = VERIFICATIONS.get_or_create()
    {
        *verification = status;
    }
}

/// The return of all three: a negative number if nothing could be verified, else the status tells.
#[uretprobe]
fn gnutls_verified(context: RetProbeContext) -> u32 {
    let Some(verification) = VERIFICATIONS.get() else { return 0 };
    let status = core::mem::take(verification);
    if status == 0 {
        return 0;
    }
    let (verdict, code) = match read_user::<i32>(status) {
        Some(bits) if context.ret::<i32>() >= 0 => {
            (if bits == 0 { verdict::VERIFIED } else { verdict::FAILED }, bits)
        }
        _ => (verdict::ATTEMPTED, 0),
    };
    ship_verdict(library::GNUTLS, Whose::LastReceive, verdict, code);
    0
}
