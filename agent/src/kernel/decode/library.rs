//! What probes of TLS libraries report.

use bytes::Bytes;
use countersign_common::{
    Header, LibraryBytesRecord, LibraryVerificationRecord, Record, form, library, presenter, socket_by,
    verdict,
};

use super::task_of;
use crate::event::{
    Library, LibraryBytes, LibraryCall, LibraryForm, LibrarySocket, LibraryVerdict, LibraryVerification,
    Presenter, SocketBy, SocketCookie, Task, Timestamp,
};

/// A run of certificate bytes; `None` if it is malformed.
pub(super) fn bytes_of(bytes: &[u8]) -> Option<LibraryBytes> {
    let record = LibraryBytesRecord::read(bytes)?;
    // Behind the bytes stands what is left of the room, old events among it: not to be read.
    let run = bytes.get(size_of::<LibraryBytesRecord>()..)?.get(..record.length as usize)?;
    if record.offset.checked_add(record.length)? > record.total {
        return None;
    }
    let presenter = match record.presenter {
        presenter::PEER => Presenter::Peer,
        presenter::OWN => Presenter::Own,
        _ => return None,
    };
    let form = match record.form {
        form::LIST => LibraryForm::List,
        form::LEAF => LibraryForm::Leaf,
        form::FOLLOWING => LibraryForm::Following,
        _ => return None,
    };
    Some(LibraryBytes {
        call: call_of(&record.header, task_of(&record.task), record.received_at, record.library)?,
        presenter,
        form,
        total: record.total,
        offset: record.offset,
        bytes: Bytes::copy_from_slice(run),
    })
}

/// What a library said; `None` if it is malformed.
pub(super) fn verification_of(bytes: &[u8]) -> Option<LibraryVerification> {
    let record = LibraryVerificationRecord::read(bytes)?;
    let verdict = match record.verdict {
        verdict::VERIFIED => LibraryVerdict::Verified,
        verdict::FAILED => LibraryVerdict::Failed { code: record.code },
        verdict::ATTEMPTED => LibraryVerdict::Attempted,
        _ => return None,
    };
    let call = call_of(&record.header, task_of(&record.task), record.received_at, record.library)?;
    Some(LibraryVerification { call, verdict })
}

fn call_of(header: &Header, task: Task, received_at: u64, library: u32) -> Option<LibraryCall> {
    let library = match library {
        library::OPENSSL => Library::OpenSsl,
        library::BORINGSSL => Library::BoringSsl,
        library::GNUTLS => Library::GnuTls,
        library::NSS => Library::Nss,
        library::GO => Library::Go,
        library::RUSTLS => Library::Rustls,
        _ => return None,
    };
    let by = match header.detail {
        socket_by::NONE => None,
        socket_by::LAST_RECEIVE => Some(SocketBy::LastReceive),
        socket_by::DESCRIPTOR => Some(SocketBy::Descriptor),
        _ => return None,
    };
    let socket = by.map(|by| LibrarySocket {
        socket: SocketCookie(header.socket),
        by,
        received_at: Timestamp(received_at),
    });
    Some(LibraryCall { at: Timestamp(header.at), task, library, socket })
}

#[cfg(test)]
mod tests {
    use countersign_common::kind;

    use super::*;

    /// A run of `length` bytes at `offset` of 10, with room for more.
    fn run(detail: u32, codes: [u32; 3], offset: u32, length: u32) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<LibraryBytesRecord>()];
        bytes[8] = 5;
        bytes[24..28].copy_from_slice(&kind::LIBRARY_BYTES.to_ne_bytes());
        bytes[28..32].copy_from_slice(&detail.to_ne_bytes());
        bytes[80] = 6;
        let words = codes.into_iter().chain([10, offset, length]);
        for (target, word) in bytes[88..].chunks_exact_mut(4).zip(words) {
            target.copy_from_slice(&word.to_ne_bytes());
        }
        bytes.extend(b"certificate");
        bytes
    }

    fn verification(verdict: u32, code: i32) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<LibraryVerificationRecord>()];
        bytes[88] = 1;
        bytes[92..96].copy_from_slice(&verdict.to_ne_bytes());
        bytes[96..100].copy_from_slice(&code.to_ne_bytes());
        bytes
    }

    #[test]
    fn a_run_has_its_bytes_and_no_more() {
        let decoded = bytes_of(&run(1, [1, 2, 3], 3, 4)).unwrap();
        assert_eq!((decoded.bytes.as_ref(), decoded.offset, decoded.total), (b"cert".as_slice(), 3, 10));
        assert_eq!((decoded.presenter, decoded.form), (Presenter::Own, LibraryForm::Following));
        assert_eq!(decoded.call.library, Library::OpenSsl);
        let socket = decoded.call.socket.unwrap();
        assert_eq!((socket.socket, socket.by), (SocketCookie(5), SocketBy::LastReceive));
        assert_eq!(socket.received_at, Timestamp(6));
        assert!(bytes_of(&run(0, [1, 1, 1], 0, 10)).unwrap().call.socket.is_none());
    }

    #[test]
    fn a_run_that_does_not_fit_is_refused() {
        assert!(bytes_of(&run(0, [1, 1, 1], 6, 4)).is_some());
        assert!(bytes_of(&run(0, [1, 1, 1], 7, 4)).is_none(), "behind the end of the whole");
        assert!(bytes_of(&run(0, [1, 1, 1], u32::MAX, 4)).is_none());
        let mut short = run(0, [1, 1, 1], 0, 10);
        short.truncate(size_of::<LibraryBytesRecord>() + 9);
        assert!(bytes_of(&short).is_none(), "longer than the record");
    }

    #[test]
    fn each_code_has_its_meaning_and_no_other_is_taken() {
        let libraries: Vec<_> =
            (0..9).filter_map(|code| Some(bytes_of(&run(0, [code, 1, 1], 0, 1))?.call.library)).collect();
        assert_eq!(libraries, Library::ALL);
        for (index, past) in [3, 4].into_iter().enumerate() {
            for code in [0, past] {
                let mut codes = [1; 3];
                codes[index + 1] = code;
                assert!(bytes_of(&run(0, codes, 0, 1)).is_none(), "{codes:?}");
            }
        }
        assert!(bytes_of(&run(3, [1, 1, 1], 0, 1)).is_none());
        let verdict = |code, number| verification_of(&verification(code, number)).map(|said| said.verdict);
        assert_eq!(verdict(1, 0), Some(LibraryVerdict::Verified));
        assert_eq!(verdict(2, -7), Some(LibraryVerdict::Failed { code: -7 }));
        assert_eq!(verdict(3, 0), Some(LibraryVerdict::Attempted));
        assert_eq!((verdict(0, 0), verdict(4, 0)), (None, None));
    }
}
