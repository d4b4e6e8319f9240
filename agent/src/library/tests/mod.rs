mod go;
mod image;
mod softoken;

use image::{Symbol, with_symbols};
use object::elf::{STT_FUNC, STT_OBJECT};
use proptest::prelude::*;

use super::*;

/// As [`examine`] of bytes.
fn examined(file: &[u8]) -> Examination {
    examine(&file)
}

fn found(file: &[u8]) -> Vec<(Library, Vec<(Hook, u64)>)> {
    let points = |found: Found| found.points.into_iter().map(|point| (point.hook, point.offset)).collect();
    examined(file).libraries.into_iter().map(|found| (found.library, points(found))).collect()
}

fn reasons(file: &[u8]) -> Vec<(Option<Library>, Reason)> {
    examined(file).refused.into_iter().map(|refusal| (refusal.library, refusal.reason)).collect()
}

/// An OpenSSL of version 3.0.11, with a name that ends as a wanted one does, and one that begins so.
fn openssl() -> Vec<u8> {
    let names = ["my_d2i_X509", "d2i_X509_bio", "d2i_X509", "X509_STORE_CTX_get_error", "i2d_X509"];
    with_symbols(
        &names.map(|name| Symbol(name, true, STT_FUNC)),
        b"since OpenSSL 3.0\0OpenSSL 3.0.11 19 Sep 2023\0extended master secret\0",
    )
}

#[test]
fn functions_are_found_where_they_are() {
    let points = vec![(Hook::OpenSslPeer, 48), (Hook::OpenSslOwn, 80), (Hook::OpenSslVerifyResult, 64)];
    assert_eq!(found(&openssl()), [(Library::OpenSsl, points)]);
    let examination = examined(&openssl());
    assert_eq!(examination.libraries[0].version.as_deref(), Some("3.0.11"));
    assert_eq!(examination.refused, []);
}

#[test]
fn what_is_only_called_or_is_data_is_not_probed() {
    let file =
        with_symbols(&[Symbol("d2i_X509", false, STT_FUNC), Symbol("i2d_X509", true, STT_OBJECT)], b"");
    assert_eq!(examined(&file), Examination::default());
}

#[test]
fn boringssl_is_not_taken_for_openssl() {
    let names = ["d2i_X509", "X509_verify_cert", "CRYPTO_BUFFER_new", "CRYPTO_BUFFER_new_from_CBS"];
    let file = with_symbols(&names.map(|name| Symbol(name, true, STT_FUNC)), b"");
    let points = vec![(Hook::OpenSslVerify, 32), (Hook::BoringSslFromCbs, 64), (Hook::BoringSslNew, 48)];
    assert_eq!(found(&file), [(Library::BoringSsl, points)]);
}

#[test]
fn boringssl_is_known_by_the_beginning_of_a_mangled_name() {
    let names = [
        "CRYPTO_BUFFER_new",
        "_ZN4bssl15tls_add_messageEP6ssl_stNS_5ArrayIhEE",
        "_ZN4bssl15tls_add_messageEPNS_7SSLImplENS_5ArrayIhEE",
        "_ZN4bssl17dtls1_add_messageEP6ssl_stNS_5ArrayIhEE",
        "_ZN5other_ZN4bssl15tls_add_messageE",
    ];
    let file = with_symbols(&names.map(|name| Symbol(name, true, STT_FUNC)), b"");
    let points = vec![(Hook::BoringSslNew, 16), (Hook::BoringSslSend, 32), (Hook::BoringSslSend, 48)];
    assert_eq!(found(&file), [(Library::BoringSsl, points)]);
}

#[test]
fn a_library_that_hides_its_own_certificates_is_told() {
    let hides = |names: &[&'static str]| {
        let symbols: Vec<_> = names.iter().map(|name| Symbol(name, true, STT_FUNC)).collect();
        let libraries = examined(&with_symbols(&symbols, b"")).libraries;
        libraries.iter().map(Found::hides_own).collect::<Vec<_>>()
    };
    let send = "_ZN4bssl15tls_add_messageEP6ssl_stNS_5ArrayIhEE";
    assert_eq!(hides(&["CRYPTO_BUFFER_new", "CRYPTO_BUFFER_new_from_CBS"]), [true]);
    assert_eq!(hides(&["CRYPTO_BUFFER_new", send]), [false]);
    assert_eq!(hides(&["d2i_X509"]), [true]);
    assert_eq!(hides(&["d2i_X509", "i2d_X509"]), [false]);
    // NSS shows them in another file.
    assert_eq!(hides(&["CERT_NewTempCertificate"]), [false]);
}

