//! Probes of GnuTLS.

use aya_ebpf::{
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use countersign_common::{form, library, presenter, verdict};

use crate::{
    library::{
        Subject, Whose, is_certificate, ship_certificates, ship_list_of, ship_verdict, stands_in_message,
    },
    maps::VERIFICATIONS,
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

/// Value of `VERIFICATIONS`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Verification {
    /// Where its outcome will be; 0 for none.
    status: u64,
    /// Where the next certificate of the peer is told of; 0 before the first one.
    next: u64,
}

/// `int gnutls_pcert_import_x509_raw(gnutls_pcert_st *pcert, const gnutls_datum_t *cert, gnutls_x509_crt_fmt_t format,
/// unsigned int flags)`: the peer's certificates; own ones take another way. Up to TLS 1.2 they are in the message, and the
/// leaf is read again from a copy; in TLS 1.3 the copy of the leaf is all there is.
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

/// `int gnutls_x509_crt_import(gnutls_x509_crt_t cert, const gnutls_datum_t *data, gnutls_x509_crt_fmt_t format)`: a verification
/// of the peer begins with an import of its certificates out of one array, in which they follow one another. What else is imported
/// meanwhile, as the signer of an OCSP response, is elsewhere; what is imported at other times are trust stores and own certificates.
#[uprobe]
fn gnutls_x509_crt_import(context: ProbeContext) -> u32 {
    let Some(verification) = VERIFICATIONS.get() else { return 0 };
    let place: u64 = context.arg(1).unwrap_or(0);
    let following = verification.next != 0;
    if verification.status == 0
        || context.arg(2) != Some(FORMAT_DER)
        || (following && place != verification.next)
    {
        return 0;
    }
    let Some(datum) = read_user::<Datum>(place) else { return 0 };
    if is_certificate(datum.data, datum.size) {
        verification.next = place.wrapping_add(size_of::<Datum>() as u64);
        let form = if following { form::FOLLOWING } else { form::LEAF };
        let subject = Subject { library: library::GNUTLS, presenter: presenter::PEER, form };
        ship_certificates(subject, Whose::LastReceive, datum.data, datum.size);
    }
    0
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
        *verification = Verification { status, next: 0 };
    }
}

/// The return of all three: a negative number if nothing could be verified, else the status tells.
#[uretprobe]
fn gnutls_verified(context: RetProbeContext) -> u32 {
    let Some(verification) = VERIFICATIONS.get() else { return 0 };
    let status = core::mem::take(&mut verification.status);
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
