//! Probes of NSS.

use aya_ebpf::{
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use countersign_common::{form, library, presenter, verdict};

use crate::{
    certificates::{is_certificate, list_in},
    library::{Subject, Whose, ship_certificates, ship_list, ship_list_of, ship_verdict},
    maps::HASHED,
    user::{be24, read_user},
};

/// `SECItem` (nss/seccomon.h).
#[repr(C)]
#[derive(Clone, Copy)]
struct Item {
    kind: u32,
    padding: u32,
    data: u64,
    length: u32,
    padding_behind: u32,
}

/// `CERTCertificate *CERT_NewTempCertificate(CERTCertDBHandle *handle, SECItem *derCert, char *nickname, PRBool isperm,
/// PRBool copyDER)`
#[uprobe]
fn cert_new_temp_certificate(context: ProbeContext) -> u32 {
    if let Some(item) = read_user::<Item>(context.arg(1).unwrap_or(0)) {
        ship_list_of(library::NSS, item.data, u64::from(item.length));
    }
    0
}

/// `SECStatus SSL_AuthCertificate(void *arg, PRFileDesc *fd, PRBool checkSig, PRBool isServer)`: 0 is success, and why it
/// failed is kept by the thread, out of reach.
#[uretprobe]
fn ssl_auth_certificate(context: RetProbeContext) -> u32 {
    let failed = context.ret::<i32>() != 0;
    let verdict = if failed { verdict::FAILED } else { verdict::VERIFIED };
    ship_verdict(library::NSS, Whose::LastReceive, verdict, 0);
    0
}

/// Value of `HASHED`: what of a message a thread has fed to a hash.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Hashed {
    /// Which hash: its session.
    hash: u64,
    /// The length that was fed last; 0 if something else was.
    announced: u32,
    /// Whose message it is the length of, one of `presenter`.
    presenter: u32,
    /// Bytes of a certificate_list that are still to come; 0 outside of one.
    left: u32,
    /// Its first certificate is among them.
    first: u32,
}

/// HandshakeType of a Certificate message, bytes before what is in a message, and bytes of the length of a message, of a list and of a
/// certificate (RFC 8446 sections 4 and 4.4.2).
const CERTIFICATE: u8 = 11;
const HEADER_BYTES: u32 = 4;
const LENGTH_BYTES: u32 = 3;

/// `CK_RV NSC_DigestUpdate(CK_SESSION_HANDLE hSession, CK_BYTE_PTR pPart, CK_ULONG ulPartLen)`: the hash of a handshake of TLS 1.3 is
/// fed with what is received by header and body, and with what is sent field by field, each length before what it is the length of.
/// Since certificates may be compressed (3.110 does so, 3.87 does not), all that a sent message holds is one field.
#[uprobe]
fn nsc_digest_update(context: ProbeContext) -> u32 {
    fed(&context);
    0
}

#[inline(always)]
fn fed(context: &ProbeContext) -> Option<()> {
    let (hash, data, length): (u64, u64, u64) = (context.arg(0)?, context.arg(1)?, context.arg(2)?);
    let length = u32::try_from(length).ok()?;
    let is_length = length == LENGTH_BYTES || length == HEADER_BYTES;
    let hashed = if is_length { HASHED.get_or_create()? } else { HASHED.get()? };
    if hashed.hash != hash {
        *hashed = Hashed { hash, announced: 0, presenter: presenter::OWN, left: 0, first: 0 };
    }
    let announced = core::mem::take(&mut hashed.announced);
    let inside = length != 0 && length <= hashed.left;
    hashed.left = if inside { hashed.left - length } else { 0 };
    if length == LENGTH_BYTES {
        let value = be24(read_user(data)?);
        // The length of a list, and now that of its first certificate.
        if !inside && announced >= value.wrapping_add(LENGTH_BYTES) {
            hashed.left = announced - LENGTH_BYTES;
            hashed.first = 1;
        }
        (hashed.announced, hashed.presenter) = (value, presenter::OWN);
    } else if length == HEADER_BYTES {
        if let [CERTIFICATE, size @ ..] = read_user::<[u8; 4]>(data)? {
            (hashed.announced, hashed.presenter) = (be24(size), presenter::PEER);
        }
    } else if announced == length && !inside {
        ship_list(library::NSS, hashed.presenter, list_in(data, length)?);
    } else if announced == length && is_certificate(data, length) {
        let form = if core::mem::take(&mut hashed.first) != 0 { form::LEAF } else { form::FOLLOWING };
        let subject = Subject { library: library::NSS, presenter: presenter::OWN, form };
        ship_certificates(subject, Whose::LastReceive, data, length);
    }
    None
}
