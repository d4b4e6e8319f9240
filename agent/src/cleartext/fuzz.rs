//! Fuzz body: any bytes, split in two directions at every place that the first byte names.

use super::{Dialogue, Name, examine};

/// What more bytes follow must change neither a name that was found, nor a credential, nor a switch.
pub fn fuzz(data: &[u8]) {
    let Some((&split, bytes)) = data.split_first() else { return };
    let (client, server) = bytes.split_at(usize::from(split).min(bytes.len()));
    let mut named = None;
    let mut said = Dialogue::default();
    let ways =
        (0..=client.len()).map(|end| (end, 0)).chain((0..=server.len()).map(|end| (client.len(), end)));
    for (client_end, server_end) in ways {
        let seen = examine(&client[..client_end], &server[..server_end]);
        if let Some(name) = named {
            assert_eq!(seen.name, Name::Found(name), "{client_end} {server_end} of {client:?} {server:?}");
        }
        if let Name::Found(name) = seen.name {
            named = Some(name);
        }
        let dialogue = seen.dialogue;
        if said.credential.is_some() {
            assert_eq!(dialogue.credential, said.credential, "{client:?} {server:?}");
        }
        if said.switch.is_some() {
            assert_eq!(dialogue.switch, said.switch, "{client:?} {server:?}");
        }
        if said.over {
            assert_eq!(dialogue, said, "{client:?} {server:?}");
        }
        if let Some(switch) = dialogue.switch {
            assert!(switch.client <= client_end && switch.server <= server_end, "{client:?} {server:?}");
        }
        said = dialogue;
    }
}
