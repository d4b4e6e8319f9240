//! rustls 0.23 with its default verifiers.

use std::sync::Arc;

use anyhow::{Context, Result};
use countersign_rustls_peers::{Identity, Options, SERVER_NAME, ask, serve};
use rustls_pki_types::ServerName;
use rustls23::server::WebPkiClientVerifier;
use rustls23::version::{TLS12, TLS13};
use rustls23::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};

fn main() -> Result<()> {
    let options = Options::read()?;
    let mut roots = RootCertStore::empty();
    roots.add(options.authority.clone())?;
    let versions = if options.old { [&TLS12] } else { [&TLS13] };
    if options.server {
        let shown = options.identities.first().context("no CHAIN")?;
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
        let config = ServerConfig::builder_with_protocol_versions(&versions)
            .with_client_cert_verifier(verifier)
            .with_single_cert(shown.chain.clone(), shown.key.clone_key())?;
        let config = Arc::new(config);
        return serve(&options, |stream| {
            Ok(StreamOwned::new(ServerConnection::new(Arc::clone(&config))?, stream))
        });
    }
    let name = ServerName::try_from(SERVER_NAME)?;
    let configure = |shown: &Identity| {
        let config = ClientConfig::builder_with_protocol_versions(&versions)
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(shown.chain.clone(), shown.key.clone_key())?;
        Ok(Arc::new(config))
    };
    ask(&options, configure, |stream, config| {
        Ok(StreamOwned::new(ClientConnection::new(Arc::clone(config), name.clone())?, stream))
    })
}
