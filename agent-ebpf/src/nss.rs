//! Probes of NSS.

use aya_ebpf::{
    macros::{uprobe, uretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use countersign_common::{library, verdict};

use crate::{
    library::{Whose, ship_list_of, ship_verdict},
    user::read_user,
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
