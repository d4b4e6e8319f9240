//! SASL exchanges that show a password (RFC 4422): PLAIN (RFC 4616) and LOGIN, in Base64 as mail protocols carry them.
//!
//! Only whether there is a password is decided; nothing that is decoded leaves.

/// Which mechanism showed a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    Plain,
    Login,
}

/// An exchange that was begun.
pub(super) struct Exchange {
    shows: Option<Shown>,
    responses: usize,
}

impl Exchange {
    /// With a mechanism by its registered name, in any case.
    pub(super) fn new(mechanism: &[u8]) -> Self {
        let shows = match mechanism.to_ascii_uppercase().as_slice() {
            b"PLAIN" => Some(Shown::Plain),
            b"LOGIN" => Some(Shown::Login),
            _ => None,
        };
        Exchange { shows, responses: 0 }
    }

    /// Whether the client's next response, or its initial one, holds a password that is not empty.
    pub(super) fn response(&mut self, base64: &[u8]) -> Option<Shown> {
        self.responses += 1;
        let shown = match self.shows? {
            Shown::Plain => plain_has_password(base64),
            // The first is the user.
            Shown::Login => self.responses == 2 && decode(base64).next().is_some(),
        };
        if shown { self.shows } else { None }
    }
}

/// Whether a PLAIN message, `[authorization] NUL user NUL password`, has a password.
pub(super) fn plain_has_password(base64: &[u8]) -> bool {
    let mut separators = 0;
    for byte in decode(base64.trim_ascii()) {
        if separators == 2 {
            return true;
        }
        separators += usize::from(byte == 0);
    }
    false
}

/// The bytes of Base64 (RFC 4648 section 4), up to the first that is none.
fn decode(base64: &[u8]) -> impl Iterator<Item = u8> {
    let (mut bits, mut count) = (0_u32, 0_u32);
    base64
        .iter()
        .map_while(|&symbol| match symbol {
            b'A'..=b'Z' => Some(symbol - b'A'),
            b'a'..=b'z' => Some(symbol - b'a' + 26),
            b'0'..=b'9' => Some(symbol - b'0' + 52),
            b'+' => Some(62),
            b'/' => Some(63),
            _ => None,
        })
        .filter_map(move |value| {
            bits = (bits << 6 | u32::from(value)) & 0xffff;
            count += 6;
            if count < 8 {
                return None;
            }
            count -= 8;
            Some((bits >> count & 0xff) as u8)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_as_written() {
        assert_eq!(decode(b"AHVzZXIAcGFzcw==").collect::<Vec<_>>(), b"\0user\0pass");
        assert_eq!(decode(b"YQ==").collect::<Vec<_>>(), b"a");
        assert_eq!(decode(b"=").count() + decode(b"*").count() + decode(b"A").count(), 0);
    }

    #[test]
    fn an_empty_password_is_none() {
        assert!(plain_has_password(b"AHVzZXIAcGFzcw=="));
        // "\0user\0"
        assert!(!plain_has_password(b"AHVzZXIA"));
        assert!(!plain_has_password(b"="));
        let mut login = Exchange::new(b"login");
        assert_eq!(login.response(b"dXNlcg=="), None);
        assert_eq!(login.response(b"cGFzcw=="), Some(Shown::Login));
        let mut scram = Exchange::new(b"SCRAM-SHA-256");
        assert_eq!(scram.response(b"AHVzZXIAcGFzcw=="), None);
    }
}
