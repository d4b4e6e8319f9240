//! Keys and certificates, made anew for each run.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use sha2::{Digest, Sha256};

use crate::output_of;

/// A leaf with its key and the chain that is sent with it.
#[derive(Debug, Clone)]
pub struct Identity {
    /// PEM: leaf first, then intermediates.
    pub chain: PathBuf,
    /// PEM: the leaf alone.
    pub leaf: PathBuf,
    /// PEM: the intermediates alone.
    pub intermediates: PathBuf,
    /// PEM, PKCS#8.
    pub key: PathBuf,
    /// Lower-case hex SHA-256 of each certificate's DER, leaf first.
    pub fingerprints: Vec<String>,
    /// Length of the leaf's DER.
    pub leaf_length: usize,
}

/// All identities that the tests use.
#[derive(Debug)]
pub struct Pki {
    /// PEM: the root that peers trust.
    pub ca: PathBuf,
    /// Its fingerprint, as in [`Identity::fingerprints`].
    pub ca_fingerprint: String,
    /// ECDSA P-256.
    pub server: Identity,
    /// RSA 2048.
    pub server_rsa: Identity,
    /// Chain of 25 kB: many subject alternative names.
    pub server_large: Identity,
    /// Ended in 2020.
    pub server_expired: Identity,
    /// Begins in 2090.
    pub server_future: Identity,
    /// ECDSA P-256, for client authentication.
    pub client: Identity,
    /// Ended in 2020.
    pub client_expired: Identity,
    /// From a root that nobody trusts.
    pub client_untrusted: Identity,
    intermediate: Authority,
    directory: PathBuf,
    /// Groups of certificates of equal length so far.
    series: AtomicUsize,
}

#[derive(Debug)]
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn root(name: &str) -> Result<Self> {
        let issuer = CertifiedIssuer::self_signed(authority_params(name), KeyPair::generate()?)?;
        Ok(Self { issuer })
    }

    fn below(&self, name: &str) -> Result<Self> {
        let issuer = CertifiedIssuer::signed_by(authority_params(name), KeyPair::generate()?, &self.issuer)?;
        Ok(Self { issuer })
    }
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// What a leaf differs in.
struct Leaf<'a> {
    file: &'a str,
    name: &'a str,
    usage: ExtendedKeyUsagePurpose,
    years: (i32, i32),
    /// From now on, instead of to the end of those years.
    valid_for: Option<Duration>,
    extra_names: usize,
    /// Of an X.509-SVID, which is for both roles.
    spiffe_id: Option<&'a str>,
    key: Option<KeyPair>,
}

impl<'a> Leaf<'a> {
    fn server(file: &'a str) -> Self {
        let usage = ExtendedKeyUsagePurpose::ServerAuth;
        Self {
            file,
            name: crate::SERVER_NAME,
            usage,
            years: (2020, 2080),
            valid_for: None,
            extra_names: 0,
            spiffe_id: None,
            key: None,
        }
    }

    fn client(file: &'a str) -> Self {
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        Self {
            file,
            name: "client.test",
            usage,
            years: (2020, 2080),
            valid_for: None,
            extra_names: 0,
            spiffe_id: None,
            key: None,
        }
    }
}

