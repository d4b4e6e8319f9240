//! Probes of GnuTLS and NSS.

use std::fs::File;
use std::path::Path;

use super::{
    library::{
        Folder, Presented, all, end, linked, list, party, probe, run, runs_of, serve, socket_on, strings,
        verdicts_of, verifications_of, whole,
    },
    roomy, source,
};
use crate::{
    event::{LibraryForm, LibraryVerdict, Presenter, Role},
    kernel::{KernelSource, Probed},
    library::{Hook, examine},
};

/// GNUTLS_CERT_INVALID and GNUTLS_CERT_SIGNER_NOT_FOUND (gnutls/gnutls.h).
const GNUTLS_UNKNOWN_ISSUER: i32 = 1 << 1 | 1 << 6;

#[test]
fn gnutls_shows_the_lists_of_both_sides() {
    let Some(mut source) = source(&roomy()) else { return };
    let hooks = [
        (Hook::GnuTlsPeer, "gnutls_pcert_import_x509_raw"),
        (Hook::GnuTlsHash, "gnutls_hash_fast"),
        (Hook::GnuTlsSign, "gnutls_privkey_sign_data2"),
        (Hook::GnuTlsVerifySignature, "gnutls_pubkey_verify_data2"),
        (Hook::GnuTlsVerifyPeers, "gnutls_certificate_verify_peers"),
        (Hook::GnuTlsVerifyPeers2, "gnutls_certificate_verify_peers2"),
        (Hook::GnuTlsVerifyPeers3, "gnutls_certificate_verify_peers3"),
    ];
    let _probed = probe(&mut source, &linked("/usr/bin/gnutls-cli", "libgnutls.so"), &hooks);
    let folder = Folder::new();
    let server = party(&folder, "server", Presented::WithoutRoot);
    let own = party(&folder, "client", Presented::WithoutRoot);
    let other = party(&folder, "other", Presented::SelfSigned);
    for (version, extensions) in [("TLS1.2", &[][..]), ("TLS1.3", &[0, 0])] {
        let cases = [
            (&server.root, LibraryVerdict::Verified),
            (&other.root, LibraryVerdict::Failed { code: GNUTLS_UNKNOWN_ISSUER }),
        ];
        for (root, verdict) in cases {
            let asks = strings(&["-Verify", "3", "-CAfile", &own.root]);
            let (serving, port) = serve(&[server.options.clone(), asks].concat());
            let (port_text, priority) = (port.to_string(), format!("NORMAL:-VERS-ALL:+VERS-{version}"));
            let options = [
                "-p",
                &port_text,
                "--priority",
                &priority,
                "--x509cafile",
                root,
                "--x509certfile",
                &own.presented,
                "--x509keyfile",
                &own.key,
                "--verify-hostname=server",
                "127.0.0.1",
            ];
            let client = run("/usr/bin/gnutls-cli", &strings(&options));
            end(serving);
            let events = all(&mut source);
            let runs = runs_of(&events, client);
            let shown = |presenter| {
                let of = runs.iter().filter(move |run| run.presenter == presenter);
                of.map(|run| (run.form, run.bytes.to_vec())).collect::<Vec<_>>()
            };
            let (mut lists, copies): (Vec<_>, Vec<_>) =
                shown(Presenter::Peer).into_iter().partition(|(form, _)| *form == LibraryForm::List);
            lists.dedup();
            assert_eq!(lists, [(LibraryForm::List, list(&server.chain, extensions))], "{version}");
            let leaf = (LibraryForm::Leaf, server.chain[0].clone());
            assert!(copies.iter().all(|copy| *copy == leaf), "{version}");
            // Of older versions the wire shows it, and who does not trust the server says nothing.
            let sent = if version == "TLS1.3" && verdict == LibraryVerdict::Verified {
                vec![(LibraryForm::List, list(&own.chain, extensions))]
            } else {
                vec![]
            };
            assert_eq!(shown(Presenter::Own), sent, "{version}");
            assert_eq!(verdicts_of(&events, client), [verdict], "{version}");
            let socket = socket_on(&events, Role::Client, port);
            assert!(runs.iter().all(|run| run.call.socket.unwrap().socket == socket));
            assert_eq!(verifications_of(&events, client)[0].call.socket.unwrap().socket, socket);
        }
    }
}

