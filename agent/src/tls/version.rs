//! Versions of SSL and TLS, drafts included, by code point and name.

use std::borrow::Cow;

/// The last draft before RFC 8446.
const LAST_DRAFT: u8 = 28;
/// The last of Google's experiments.
const LAST_EXPERIMENT: u8 = 2;
/// The draft since which a ServerHello looks like one of TLS 1.2.
const FIRST_FINAL_FORM: u8 = 22;

/// Protocol version (RFC 8446 section 4.2.1 and before), in the order in which a client prefers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 0x0002; only in messages of that version's own format.
    Ssl2,
    /// 0x0300
    Ssl3,
    /// 0x0301
    Tls10,
    /// 0x0302
    Tls11,
    /// 0x0303
    Tls12,
    /// 0x7e00 and a number: Google's experiments between drafts 18 and 22.
    Tls13Experiment(u8),
    /// 0xfb00 and the number of a draft: Facebook's variants, which differ in what protects a record, not in its size.
    Tls13Facebook(u8),
    /// 0x7f00 and the number of a draft of TLS 1.3; 0 for one before 16 that does not say which it is.
    Tls13Draft(u8),
    /// 0x0304
    Tls13,
}

impl Version {
    /// TLS 1.3 in any form: what follows the ServerHello is encrypted.
    pub fn is_modern(self) -> bool {
        self >= Version::Tls13Experiment(0)
    }

    /// As the public record names it.
    pub fn name(self) -> Cow<'static, str> {
        match self {
            Version::Ssl2 => "SSLv2".into(),
            Version::Ssl3 => "SSLv3".into(),
            Version::Tls10 => "1.0".into(),
            Version::Tls11 => "1.1".into(),
            Version::Tls12 => "1.2".into(),
            Version::Tls13 => "1.3".into(),
            Version::Tls13Experiment(number) => format!("1.3-experiment-{number}").into(),
            Version::Tls13Draft(0) => "1.3-draft".into(),
            Version::Tls13Draft(draft) => format!("1.3-draft-{draft}").into(),
            Version::Tls13Facebook(draft) => format!("1.3-fb-{draft}").into(),
        }
    }

    /// From a code point, except SSLv2's, which is only valid in its own format.
    pub(super) fn from_wire(version: u16) -> Option<Version> {
        let [high, low] = version.to_be_bytes();
        match (high, low) {
            (3, 0) => Some(Version::Ssl3),
            (3, 1) => Some(Version::Tls10),
            (3, 2) => Some(Version::Tls11),
            (3, 3) => Some(Version::Tls12),
            (3, 4) => Some(Version::Tls13),
            (0x7e, 1..=LAST_EXPERIMENT) => Some(Version::Tls13Experiment(low)),
            (0x7f, 1..=LAST_DRAFT) => Some(Version::Tls13Draft(low)),
            (0xfb, 1..=LAST_DRAFT) => Some(Version::Tls13Facebook(low)),
            _ => None,
        }
    }

    /// Hellos and record sizes are those of RFC 8446: since draft 22 (ServerHello in the form of TLS 1.2).
    pub(super) fn has_final_form(self) -> bool {
        match self {
            Version::Tls13 => true,
            Version::Tls13Draft(draft) | Version::Tls13Facebook(draft) => draft >= FIRST_FINAL_FORM,
            _ => false,
        }
    }
}