#[test]
fn every_library_is_told_from_the_others() {
    let names =
        ["gnutls_pcert_import_x509_raw", "CERT_NewTempCertificate", "SSL_AuthCertificate", "_dl_debug_state"];
    let file = with_symbols(&names.map(|name| Symbol(name, true, STT_FUNC)), b"");
    assert_eq!(
        found(&file),
        [
            (Library::GnuTls, vec![(Hook::GnuTlsPeer, 16)]),
            (Library::Nss, vec![(Hook::NssPeer, 32), (Hook::NssVerify, 48)]),
        ]
    );
    assert_eq!(examined(&file).linker, Some(Point { hook: Hook::LinkerState, offset: 64 }));
}

#[test]
fn what_there_is_more_of_than_is_read_is_told() {
    let file = with_symbols(&["d2i_X509"; 3].map(|name| Symbol(name, true, STT_FUNC)), b"");
    assert_eq!(found(&file), [(Library::OpenSsl, vec![(Hook::OpenSslPeer, 16), (Hook::OpenSslPeer, 32)])]);
    assert_eq!(reasons(&file), [(None, Reason::MoreThanRead("functions of TLS libraries"))]);
    let names: Vec<_> = (0..5000).map(|_| Symbol("18verify_server_cert", true, STT_FUNC)).collect();
    let file = with_symbols(&names, b"");
    assert_eq!(reasons(&file), [(None, Reason::MoreThanRead("mangled names"))]);
    assert_eq!(reasons(&with_symbols(&names[..100], b"")), []);
}

#[test]
fn rustls_is_found_in_both_manglings() {
    let names = [
        "_ZN95_$LT$rustls..msgs..handshake..CertificatePayloadTls13$u20$as$u20$rustls..msgs..codec..Codec$GT$4read17ha97820212f35fc57E",
        "_ZN95_$LT$rustls..msgs..handshake..CertificatePayloadTls13$u20$as$u20$rustls..msgs..codec..Codec$GT$6encode17h9d7a33cf0e3adac9E",
        "_ZN108_$LT$rustls..webpki..server_verifier..WebPkiServerVerifier$u20$as$u20$rustls..verify..ServerCertVerifier$GT$18verify_server_cert17h318f84028272380aE",
        "_ZN108_$LT$rustls..webpki..client_verifier..WebPkiClientVerifier$u20$as$u20$rustls..verify..ClientCertVerifier$GT$18verify_client_cert28_$u7b$$u7b$closure$u7d$$u7d$17h60a8ae0faec85c7fE",
        "_ZN83_$LT$rustls..verify..NoClientAuth$u20$as$u20$rustls..verify..ClientCertVerifier$GT$18verify_client_cert17ha13ae61f15a70275E",
        "_RNvXs1g_NtNtCshR2KMEa7eYC_6rustls4msgs9handshakeNtB6_23CertificatePayloadTls13NtNtB8_5codec5Codec4read",
        "_RNvXs9_NtCsbfzTGoqq0TK_6rustls6verifyNtB5_27AllowAnyAuthenticatedClientNtB5_18ClientCertVerifier18verify_client_cert",
        "_RNvXsW_NtNtCsbfzTGoqq0TK_6rustls4msgs9handshakeNtB5_23CertificatePayloadTLS13NtNtB7_5codec5Codec4read",
        "_ZN6rustls12common_state11CommonState8send_msg17h7f5d1f6c0ac9d4e7E",
        "_RNvMs_NtCsbfzTGoqq0TK_6rustls12common_stateNtB4_11CommonState8send_msg",
        "_ZN6rustls12common_state11CommonState16send_msg_encrypt17h7f5d1f6c0ac9d4e7E",
    ];
    let file = with_symbols(
        &names.map(|name| Symbol(name, true, STT_FUNC)),
        b"/registry/src/rustls-0.23.46/src/conn.rs/registry/src/rustls-0.23.46/src/x.rs",
    );
    let points = vec![
        (Hook::RustlsPayload13, 16),
        (Hook::RustlsPayload13, 96),
        (Hook::RustlsPayload13, 128),
        (Hook::RustlsVerify, 48),
        (Hook::RustlsVerify, 112),
        (Hook::RustlsSend, 144),
        (Hook::RustlsSend, 160),
    ];
    assert_eq!(found(&file), [(Library::Rustls, points)]);
    assert_eq!(examined(&file).libraries[0].version.as_deref(), Some("0.23.46"));
}

