//! The certificates of the capture: two roots, two intermediates below each, and the leaves.

use std::process::Command;

use anyhow::{Context, Result};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::mix::{CLIENTS, SERVERS, rsa_of};
use crate::process;

/// RSA keys, shared by the RSA leaves: making one takes a tenth of a second, and nothing looks at it twice.
const RSA_KEYS: usize = 6;
/// Names of a server besides its own: a usual number, so that its certificate has a usual size.
const FURTHER_NAMES: usize = 3;

/// What a peer proves itself with.
pub struct Identity {
    /// Leaf first, without the root.
    pub chain: Vec<CertificateDer<'static>>,
    /// PKCS#8.
    key: Vec<u8>,
}

impl Identity {
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}

/// All of them.
pub struct Identities {
    pub roots: RootCertStore,
    pub servers: Vec<Identity>,
    pub clients: Vec<Identity>,
}

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A root's two intermediates, the second below the first.
struct Hierarchy {
    root: Authority,
    issuing: Authority,
    regional: Authority,
}

impl Identities {
    /// Makes them anew.
    pub fn make() -> Result<Self> {
        let rsa_keys: Vec<Vec<u8>> = (0..RSA_KEYS).map(|_| rsa_key()).collect::<Result<_>>()?;
        let rsa = |number: usize| rsa_keys.get(number % RSA_KEYS).cloned().unwrap_or_default();
        let ecdsa_authorities = Hierarchy::make("ECDSA", || Ok(KeyPair::generate()?))?;
        let rsa_authorities = Hierarchy::make("RSA", || Ok(KeyPair::try_from(rsa(0))?))?;
        let mut roots = RootCertStore::empty();
        for hierarchy in [&ecdsa_authorities, &rsa_authorities] {
            roots.add(hierarchy.root.as_ref().der().clone())?;
        }
        let of = |number: usize, count: usize| -> Result<(&Hierarchy, KeyPair)> {
            if number < rsa_of(count) {
                Ok((&rsa_authorities, KeyPair::try_from(rsa(number))?))
            } else {
                Ok((&ecdsa_authorities, KeyPair::generate()?))
            }
        };
        let servers = (0..SERVERS).map(|number| {
            let (authorities, key) = of(number, SERVERS)?;
            authorities.issue(server(number)?, key, false)
        });
        let clients = (0..CLIENTS).map(|number| {
            let (authorities, key) = of(number, CLIENTS)?;
            // A third of the clients sends three certificates.
            authorities.issue(client(number)?, key, number % 3 == 0)
        });
        Ok(Self { roots, servers: servers.collect::<Result<_>>()?, clients: clients.collect::<Result<_>>()? })
    }
}

impl Hierarchy {
    fn make(kind: &str, key: impl Fn() -> Result<KeyPair>) -> Result<Self> {
        let name = |role: &str| authority(&format!("Benchmark {kind} {role}"));
        let root = CertifiedIssuer::self_signed(name("Root"), key()?)?;
        let issuing = CertifiedIssuer::signed_by(name("Issuing CA"), key()?, &root)?;
        let regional = CertifiedIssuer::signed_by(name("Regional CA"), key()?, &issuing)?;
        Ok(Self { root, issuing, regional })
    }

    fn issue(&self, params: CertificateParams, key: KeyPair, regional: bool) -> Result<Identity> {
        let der = |authority: &Authority| authority.as_ref().der().clone();
        let chain = if regional {
            let leaf = params.signed_by(&key, &self.regional)?;
            vec![leaf.der().clone(), der(&self.regional), der(&self.issuing)]
        } else {
            let leaf = params.signed_by(&key, &self.issuing)?;
            vec![leaf.der().clone(), der(&self.issuing)]
        };
        Ok(Identity { chain, key: key.serialize_der() })
    }
}

/// The name under which clients know a server.
pub fn server_name(number: usize) -> String {
    format!("service-{number}.bench.example")
}

fn server(number: usize) -> Result<CertificateParams> {
    let name = server_name(number);
    let further = (0..FURTHER_NAMES).map(|further| format!("replica-{further}.{name}"));
    let names: Vec<String> = std::iter::once(name.clone()).chain(further).collect();
    let mut params = CertificateParams::new(names)?;
    describe(&mut params, &name, ExtendedKeyUsagePurpose::ServerAuth);
    Ok(params)
}

fn client(number: usize) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    let name = format!("spiffe://bench.example/ns/team-{}/sa/client-{number}", number % 7);
    params.subject_alt_names.push(SanType::URI(Ia5String::try_from(name)?));
    describe(&mut params, &format!("client-{number}"), ExtendedKeyUsagePurpose::ClientAuth);
    Ok(params)
}

fn describe(params: &mut CertificateParams, name: &str, usage: ExtendedKeyUsagePurpose) {
    params.distinguished_name.push(DnType::OrganizationName, "Benchmark");
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2080, 1, 1);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, "Benchmark");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// An RSA key in PKCS#8, from openssl: ring makes none.
fn rsa_key() -> Result<Vec<u8>> {
    let pem = process::output_of(Command::new("openssl").args([
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-quiet",
    ]))?;
    let key = KeyPair::from_pem(&pem).context("read the RSA key that openssl made")?;
    Ok(key.serialize_der())
}