impl Pki {
    /// Makes all keys and certificates below `directory`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn new(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let root = Authority::root("Countersign Test Root")?;
        let intermediate = root.below("Countersign Test Intermediate")?;
        let foreign = Authority::root("Foreign Root")?.below("Foreign Intermediate")?;
        let ca = directory.join("ca.pem");
        std::fs::write(&ca, root.issuer.pem())?;
        let rsa = KeyPair::from_pem(&output_of(Command::new("openssl").args([
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-quiet",
        ]))?)
        .context("read the RSA key that openssl made")?;
        let issue = |leaf: Leaf<'_>, authority: &Authority| issue(directory, leaf, authority);
        Ok(Self {
            ca,
            ca_fingerprint: fingerprint(root.issuer.der()),
            server: issue(Leaf::server("server"), &intermediate)?,
            server_rsa: issue(Leaf { key: Some(rsa), ..Leaf::server("server-rsa") }, &intermediate)?,
            server_large: issue(Leaf { extra_names: 780, ..Leaf::server("server-large") }, &intermediate)?,
            server_expired: issue(
                Leaf { years: (2010, 2020), ..Leaf::server("server-expired") },
                &intermediate,
            )?,
            server_future: issue(
                Leaf { years: (2090, 2099), ..Leaf::server("server-future") },
                &intermediate,
            )?,
            client: issue(Leaf::client("client"), &intermediate)?,
            client_expired: issue(
                Leaf { years: (2010, 2020), ..Leaf::client("client-expired") },
                &intermediate,
            )?,
            client_untrusted: issue(Leaf::client("client-untrusted"), &foreign)?,
            intermediate,
            directory: directory.to_owned(),
            series: AtomicUsize::new(0),
        })
    }

    /// A certificate with a SPIFFE ID, in files of this name.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn svid(&self, file: &str, id: &str) -> Result<Identity> {
        issue(&self.directory, Leaf { spiffe_id: Some(id), ..Leaf::client(file) }, &self.intermediate)
    }

    /// The same, valid for so long from now on.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn svid_for(&self, file: &str, id: &str, valid_for: Duration) -> Result<Identity> {
        let leaf = Leaf { spiffe_id: Some(id), valid_for: Some(valid_for), ..Leaf::client(file) };
        issue(&self.directory, leaf, &self.intermediate)
    }

    /// Client certificates of equal length, so that their sizes do not tell them apart.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn crowd(&self, count: usize) -> Result<Vec<Identity>> {
        self.alike(count, &Leaf::client("crowd"))
    }

    /// Server certificates of equal length.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn servers(&self, count: usize) -> Result<Vec<Identity>> {
        self.alike(count, &Leaf::server("server"))
    }

    /// In a folder of their own: tests that run at the same time have different ones.
    fn alike(&self, count: usize, template: &Leaf<'_>) -> Result<Vec<Identity>> {
        let series = self.series.fetch_add(1, Ordering::Relaxed);
        let folder = self.directory.join(format!("{}-{series}", template.file));
        std::fs::create_dir(&folder)?;
        let mut length = None;
        (0..count)
            .map(|number| {
                let file = format!("{}-{number:03}", template.file);
                loop {
                    // Serial number and signature are integers, whose encodings differ in length by a byte or two.
                    let usage = template.usage.clone();
                    let leaf = Leaf { file: &file, usage, key: None, ..*template };
                    let identity = issue(&folder, leaf, &self.intermediate)?;
                    if identity.leaf_length == *length.get_or_insert(identity.leaf_length) {
                        return Ok(identity);
                    }
                }
            })
            .collect()
    }
}

fn issue(directory: &Path, leaf: Leaf<'_>, authority: &Authority) -> Result<Identity> {
    let mut params = CertificateParams::new(vec![leaf.name.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, leaf.name);
    params.not_before = date_time_ymd(leaf.years.0, 1, 1);
    params.not_after = date_time_ymd(leaf.years.1, 1, 1);
    if let Some(valid_for) = leaf.valid_for {
        params.not_after = (SystemTime::now() + valid_for).into();
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![leaf.usage];
    params.use_authority_key_identifier_extension = true;
    if let Some(id) = leaf.spiffe_id {
        params.subject_alt_names = vec![SanType::URI(id.try_into()?)];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    }
    for number in 0..leaf.extra_names {
        let name = format!("name-{number:05}.large.server.test");
        params.subject_alt_names.push(SanType::DnsName(name.try_into()?));
    }
    let key = match leaf.key {
        Some(key) => key,
        None => KeyPair::generate()?,
    };
    let certificate = params.signed_by(&key, &authority.issuer)?;
    let write = |suffix: &str, text: &str| -> Result<PathBuf> {
        let path = directory.join(format!("{}{suffix}.pem", leaf.file));
        std::fs::write(&path, text)?;
        Ok(path)
    };
    let (own, above) = (certificate.pem(), authority.issuer.pem());
    Ok(Identity {
        chain: write("-chain", &format!("{own}{above}"))?,
        leaf: write("", &own)?,
        intermediates: write("-intermediates", &above)?,
        key: write("-key", &key.serialize_pem())?,
        fingerprints: vec![fingerprint(certificate.der()), fingerprint(authority.issuer.der())],
        leaf_length: certificate.der().len(),
    })
}

fn fingerprint(der: &[u8]) -> String {
    Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect()
}
