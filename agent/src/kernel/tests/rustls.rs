//! Probes of rustls in this program, which is both ends of its connections.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};

use super::{
    super::*,
    library::{Folder, Party, Presented, all, list, party, runs_of, socket_on, verifications_of, whole},
    roomy, source,
};
use crate::{
    event::{Library, LibraryCall, LibraryForm, LibraryVerdict, Presenter, Role, SocketBy},
    library::examine,
};

const PROGRAM: &str = "/proc/self/exe";

fn probe_rustls(source: &mut KernelSource) -> Probed {
    let examination = examine(&File::open(PROGRAM).unwrap());
    let [found] = &examination.libraries[..] else { panic!("{examination:?}") };
    assert_eq!(found.library, Library::Rustls);
    let probed = source.prober().probe(Path::new(PROGRAM), &found.points);
    assert!(probed.refused().is_empty(), "{:?}", probed.refused());
    probed
}

fn chain(party: &Party) -> Vec<CertificateDer<'static>> {
    party.chain.iter().cloned().map(CertificateDer::from).collect()
}

fn key(party: &Party) -> PrivateKeyDer<'static> {
    PrivateKeyDer::try_from(pem::parse(fs::read(&party.key).unwrap()).unwrap().into_contents()).unwrap()
}

fn roots(party: &Party) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let root = pem::parse(fs::read(&party.root).unwrap()).unwrap().into_contents();
    roots.add(CertificateDer::from(root)).unwrap();
    roots
}

/// One connection, each end in a thread of its own.
fn exchange(version: &'static rustls::SupportedProtocolVersion, client: &Party, server: &Party) -> u16 {
    let provider = Arc::new(default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(client)), provider.clone())
        .build()
        .unwrap();
    let serving = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(server), key(server))
        .unwrap();
    let connecting = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots(server))
        .with_client_auth_cert(chain(client), key(client))
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let served = std::thread::spawn(move || {
        let session = ServerConnection::new(Arc::new(serving)).unwrap();
        let mut stream = StreamOwned::new(session, listener.accept().unwrap().0);
        let mut asked = [0; 3];
        stream.read_exact(&mut asked).unwrap();
        stream.write_all(&asked).unwrap();
    });
    let session = ClientConnection::new(Arc::new(connecting), "server.test".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(session, TcpStream::connect(address).unwrap());
    stream.write_all(b"ask").unwrap();
    let mut answer = [0; 3];
    stream.read_exact(&mut answer).unwrap();
    served.join().unwrap();
    address.port()
}

#[test]
fn both_chains_are_read_at_both_ends_of_rustls() {
    let Some(mut source) = source(&roomy()) else { return };
    let _probed = probe_rustls(&mut source);
    let folder = Folder::new();
    let server = party(&folder, "server.test", Presented::WithoutRoot);
    let client = party(&folder, "client.test", Presented::WithRoot);
    for version in [&TLS13, &TLS12] {
        let port = exchange(version, &client, &server);
        let events = all(&mut source);
        let ends =
            [(Role::Client, &client.chain, &server.chain), (Role::Server, &server.chain, &client.chain)];
        for (role, own, peer) in ends {
            let what = format!("{:?} {role:?}", version.version);
            let socket = socket_on(&events, role, port);
            let joined = |call: LibraryCall| call.socket.is_some_and(|joined| joined.socket == socket);
            let mut runs = runs_of(&events, std::process::id());
            runs.retain(|run| joined(run.call));
            let mut verifications = verifications_of(&events, std::process::id());
            verifications.retain(|said| joined(said.call));
            let calls = runs.iter().map(|run| run.call).chain(verifications.iter().map(|said| said.call));
            for call in calls {
                assert_eq!((call.library, call.socket.unwrap().by), (Library::Rustls, SocketBy::LastReceive));
            }
            let (runs, sent): (Vec<_>, Vec<_>) =
                runs.into_iter().partition(|run| run.presenter == Presenter::Peer);
            assert!(!runs.is_empty(), "{what}");
            if version.version == rustls::ProtocolVersion::TLSv1_3 {
                assert!(sent.iter().all(|run| run.form == LibraryForm::List), "{what}");
                assert_eq!(whole(&sent), list(own, &[0, 0]), "{what}");
                assert!(runs.iter().all(|run| run.form == LibraryForm::List), "{what}");
                assert_eq!(whole(&runs), list(peer, &[0, 0]), "{what}");
            } else {
                assert!(sent.is_empty(), "{what}: the wire shows it");
                assert_eq!(runs[0].form, LibraryForm::Leaf, "{what}");
                assert!(runs[1..].iter().all(|run| run.form == LibraryForm::Following), "{what}");
                let seen: Vec<_> = runs.iter().map(|run| whole(&[*run])).collect();
                assert_eq!(&seen, peer, "{what}");
            }
            let verdicts: Vec<_> = verifications.iter().map(|said| said.verdict).collect();
            assert_eq!(verdicts, [LibraryVerdict::Attempted], "{what}");
        }
    }
}
