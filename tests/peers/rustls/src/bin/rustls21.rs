//! rustls 0.21 with its default verifiers.

use std::sync::Arc;

use anyhow::{Context, Result};
use countersign_rustls_peers::{Identity, Options, SERVER_NAME, ask, serve};
use rustls21::server::AllowAnyAuthenticatedClient;
use rustls21::version::{TLS12, TLS13};
use rustls21::{
    Certificate, ClientConfig, ClientConnection, PrivateKey, RootCertStore, ServerConfig, ServerConnection,
    ServerName, StreamOwned,
};

fn main() -> Result<()> {
    let options = Options::read()?;
    let mut roots = RootCertStore::empty();
    roots.add(&Certificate(options.authority.to_vec()))?;
    let versions = if options.old { [&TLS12] } else { [&TLS13] };
    if options.server {
        let (chain, key) = own(options.identities.first().context("no CHAIN")?);
        let config = ServerConfig::builder()
            .with_safe_default_cipher_suites()
            .with_safe_default_kx_groups()
            .with_protocol_versions(&versions)?
            .with_client_cert_verifier(AllowAnyAuthenticatedClient::new(roots).boxed())
            .with_single_cert(chain, key)?;
        let config = Arc::new(config);
        return serve(&options, |stream| {
            Ok(StreamOwned::new(ServerConnection::new(Arc::clone(&config))?, stream))
        });
    }
    let name = ServerName::try_from(SERVER_NAME)?;
    let configure = |shown: &Identity| {
        let (chain, key) = own(shown);
        let config = ClientConfig::builder()
            .with_safe_default_cipher_suites()
            .with_safe_default_kx_groups()
            .with_protocol_versions(&versions)?
            .with_root_certificates(roots.clone())
            .with_client_auth_cert(chain, key)?;
        Ok(Arc::new(config))
    };
    ask(&options, configure, |stream, config| {
        Ok(StreamOwned::new(ClientConnection::new(Arc::clone(config), name.clone())?, stream))
    })
}

fn own(identity: &Identity) -> (Vec<Certificate>, PrivateKey) {
    let chain = identity.chain.iter().map(|certificate| Certificate(certificate.to_vec())).collect();
    (chain, PrivateKey(identity.key.secret_der().to_vec()))
}
