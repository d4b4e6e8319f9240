//! Fuzz body: any bytes, split in two directions at every place that the first byte names.

use super::{Examination, LOOK, Name, Protocol, examine, name};

/// What more bytes follow must not change what was found.
pub fn fuzz(data: &[u8]) {
    let Some((&split, bytes)) = data.split_first() else { return };
    let (client, server) = bytes.split_at(usize::from(split).min(bytes.len()));
    let whole = examine(client, server);
    let mut earlier: Option<Examination> = None;
    let ways =
        (0..=client.len()).map(|end| (end, 0)).chain((0..=server.len()).map(|end| (client.len(), end)));
    for (client_end, server_end) in ways {
        let seen = examine(&client[..client_end], &server[..server_end]);
        if let Some(earlier) = &earlier {
            stays(earlier, &seen);
        }
        earlier = Some(seen);
    }
    for part in [1, 2, 3] {
        let (some, others) = (client.len() * part / 3, server.len() * part / 3);
        stays(&examine(&client[..some], server), &whole);
        stays(&examine(client, &server[..others]), &whole);
        stays(&examine(&client[..some], &server[..others]), &whole);
    }
    if let Name::Found(protocol) = name(client, server) {
        let mut longer = client.to_vec();
        longer.extend_from_slice(b"more");
        if !client.is_empty() && client.len() + 4 < crate::tls::PEEK {
            assert_eq!(name(&longer, server), Name::Found(protocol), "{client:?} {server:?}");
        }
    }
    if let Some(switch) = whole.dialogue.switch {
        assert!(switch.client <= client.len().min(LOOK) && switch.server <= server.len().min(LOOK));
    }
}

/// Asserts that later bytes took nothing back.
pub(super) fn stays(early: &Examination, late: &Examination) {
    if early.name == Name::SoFar(Protocol::Http2) {
        let later = [early.name, Name::Found(Protocol::Http2), Name::Found(Protocol::Grpc)];
        assert!(later.contains(&late.name), "{:?}", late.name);
    }
    let Name::Found(protocol) = early.name else { return };
    // A server that calls itself SSH first is named before the client speaks, and clients may speak HTTP to it.
    if protocol != Protocol::Ssh {
        assert_eq!(early.name, late.name);
    }
    if early.name == late.name {
        assert!(early.dialogue.credential.is_none() || early.dialogue.credential == late.dialogue.credential);
        assert!(early.dialogue.switch.is_none() || early.dialogue.switch == late.dialogue.switch);
        assert!(!early.dialogue.over || early.dialogue == late.dialogue);
    }
}
