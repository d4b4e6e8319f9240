//! Names that answers have: each the one text of the contract.

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $(#[doc = concat!("`", $text, "`")] #[serde(rename = $text)] $variant),+ }
        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant),+];
            /// As it is printed.
            pub fn as_str(self) -> &'static str { match self { $($name::$variant => $text),+ } }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.pad(self.as_str()) }
        }
        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                $name::ALL.iter().copied().find(|name| name.as_str() == text).ok_or_else(|| {
                    let all: Vec<_> = $name::ALL.iter().map(|name| name.as_str()).collect();
                    format!("`{text}` is not one of {}", all.join(", "))
                })
            }
        }
    };
}

names! {
    /// Where the two ends are.
    Scope { Loopback = "loopback", EastWest = "east_west", NorthSouth = "north_south" }
}
names! {
    /// A side of a connection.
    SideName { Client = "client", Server = "server" }
}
names! {
    /// How a connection ended.
    CloseReasonName { Fin = "fin", Reset = "reset", Timeout = "timeout", Unknown = "unknown" }
}
names! {
    /// How the bytes were protected.
    Encryption {
        None = "none", Tls = "tls", IntegrityOnly = "integrity_only", Other = "other", Unknown = "unknown",
    }
}
names! {
    /// What was established.
    Authentication {
        None = "none", ServerOnly = "server_only", Mutual = "mutual", Anonymous = "anonymous", Psk = "psk",
        NotEstablished = "not_established", Unknown = "unknown",
    }
}
names! {
    /// How bad a finding is; the worst is the greatest.
    Severity { Info = "info", Low = "low", Medium = "medium", High = "high", Critical = "critical" }
}
names! {
    /// How an answer about one side is known.
    EvidenceName {
        Certificate = "certificate", Handshake = "handshake", Library = "library", Inferred = "inferred",
        Inherited = "inherited", Unknown = "unknown", None = "none",
    }
}
names! {
    /// Which sources say different things.
    DisagreementName { WireLibrary = "wire_library", Libraries = "libraries" }
}
names! {
    /// What an endpoint did about its peer's certificate.
    VerificationName {
        Verified = "verified", FailedOverridden = "failed_overridden", NotAttempted = "not_attempted",
        Custom = "custom", Unknown = "unknown",
    }
}
names! {
    /// What became of an executable's file since it was started.
    ExecutableChange { Deleted = "deleted", Replaced = "replaced" }
}
names! {
    /// Whether a certificate is one that its workload may present.
    IdentityFitName { Fits = "fits", DoesNotFit = "does_not_fit", NoRule = "no_rule", Unknown = "unknown" }
}
names! {
    /// How surely.
    ConfidenceName { High = "high", Medium = "medium" }
}
