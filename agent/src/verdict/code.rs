//! Codes of findings: stable names, with what they mean and what to do.

use crate::record::Severity;

/// A finding's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// Nobody proved anything, between internal hosts.
    UnauthenticatedEastWest,
    /// Only the server did, between internal hosts.
    ServerOnlyTlsEastWest,
    /// The server asked for a certificate and went on without.
    ClientCertificateRequestedNotSent,
    /// SSLv3, TLS 1.0 or 1.1 (RFC 8996).
    DeprecatedTlsVersion,
    /// A certificate past its notAfter was accepted.
    ExpiredCertificateAccepted,
    /// A certificate before its notBefore was accepted.
    NotYetValidCertificateAccepted,
    /// A credential that whoever listens can use crossed the network unencrypted.
    CredentialInClear,
    /// A peer's certificate was verified, found wanting, and the connection used all the same.
    VerificationFailedOverridden,
    /// A peer's certificate was not verified at all.
    PeerNotVerified,
    /// What the wire shows and what TLS libraries show are not the same.
    EvidenceDisagrees,
    /// A workload presented a certificate that its rule does not let it present.
    IdentityDoesNotFitWorkload,
    /// Several workloads presented one certificate, or certificates with one key.
    CertificateSharedByWorkloads,
    /// A certificate was presented in a role that its extended key usage does not allow.
    CertificateUsedAgainstItsPurpose,
    /// Less was established than between the same ends before.
    AuthenticationRegressed,
    /// An exception of the configuration has expired and something still matches it.
    ExceptionExpired,
}

impl Code {
    /// All codes.
    pub const ALL: [Code; 15] = [
        Code::UnauthenticatedEastWest,
        Code::ServerOnlyTlsEastWest,
        Code::ClientCertificateRequestedNotSent,
        Code::DeprecatedTlsVersion,
        Code::ExpiredCertificateAccepted,
        Code::NotYetValidCertificateAccepted,
        Code::CredentialInClear,
        Code::VerificationFailedOverridden,
        Code::PeerNotVerified,
        Code::EvidenceDisagrees,
        Code::IdentityDoesNotFitWorkload,
        Code::CertificateSharedByWorkloads,
        Code::CertificateUsedAgainstItsPurpose,
        Code::AuthenticationRegressed,
        Code::ExceptionExpired,
    ];

    /// All names, in the same order.
    pub const NAMES: [&str; 15] = {
        let mut names = [""; Code::ALL.len()];
        let mut index = 0;
        while index < names.len() {
            names[index] = Code::ALL[index].as_str();
            index += 1;
        }
        names
    };

