//! rustls 0.21 with its default verifiers.

use std::sync::Arc;

use anyhow::Result;
use countersign_rustls_peers::{Options, SERVER_NAME, ask, serve};
use rustls21::server::AllowAnyAuthenticatedClient;
use rustls21::version::TLS13;
use rustls21::{
    Certificate, ClientConfig, ClientConnection, PrivateKey, RootCertStore, ServerConfig, ServerConnection,
    ServerName, StreamOwned,
};

fn main() -> Result<()> {
    let options = Options::read()?;
    let mut roots = RootCertStore::empty();
    roots.add(&Certificate(options.authority.to_vec()))?;
    let chain = options.chain.iter().map(|certificate| Certificate(certificate.to_vec())).collect();
    let key = PrivateKey(options.key.secret_der().to_vec());
    if options.server {
        let config = ServerConfig::builder()
            .with_safe_default_cipher_suites()
            .with_safe_default_kx_groups()
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(AllowAnyAuthenticatedClient::new(roots).boxed())
            .with_single_cert(chain, key)?;
        let config = Arc::new(config);
        return serve(&options, |stream| {
            Ok(StreamOwned::new(ServerConnection::new(Arc::clone(&config))?, stream))
        });
    }
    let config = ClientConfig::builder()
        .with_safe_default_cipher_suites()
        .with_safe_default_kx_groups()
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)?;
    let config = Arc::new(config);
    let name = ServerName::try_from(SERVER_NAME)?;
    ask(&options, |stream| {
        Ok(StreamOwned::new(ClientConnection::new(Arc::clone(&config), name.clone())?, stream))
    })
}
