//! Countersign's kernel programs: facts into the ring buffer, no decision beyond "is this socket
//! decided, is there budget left".
//!
//! One hook family per file. `state.rs` is what is remembered per socket, `maps.rs` every map,
//! `kernel.rs` reads the fields whose places come from the running kernel's BTF. Programs use only
//! helpers that Linux 5.15 allows in their type (what a newer kernel allows proves nothing).

#![no_std]
#![no_main]
#![expect(unused_unsafe, reason = "the macros that read a field stand inside and outside of unsafe blocks")]

mod accept;
mod boringssl;
mod certificates;
mod connect;
mod events;
mod gnutls;
mod go;
mod iterator;
mod kernel;
mod library;
mod linker;
mod maps;
mod nss;
mod openssl;
mod packet;
mod process;
mod receive;
mod release;
mod rustls;
mod segment;
mod sockops;
mod state;
mod task;
mod thread;
mod user;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Some helpers (probe reads, storage from an iterator) are for GPL-compatible programs only; the
/// kernel accepts this dual licence.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