    /// As it is printed and configured.
    pub const fn as_str(self) -> &'static str {
        match self {
            Code::UnauthenticatedEastWest => "unauthenticated_east_west",
            Code::ServerOnlyTlsEastWest => "server_only_tls_east_west",
            Code::ClientCertificateRequestedNotSent => "client_certificate_requested_not_sent",
            Code::DeprecatedTlsVersion => "deprecated_tls_version",
            Code::ExpiredCertificateAccepted => "expired_certificate_accepted",
            Code::NotYetValidCertificateAccepted => "not_yet_valid_certificate_accepted",
            Code::CredentialInClear => "credential_in_clear",
            Code::VerificationFailedOverridden => "verification_failed_overridden",
            Code::PeerNotVerified => "peer_not_verified",
            Code::EvidenceDisagrees => "evidence_disagrees",
            Code::IdentityDoesNotFitWorkload => "identity_does_not_fit_workload",
            Code::CertificateSharedByWorkloads => "certificate_shared_by_workloads",
            Code::CertificateUsedAgainstItsPurpose => "certificate_used_against_its_purpose",
            Code::AuthenticationRegressed => "authentication_regressed",
            Code::ExceptionExpired => "exception_expired",
        }
    }

    /// The code of a name.
    pub fn from_name(name: &str) -> Option<Code> {
        Code::ALL.into_iter().find(|code| code.as_str() == name)
    }

    /// How bad it is.
    pub fn severity(self) -> Severity {
        match self {
            Code::UnauthenticatedEastWest
            | Code::ExpiredCertificateAccepted
            | Code::CredentialInClear
            | Code::VerificationFailedOverridden
            | Code::PeerNotVerified
            | Code::IdentityDoesNotFitWorkload
            | Code::CertificateSharedByWorkloads
            | Code::AuthenticationRegressed => Severity::High,
            Code::ServerOnlyTlsEastWest
            | Code::ClientCertificateRequestedNotSent
            | Code::DeprecatedTlsVersion
            | Code::NotYetValidCertificateAccepted
            | Code::EvidenceDisagrees
            | Code::CertificateUsedAgainstItsPurpose => Severity::Medium,
            Code::ExceptionExpired => Severity::Low,
        }
    }

    /// What to do.
    pub fn remedy(self) -> &'static str {
        match self {
            Code::UnauthenticatedEastWest => {
                "Put the service behind mutual TLS, or record who accepts this and until when in an [[exception]]."
            }
            Code::ServerOnlyTlsEastWest => {
                "Have the server require a client certificate and give the client one of its own."
            }
            Code::ClientCertificateRequestedNotSent => {
                "Give the client a certificate, then have the server require it instead of only asking."
            }
            Code::DeprecatedTlsVersion => {
                "Upgrade or reconfigure the side that offers nothing newer than TLS 1.1."
            }
            Code::ExpiredCertificateAccepted => {
                "Renew the certificate, and turn on verification at the peer that accepted it."
            }
            Code::NotYetValidCertificateAccepted => {
                "Check the clocks of issuer and hosts, and turn on verification at the peer that accepted it."
            }
            Code::CredentialInClear => {
                "Replace the credential, for it is known to whoever listened, and allow it only inside TLS."
            }
            Code::VerificationFailedOverridden => {
                "Have the program end the connection when verification fails, and mend what it finds wrong: issuer, name or date."
            }
            Code::PeerNotVerified => {
                "Turn on verification in the program, with the issuer and the name that it expects of its peer."
            }
            Code::EvidenceDisagrees => {
                "Compare the connection's record with a capture of it, and report it if neither end is at fault: one of the sources was misread."
            }
            Code::IdentityDoesNotFitWorkload => {
                "Find out how the workload came by the key, revoke the certificate if that was not meant, and give the workload one of its own; \
                 or widen its [[identity]] rule."
            }
            Code::CertificateSharedByWorkloads => {
                "Find out which workload the key was made for, and give each of the others a certificate with a key of its own; revoke the \
                 shared one if nobody meant it to be shared."
            }
            Code::CertificateUsedAgainstItsPurpose => {
                "Issue a certificate whose extended key usage allows the role, and have the peer check it: it accepted this one."
            }
            Code::AuthenticationRegressed => {
                "Find out what changed at the two ends since (deployment, configuration, an expired certificate, somebody else at the address), and \
                 have the server require what it had before."
            }
            Code::ExceptionExpired => {
                "Fix what the exception covers, or have its owner renew it with a new date."
            }
        }
    }

    /// Controls that it concerns.
    pub fn controls(self) -> &'static [&'static str] {
        match self {
            Code::UnauthenticatedEastWest | Code::ServerOnlyTlsEastWest => {
                &["NIST CSF 2.0 PR.AA-03", "NIST SP 800-207 tenet 2", "OWASP NHI4:2025"]
            }
            Code::ClientCertificateRequestedNotSent => &["NIST CSF 2.0 PR.AA-03", "OWASP NHI4:2025"],
            Code::DeprecatedTlsVersion => &["NIST CSF 2.0 PR.DS-02", "RFC 8996"],
            Code::ExpiredCertificateAccepted | Code::NotYetValidCertificateAccepted => {
                &["NIST CSF 2.0 PR.AA-01", "NIST CSF 2.0 PR.AA-03", "RFC 5280 section 4.1.2.5"]
            }
            Code::CredentialInClear => {
                &["NIST CSF 2.0 PR.AA-01", "NIST CSF 2.0 PR.DS-02", "OWASP NHI2:2025", "OWASP NHI4:2025"]
            }
            Code::VerificationFailedOverridden | Code::PeerNotVerified => &[
                "NIST CSF 2.0 PR.AA-03",
                "NIST CSF 2.0 PR.AA-04",
                "NIST SP 800-207 tenet 6",
                "OWASP NHI4:2025",
                "RFC 5280 section 6",
            ],
            Code::EvidenceDisagrees => &["NIST CSF 2.0 DE.AE-02"],
            Code::IdentityDoesNotFitWorkload => &[
                "NIST CSF 2.0 PR.AA-01",
                "NIST CSF 2.0 PR.AA-03",
                "NIST CSF 2.0 DE.CM-09",
                "NIST SP 800-207 tenet 6",
                "OWASP NHI2:2025",
            ],
            Code::CertificateSharedByWorkloads => {
                &["NIST CSF 2.0 PR.AA-01", "NIST SP 800-207 tenet 6", "OWASP NHI2:2025", "OWASP NHI9:2025"]
            }
            Code::CertificateUsedAgainstItsPurpose => {
                &["NIST CSF 2.0 PR.AA-03", "OWASP NHI4:2025", "RFC 5280 section 4.2.1.12"]
            }
            Code::AuthenticationRegressed => &[
                "NIST CSF 2.0 PR.AA-03",
                "NIST CSF 2.0 DE.CM-01",
                "NIST SP 800-207 tenet 2",
                "OWASP NHI4:2025",
            ],
            Code::ExceptionExpired => &["NIST CSF 2.0 GV.RM-04"],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_name() {
        for (code, name) in Code::ALL.into_iter().zip(Code::NAMES) {
            assert_eq!(Code::from_name(name), Some(code));
        }
        assert_eq!(Code::from_name("no_such_finding"), None);
    }
}
