//! Probes of GnuTLS and NSS.

use super::{
    library::{
        Folder, Presented, all, end, linked, list, party, probe, run, runs_of, serve, socket_on, strings,
        verdicts_of, verifications_of, whole,
    },
    roomy, source,
};
use crate::{
    event::{LibraryForm, LibraryVerdict, Role},
    library::Hook,
};

/// GNUTLS_CERT_INVALID and GNUTLS_CERT_SIGNER_NOT_FOUND (gnutls/gnutls.h).
const GNUTLS_UNKNOWN_ISSUER: i32 = 1 << 1 | 1 << 6;

#[test]
fn gnutls_shows_the_list_of_tls12_and_the_chain_of_tls13_while_it_verifies() {
    let Some(mut source) = source(&roomy()) else { return };
    let hooks = [
        (Hook::GnuTlsPeer, "gnutls_pcert_import_x509_raw"),
        (Hook::GnuTlsImport, "gnutls_x509_crt_import"),
        (Hook::GnuTlsVerifyPeers, "gnutls_certificate_verify_peers"),
        (Hook::GnuTlsVerifyPeers2, "gnutls_certificate_verify_peers2"),
        (Hook::GnuTlsVerifyPeers3, "gnutls_certificate_verify_peers3"),
    ];
    let _probed = probe(&mut source, &linked("/usr/bin/gnutls-cli", "libgnutls.so"), &hooks);
    let folder = Folder::new();
    let server = party(&folder, "server", Presented::WithoutRoot);
    let other = party(&folder, "other", Presented::SelfSigned);
    for version in ["TLS1.2", "TLS1.3"] {
        let cases = [
            (&server.root, LibraryVerdict::Verified),
            (&other.root, LibraryVerdict::Failed { code: GNUTLS_UNKNOWN_ISSUER }),
        ];
        for (root, verdict) in cases {
            let (serving, port) = serve(&server.options);
            let (port_text, priority) = (port.to_string(), format!("NORMAL:-VERS-ALL:+VERS-{version}"));
            let options = [
                "-p",
                &port_text,
                "--priority",
                &priority,
                "--x509cafile",
                root,
                "--verify-hostname=server",
                "127.0.0.1",
            ];
            let client = run("/usr/bin/gnutls-cli", &strings(&options));
            end(serving);
            let events = all(&mut source);
            let runs = runs_of(&events, client);
            let shown: Vec<_> = runs.iter().map(|run| (run.form, run.bytes.to_vec())).collect();
            let leaf = (LibraryForm::Leaf, server.chain[0].clone());
            let copies = if version == "TLS1.2" {
                assert_eq!(shown[0], (LibraryForm::List, list(&server.chain, &[])));
                &shown[1..]
            } else {
                &shown
            };
            let chain = [leaf.clone(), (LibraryForm::Following, server.chain[1].clone())];
            let at = copies.windows(2).position(|copies| copies == chain).expect(version);
            let others = [&copies[..at], &copies[at + 2..]].concat();
            assert!(others.iter().all(|copy| *copy == leaf), "{version}");
            assert_eq!(verdicts_of(&events, client), [verdict], "{version}");
            let socket = socket_on(&events, Role::Client, port);
            assert_eq!(runs[0].call.socket.unwrap().socket, socket);
            assert_eq!(verifications_of(&events, client)[0].call.socket.unwrap().socket, socket);
        }
    }
}

#[test]
fn nss_shows_the_list_and_what_it_thinks_of_it() {
    let Some(mut source) = source(&roomy()) else { return };
    let hooks = [(Hook::NssPeer, "CERT_NewTempCertificate")];
    let _peer = probe(&mut source, &linked("/usr/bin/tstclnt", "libnss3"), &hooks);
    let _verify = probe(
        &mut source,
        &linked("/usr/bin/tstclnt", "libssl3"),
        &[(Hook::NssVerify, "SSL_AuthCertificate")],
    );
    let folder = Folder::new();
    let server = party(&folder, "server", Presented::WithoutRoot);
    let database = format!("sql:{}", folder.path().display());
    run("/usr/bin/certutil", &strings(&["-N", "-d", &database, "--empty-password"]));
    for trusted in [false, true] {
        if trusted {
            let options = ["-A", "-d", &database, "-n", "root", "-t", "C,,", "-i", &server.root];
            run("/usr/bin/certutil", &strings(&options));
        }
        let (serving, port) = serve(&server.options);
        let port_text = port.to_string();
        // It talks to the address and asks for the name.
        let options = ["-h", "127.0.0.1", "-a", "server", "-p", &port_text, "-d", &database, "-Q"];
        let client = run("/usr/bin/tstclnt", &strings(&options));
        end(serving);
        let events = all(&mut source);
        let runs = runs_of(&events, client);
        assert_eq!((runs[0].form, whole(&runs)), (LibraryForm::List, list(&server.chain, &[0, 0])));
        assert_eq!(runs[0].call.socket.unwrap().socket, socket_on(&events, Role::Client, port));
        let verdict = if trusted { LibraryVerdict::Verified } else { LibraryVerdict::Failed { code: 0 } };
        assert_eq!(verdicts_of(&events, client), [verdict]);
    }
}
