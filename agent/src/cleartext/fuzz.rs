//! Fuzz body: any bytes, split in two directions at every place that the first byte names.

use super::{Name, name};

/// What more bytes follow must not change a name that was found.
pub fn fuzz(data: &[u8]) {
    let Some((&split, bytes)) = data.split_first() else { return };
    let (client, server) = bytes.split_at(usize::from(split).min(bytes.len()));
    if let Name::Found(protocol) = name(client, server) {
        let mut longer = client.to_vec();
        longer.extend_from_slice(b"more");
        if !client.is_empty() && client.len() + 4 < crate::tls::PEEK {
            assert_eq!(name(&longer, server), Name::Found(protocol), "{client:?} {server:?}");
        }
    }
}