/// Attaches the softoken beside NSS' library, whose function has no symbol.
fn probe_softoken(source: &mut KernelSource, library: &Path) -> Probed {
    let beside = ["libsoftokn3.so", "nss/libsoftokn3.so"].map(|name| library.with_file_name(name));
    let file = beside.iter().find(|file| file.exists()).unwrap();
    let [found] = &examine(&File::open(file).unwrap()).libraries[..] else { panic!("no softoken") };
    let probed = source.prober().probe(file, &found.points);
    assert!(probed.refused().is_empty(), "{:?}", probed.refused());
    probed
}

#[test]
fn nss_shows_the_lists_of_both_sides_and_what_it_thinks_of_the_peers() {
    let Some(mut source) = source(&roomy()) else { return };
    let (library, hooks) =
        (linked("/usr/bin/tstclnt", "libnss3"), [(Hook::NssPeer, "CERT_NewTempCertificate")]);
    let _peer = probe(&mut source, &library, &hooks);
    let _digest = probe_softoken(&mut source, &library);
    let _verify = probe(
        &mut source,
        &linked("/usr/bin/tstclnt", "libssl3"),
        &[(Hook::NssVerify, "SSL_AuthCertificate")],
    );
    let folder = Folder::new();
    let server = party(&folder, "server", Presented::WithoutRoot);
    let own = party(&folder, "client", Presented::WithoutRoot);
    let database = format!("sql:{}", folder.path().display());
    run("/usr/bin/certutil", &strings(&["-N", "-d", &database, "--empty-password"]));
    let archive = folder.path().join("own.p12").display().to_string();
    let export = ["pkcs12", "-export", "-name", "own", "-passout", "pass:", "-in", &own.presented];
    run("/usr/bin/openssl", &[strings(&export), strings(&["-inkey", &own.key, "-out", &archive])].concat());
    run("/usr/bin/pk12util", &strings(&["-W", "", "-d", &database, "-i", &archive]));
    for trusted in [false, true] {
        if trusted {
            let options = ["-A", "-d", &database, "-n", "root", "-t", "C,,", "-i", &server.root];
            run("/usr/bin/certutil", &strings(&options));
        }
        let asks = strings(&["-Verify", "3", "-CAfile", &own.root]);
        let (serving, port) = serve(&[server.options.clone(), asks].concat());
        let port_text = port.to_string();
        // It talks to the address and asks for the name.
        let options =
            ["-h", "127.0.0.1", "-a", "server", "-p", &port_text, "-d", &database, "-n", "own", "-Q"];
        let client = run("/usr/bin/tstclnt", &strings(&options));
        end(serving);
        let events = all(&mut source);
        let (runs, sent): (Vec<_>, Vec<_>) =
            runs_of(&events, client).into_iter().partition(|run| run.presenter == Presenter::Peer);
        // When it is hashed, and when it is parsed.
        let received: Vec<_> = runs.iter().map(|run| (run.form, whole(&[*run]))).collect();
        assert_eq!(received, vec![(LibraryForm::List, list(&server.chain, &[0, 0])); 2]);
        let sent: Vec<_> = sent.iter().map(|run| (run.form, run.bytes.to_vec())).collect();
        let [leaf, issuer] = [0, 1].map(|position| own.chain[position].clone());
        let chain = [(LibraryForm::Leaf, leaf), (LibraryForm::Following, issuer)];
        // Who does not trust the server says nothing.
        assert_eq!(sent, if trusted { &chain[..] } else { &[] });
        assert_eq!(runs[0].call.socket.unwrap().socket, socket_on(&events, Role::Client, port));
        let verdict = if trusted { LibraryVerdict::Verified } else { LibraryVerdict::Failed { code: 0 } };
        assert_eq!(verdicts_of(&events, client), [verdict]);
    }
}
