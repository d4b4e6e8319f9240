//! Distinguished names as strings (RFC 4514).

use x509_parser::asn1_rs::Tag;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::{MAX_TEXT, hex};

/// Attributes of one name that are printed: real names have about 10.
const MAX_ATTRIBUTES: usize = 64;

/// The name, last RDN first (section 2.1).
pub(super) fn rfc4514(name: &X509Name<'_>) -> String {
    let mut budget = MAX_ATTRIBUTES;
    let mut relative: Vec<String> = Vec::new();
    for rdn in name.iter_rdn() {
        let attributes: Vec<String> = rdn.iter().take(budget).map(attribute).collect();
        budget -= attributes.len();
        relative.push(attributes.join("+"));
        if budget == 0 {
            break;
        }
    }
    relative.reverse();
    relative.join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let oid = attribute.attr_type().to_id_string();
    match (short_name(&oid), text(attribute)) {
        (Some(name), Some(text)) => format!("{name}={}", escaped(&text)),
        // Section 2.4: a type without a short name, or a value without a string, is the hex of its BER encoding.
        (name, _) => {
            let value = attribute.attr_value();
            let data = &value.data[..value.data.len().min(MAX_TEXT)];
            let header = der_header(value.tag(), value.data.len());
            format!("{}=#{}{}", name.unwrap_or(&oid), hex(&header), hex(data))
        }
    }
}

/// Tag and length as DER encodes them; universal tags below 31 are all that occur in names.
fn der_header(tag: Tag, length: usize) -> Vec<u8> {
    let mut header = vec![u8::try_from(tag.0 & 0x1f).unwrap_or_default()];
    let bytes = length.to_be_bytes();
    let significant = &bytes[bytes.iter().position(|&byte| byte != 0).unwrap_or(bytes.len() - 1)..];
    if length > 0x7f {
        header.push(0x80 | u8::try_from(significant.len()).unwrap_or_default());
    }
    header.extend_from_slice(significant);
    header
}

fn text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    let value = attribute.attr_value();
    let data = &value.data[..value.data.len().min(MAX_TEXT)];
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            Some(String::from_utf8_lossy(data).into_owned())
        }
        // T.61 in the standard, Latin-1 in practice.
        Tag::TeletexString => Some(data.iter().map(|&byte| char::from(byte)).collect()),
        Tag::BmpString => {
            let units = data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            Some(char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        Tag::UniversalString => {
            let points =
                data.chunks_exact(4).map(|four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
            Some(points.map(|point| char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
        }
        _ => None,
    }
}

/// Section 2.4, and control characters, which it allows to be escaped.
fn escaped(text: &str) -> String {
    let last = text.chars().count().saturating_sub(1);
    let mut out = String::with_capacity(text.len());
    for (index, char) in text.chars().enumerate() {
        match char {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => out.extend(['\\', char]),
            ' ' if index == 0 || index == last => out.push_str("\\ "),
            '#' if index == 0 => out.push_str("\\#"),
            _ => push_printable(char, &mut out),
        }
    }
    out
}

/// `text` with control characters as `\` and the hex of their UTF-8 bytes.
pub(super) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, char| {
        push_printable(char, &mut out);
        out
    })
}

fn push_printable(char: char, out: &mut String) {
    // Bidirectional controls reorder what a terminal shows.
    let reorders =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if char.is_control() || reorders {
        for byte in char.encode_utf8(&mut [0; 4]).bytes() {
            out.push('\\');
            out.push_str(&hex(&[byte]));
        }
    } else {
        out.push(char);
    }
}

/// Short names of RFC 4514 section 3, and further descriptors of the IANA LDAP registry.
fn short_name(oid: &str) -> Option<&'static str> {
    Some(match oid {
        "2.5.4.3" => "CN",
        "2.5.4.4" => "sn",
        "2.5.4.5" => "serialNumber",
        "2.5.4.6" => "C",
        "2.5.4.7" => "L",
        "2.5.4.8" => "ST",
        "2.5.4.9" => "STREET",
        "2.5.4.10" => "O",
        "2.5.4.11" => "OU",
        "2.5.4.12" => "title",
        "2.5.4.13" => "description",
        "2.5.4.15" => "businessCategory",
        "2.5.4.17" => "postalCode",
        "2.5.4.41" => "name",
        "2.5.4.42" => "givenName",
        "2.5.4.43" => "initials",
        "2.5.4.44" => "generationQualifier",
        "2.5.4.46" => "dnQualifier",
        "2.5.4.65" => "pseudonym",
        "2.5.4.97" => "organizationIdentifier",
        "0.9.2342.19200300.100.1.1" => "UID",
        "0.9.2342.19200300.100.1.25" => "DC",
        "1.2.840.113549.1.9.1" => "emailAddress",
        _ => return None,
    })
}