#[test]
fn a_program_without_symbols_is_told_from_one_without_tls() {
    let labels = b"OpenSSL 3.5.4 30 Sep 2025\0key expansion\0extended master secret\0";
    let stripped = |library| vec![(library, Reason::Stripped)];
    assert_eq!(reasons(&with_symbols(&[], labels)), stripped(Some(Library::OpenSsl)));
    assert_eq!(reasons(&with_symbols(&[], b"CLIENT_HANDSHAKE_TRAFFIC_SECRET")), stripped(None));
    assert_eq!(
        reasons(&with_symbols(&[], b"(compatible; BoringSSL) OpenSSL 1.1.1 extended master secret")),
        stripped(Some(Library::BoringSsl))
    );
    assert_eq!(reasons(&with_symbols(&[], b"built with OpenSSL 3.5.4")), []);
    // libssl has the labels; libcrypto, which it calls, is what is probed.
    assert_eq!(reasons(&with_symbols(&[Symbol("d2i_X509", false, STT_FUNC)], labels)), []);
    assert_eq!(
        reasons(&with_symbols(
            &[Symbol("d2i_X509", false, STT_FUNC)],
            b"/rustls-0.23.46/ extended master secret"
        )),
        stripped(Some(Library::Rustls))
    );
}

#[test]
fn labels_are_found_without_section_headers() {
    let mut file = with_symbols(&[], b"extended master secret");
    // The segment is read-only here, as that of the constants is.
    file[64 + 4] = object::elf::PF_R as u8;
    file[40..48].fill(0);
    file[60..64].fill(0);
    assert_eq!(reasons(&file), [(None, Reason::Stripped)]);
}

#[test]
fn a_virtual_machine_is_named() {
    let file = with_symbols(&[Symbol("JNI_CreateJavaVM", true, STT_FUNC)], b"");
    assert_eq!(reasons(&file), [(None, Reason::CompiledWhileRunning)]);
}

#[test]
fn other_files_are_refused_with_their_reason() {
    assert_eq!(reasons(b""), [(None, Reason::NotElf)]);
    assert_eq!(reasons(&[b'#'; 4096]), [(None, Reason::NotElf)]);
    let mut other = openssl();
    other[18] = object::elf::EM_AARCH64 as u8;
    assert_eq!(reasons(&other), [(None, Reason::OtherArchitecture)]);
    let cut = &openssl()[..500];
    assert!(matches!(reasons(cut)[..], [(None, Reason::Damaged(_))]), "{:?}", reasons(cut));
}

/// A file that says of itself that it is longer than memory.
struct Endless(Vec<u8>);

impl Source for Endless {
    fn length(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let start = self.0.len().min(usize::try_from(offset).unwrap_or(usize::MAX));
        let own = into.len().min(self.0.len() - start);
        into[..own].copy_from_slice(&self.0[start..start + own]);
        into[own..].fill(0);
        Ok(())
    }
}

#[test]
fn a_table_without_end_is_not_read_to_its_end() {
    let mut file = with_symbols(&[Symbol("d2i_X509", true, STT_FUNC)], b"");
    let headers = u64::from_le_bytes(file[40..48].try_into().unwrap()) as usize;
    // sh_size of .dynstr.
    file[headers + 2 * 64 + 32..][..8].fill(0x7f);
    assert_eq!(examine(&Endless(file)).refused, [Refusal { library: None, reason: Reason::TooLarge }]);
}

#[test]
fn no_prefix_breaks_anything() {
    for file in [openssl(), go::program("go1.27.1", 0)] {
        for end in 0..file.len() {
            fuzz::fuzz(&file[..end]);
        }
    }
}

proptest! {
    #[test]
    fn no_change_breaks_anything(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12)) {
        for mut file in [openssl(), go::program("go1.27.1", 0), go::program("go1.19", image::BASE)] {
            for (at, byte) in &changes {
                let at = at.index(file.len());
                file[at] = *byte;
            }
            fuzz::fuzz(&file);
        }
    }

    #[test]
    fn no_bytes_break_anything(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        fuzz::fuzz(&bytes);
        let mut file = openssl();
        file.splice(16.., bytes);
        fuzz::fuzz(&file);
    }
}
