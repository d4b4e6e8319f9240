//! rustls 0.23 with its default verifiers.

use std::sync::Arc;

use anyhow::Result;
use countersign_rustls_peers::{Options, SERVER_NAME, ask, serve};
use rustls_pki_types::ServerName;
use rustls23::server::WebPkiClientVerifier;
use rustls23::version::TLS13;
use rustls23::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

fn main() -> Result<()> {
    let options = Options::read()?;
    let mut roots = RootCertStore::empty();
    roots.add(options.authority.clone())?;
    let (chain, key) = (options.chain.clone(), options.key.clone_key());
    if options.server {
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
        let config = ServerConfig::builder_with_protocol_versions(&[&TLS13])
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)?;
        let config = Arc::new(config);
        return serve(&options, |stream| {
            Ok(StreamOwned::new(ServerConnection::new(Arc::clone(&config))?, stream))
        });
    }
    let config = ClientConfig::builder_with_protocol_versions(&[&TLS13])
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    let config = Arc::new(config);
    let name = ServerName::try_from(SERVER_NAME)?;
    ask(&options, |stream| {
        Ok(StreamOwned::new(ClientConnection::new(Arc::clone(&config), name.clone())?, stream))
    })
}
