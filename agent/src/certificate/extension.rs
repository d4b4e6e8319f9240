//! Extensions (RFC 5280 section 4.2) that the record names.

use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::extensions::{
    DistributionPointName, ExtendedKeyUsage, GeneralName, KeyUsage, ParsedExtension, X509Extension,
};
use x509_parser::oid_registry::asn1_rs::{FromDer, Oid, oid};

use super::name::printable;
use super::{MAX_ENTRIES, MAX_TEXT, Reading, hex};

const OCSP: Oid<'static> = oid!(1.3.6.1.5.5.7.48.1);

/// Reads one extension, given with its header, into `reading`.
pub(super) fn read(der: &[u8], reading: &mut Reading) {
    let Ok((_, extension)) = X509Extension::from_der(der) else {
        return reading.problem("an extension did not parse");
    };
    match extension.parsed_extension() {
        ParsedExtension::SubjectAlternativeName(san) => {
            san.general_names.iter().for_each(|name| alternative_name(name, reading));
        }
        ParsedExtension::BasicConstraints(constraints) => reading.record.is_ca = Some(constraints.ca),
        ParsedExtension::KeyUsage(usage) => reading.record.key_usage = key_usage(usage),
        ParsedExtension::ExtendedKeyUsage(usage) => extended_key_usage(usage, reading),
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            reading.record.authority_key_id = id.key_identifier.as_ref().map(|id| bounded_hex(id.0));
        }
        ParsedExtension::SubjectKeyIdentifier(id) => reading.record.subject_key_id = Some(bounded_hex(id.0)),
        ParsedExtension::CRLDistributionPoints(points) => {
            for point in points.iter() {
                let Some(DistributionPointName::FullName(names)) = &point.distribution_point else {
                    continue;
                };
                for name in names {
                    if let GeneralName::URI(uri) = name {
                        push(uri.as_bytes(), reading, |reading| &mut reading.record.crl_distribution_points);
                    }
                }
            }
        }
        ParsedExtension::AuthorityInfoAccess(access) => {
            for description in access.iter().filter(|description| description.access_method == OCSP) {
                if let GeneralName::URI(uri) = description.access_location {
                    push(uri.as_bytes(), reading, |reading| &mut reading.record.ocsp_responders);
                }
            }
        }
        ParsedExtension::ParseError { .. } => reading.problem("an extension did not parse"),
        _ => {}
    }
}

fn alternative_name(name: &GeneralName<'_>, reading: &mut Reading) {
    match name {
        GeneralName::DNSName(dns) => push(dns.as_bytes(), reading, |reading| &mut reading.record.san.dns),
        GeneralName::URI(uri) => push(uri.as_bytes(), reading, |reading| &mut reading.record.san.uri),
        GeneralName::RFC822Name(email) => {
            push(email.as_bytes(), reading, |reading| &mut reading.record.san.email)
        }
        GeneralName::IPAddress(address) => {
            let text = if let Ok(v4) = <[u8; 4]>::try_from(*address) {
                Ipv4Addr::from(v4).to_string()
            } else if let Ok(v6) = <[u8; 16]>::try_from(*address) {
                Ipv6Addr::from(v6).to_string()
            } else {
                reading.problem("an IP SAN of odd length");
                bounded_hex(address)
            };
            push(text.as_bytes(), reading, |reading| &mut reading.record.san.ip);
        }
        GeneralName::Invalid(tag, bytes) => {
            reading.problem("a SAN did not parse");
            match tag.0 {
                1 => push(bytes, reading, |reading| &mut reading.record.san.email),
                2 => push(bytes, reading, |reading| &mut reading.record.san.dns),
                6 => push(bytes, reading, |reading| &mut reading.record.san.uri),
                _ => {}
            }
        }
        // otherName, directoryName, x400Address, ediPartyName, registeredID.
        _ => reading.record.san.unread = reading.record.san.unread.saturating_add(1),
    }
}

fn push(text: &[u8], reading: &mut Reading, list: fn(&mut Reading) -> &mut Vec<String>) {
    if list(reading).len() == MAX_ENTRIES {
        return reading.problem("more entries of a list than are kept");
    }
    if text.len() > MAX_TEXT {
        reading.problem("a string longer than is kept");
    }
    let text = printable(&String::from_utf8_lossy(&text[..text.len().min(MAX_TEXT)]));
    list(reading).push(text);
}

fn key_usage(usage: &KeyUsage) -> Vec<String> {
    let names = [
        (usage.digital_signature(), "digitalSignature"),
        (usage.non_repudiation(), "nonRepudiation"),
        (usage.key_encipherment(), "keyEncipherment"),
        (usage.data_encipherment(), "dataEncipherment"),
        (usage.key_agreement(), "keyAgreement"),
        (usage.key_cert_sign(), "keyCertSign"),
        (usage.crl_sign(), "cRLSign"),
        (usage.encipher_only(), "encipherOnly"),
        (usage.decipher_only(), "decipherOnly"),
    ];
    named(&names).collect()
}

fn extended_key_usage(usage: &ExtendedKeyUsage<'_>, reading: &mut Reading) {
    let names = [
        (usage.any, "anyExtendedKeyUsage"),
        (usage.server_auth, "serverAuth"),
        (usage.client_auth, "clientAuth"),
        (usage.code_signing, "codeSigning"),
        (usage.email_protection, "emailProtection"),
        (usage.time_stamping, "timeStamping"),
        (usage.ocsp_signing, "OCSPSigning"),
    ];
    reading.record.extended_key_usage = named(&names).collect();
    for other in &usage.other {
        push(other.to_id_string().as_bytes(), reading, |reading| &mut reading.record.extended_key_usage);
    }
}

fn named<'a>(names: &'a [(bool, &str)]) -> impl Iterator<Item = String> + 'a {
    names.iter().filter(|(set, _)| *set).map(|(_, name)| (*name).to_owned())
}

fn bounded_hex(bytes: &[u8]) -> String {
    hex(&bytes[..bytes.len().min(MAX_TEXT / 2)])
}
