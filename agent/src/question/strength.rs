//! Which answers establish more than others.

use crate::record::Authentication;

/// How much was established, for comparing; `None` where that is not known, or the connection did not come about.
pub(crate) fn strength(authentication: Authentication) -> Option<u8> {
    match authentication {
        Authentication::Mutual | Authentication::Psk => Some(3),
        Authentication::ServerOnly => Some(2),
        Authentication::Anonymous => Some(1),
        Authentication::None => Some(0),
        Authentication::NotEstablished | Authentication::Unknown => None,
    }
}
