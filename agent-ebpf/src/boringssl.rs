//! Probes of BoringSSL. Its older releases call one of the two functions from within the other: the same list is then
//! shipped twice.

use aya_ebpf::{macros::uprobe, programs::ProbeContext};
use countersign_common::{library, presenter};

use crate::{
    certificates::Messages,
    library::{ship_list, ship_list_of},
    user::read_user,
};

/// `CRYPTO_BUFFER *CRYPTO_BUFFER_new_from_CBS(const CBS *cbs, CRYPTO_BUFFER_POOL *pool)`; a `CBS` is a pointer and a length.
#[uprobe]
fn crypto_buffer_new_from_cbs(context: ProbeContext) -> u32 {
    if let Some([data, length]) = read_user::<[u64; 2]>(context.arg(0).unwrap_or(0)) {
        ship_list_of(library::BORINGSSL, data, length);
    }
    0
}

/// `CRYPTO_BUFFER *CRYPTO_BUFFER_new(const uint8_t *data, size_t len, CRYPTO_BUFFER_POOL *pool)`
#[uprobe]
fn crypto_buffer_new(context: ProbeContext) -> u32 {
    if let (Some(data), Some(length)) = (context.arg(0), context.arg(1)) {
        ship_list_of(library::BORINGSSL, data, length);
    }
    0
}

/// `bool bssl::tls_add_message(SSL *ssl, Array<uint8_t> message)`: a handshake message that is about to be sent, before it is
/// encrypted. An `Array` is passed by its address, and is a pointer and a length.
#[uprobe]
fn tls_add_message(context: ProbeContext) -> u32 {
    own(&context);
    0
}

#[inline(always)]
fn own(context: &ProbeContext) -> Option<()> {
    let [data, length]: [u64; 2] = read_user(context.arg(1)?)?;
    let messages = Messages::read(data, u32::try_from(length).ok()?)?;
    ship_list(library::BORINGSSL, presenter::OWN, messages.list()?);
    None
}
