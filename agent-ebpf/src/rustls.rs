//! Probes of rustls 0.21 to 0.23 with symbols, on x86-64. Rust has no stable layouts: what is read is only taken where it has
//! the form of certificates.

use aya_ebpf::{macros::uprobe, programs::ProbeContext};
use countersign_common::{counter, form, library, presenter, verdict};

use crate::{
    certificates::{Messages, is_certificate, list_of},
    library::{Subject, Whose, ship_certificates, ship_list, ship_verdict},
    maps::{self, PARSED},
    user::{be24, read_user},
};

/// Certificates behind a leaf that are shipped.
const FURTHER_MAX: u64 = 8;
/// Words of a `Message` among which the slice of its bytes is looked for. It is at the begin in 0.21 and 0.23.
const MESSAGE_WORDS: u64 = 16;
/// HandshakeTypes with which bytes begin that hold an own certificate (RFC 8446 section 4): the server's flight, or the message.
const ENCRYPTED_EXTENSIONS: u8 = 8;
const CERTIFICATE: u8 = 11;

/// `fn read(r: &mut Reader) -> Result<CertificatePayloadTls13, InvalidMessage>`: the result is the first argument; a Reader is a
/// slice and a position.
#[uprobe]
fn rustls_payload13(context: ProbeContext) -> u32 {
    parsed(&context);
    0
}

#[inline(always)]
fn parsed(context: &ProbeContext) -> Option<()> {
    let [buffer, length, cursor]: [u64; 3] = read_user(context.arg(1)?)?;
    if cursor >= length {
        return None;
    }
    // certificate_request_context, then the list (RFC 8446 section 4.4.2).
    let at = buffer.wrapping_add(cursor);
    let [asked]: [u8; 1] = read_user(at)?;
    let der = at.wrapping_add(1 + 6 + u64::from(asked));
    let leaf = be24(read_user(der.wrapping_sub(3))?);
    ship_list(library::RUSTLS, presenter::PEER, list_of(der, leaf)?);
    let end = signature_end(der, leaf)?;
    *PARSED.get_or_create()? = end;
    None
}

/// `fn verify_server_cert(&self, leaf, intermediates, …) -> Result<…>` and `verify_client_cert` of the verifiers that rustls
/// comes with: the result, the verifier, the leaf, pointer and number of the others. If it fails, so does the handshake.
#[uprobe]
fn rustls_verify(context: ProbeContext) -> u32 {
    verified(&context);
    ship_verdict(library::RUSTLS, Whose::LastReceive, verdict::ATTEMPTED, 0);
    0
}

#[inline(always)]
fn verified(context: &ProbeContext) -> Option<()> {
    let (der, length) = vector(context.arg(2)?)?;
    let known = PARSED.get().map(core::mem::take).filter(|end| *end != 0);
    // Its message was shipped when it was parsed.
    if known.is_some() && known == signature_end(der, length) {
        return None;
    }
    let further: u64 = context.arg(3)?;
    let count: u64 = context.arg(4)?;
    ship(der, length, form::LEAF);
    if count > FURTHER_MAX {
        maps::count(counter::LONG_CHAINS, 1);
    }
    for number in 0..FURTHER_MAX {
        if number >= count {
            break;
        }
        let (der, length) = vector(further.wrapping_add(24 * number))?;
        ship(der, length, form::FOLLOWING);
    }
    None
}

/// The bytes of a `Vec<u8>`, or of a `CertificateDer`, if they are a certificate: capacity or tag, pointer, length.
#[inline(always)]
fn vector(address: u64) -> Option<(u64, u32)> {
    let [_, der, length]: [u64; 3] = read_user(address)?;
    let length = u32::try_from(length).ok()?;
    is_certificate(der, length).then_some((der, length))
}

#[inline(always)]
fn ship(der: u64, length: u32, form: u32) {
    let subject = Subject { library: library::RUSTLS, presenter: presenter::PEER, form };
    ship_certificates(subject, Whose::LastReceive, der, length);
}

/// The last eight bytes of a certificate, which are of its signature: enough to know it again.
#[inline(always)]
fn signature_end(der: u64, length: u32) -> Option<u64> {
    read_user(der.wrapping_add(u64::from(length)).wrapping_sub(8))
}

/// `fn send_msg(&mut self, message: Message, must_encrypt: bool)` of `CommonState`: a handshake message or several, before they are
/// encrypted, and alerts. Application data take another way. A `Message` is passed by its address.
#[uprobe]
fn rustls_send(context: ProbeContext) -> u32 {
    sent(&context);
    0
}

#[inline(always)]
fn sent(context: &ProbeContext) -> Option<()> {
    let message: u64 = context.arg(1)?;
    let mut found = (0, 0);
    for word in 0..MESSAGE_WORDS {
        let [address, length]: [u64; 2] = read_user(message.wrapping_add(8 * word))?;
        if is_flight(address, length) {
            found = (address, length as u32);
            break;
        }
    }
    let (address, length) = found;
    ship_list(library::RUSTLS, presenter::OWN, Messages::read(address, length)?.list()?);
    None
}

/// Whether `length` bytes at `address` begin as handshake messages do that hold an own certificate.
#[inline(always)]
fn is_flight(address: u64, length: u64) -> bool {
    let Some([kind, size @ ..]) = read_user::<[u8; 4]>(address) else { return false };
    let expected = kind == ENCRYPTED_EXTENSIONS || kind == CERTIFICATE;
    expected && u64::from(be24(size)) + 4 <= length && length <= u64::from(u32::MAX)
}
