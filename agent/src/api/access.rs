//! Who may open the socket: its file says so, and the kernel's word on the peer is asked again (SO_PEERCRED, unix(7)),
//! because the file's rights can be changed and its folder is configurable.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::net::unix::UCred;

/// Root, the daemon's own user, and members of one group.
#[derive(Debug, Clone, Copy)]
pub(super) struct Access {
    own: Uid,
    group: Option<Gid>,
}

impl Access {
    /// With the group of that name if there is one; a warning otherwise.
    pub fn of_group(name: Option<&str>) -> Self {
        let group = name.and_then(|name| match Group::from_name(name) {
            Ok(Some(group)) => Some(group.gid),
            Ok(None) => {
                tracing::info!(group = name, "no such group: only root may open the socket; create it with `groupadd --system`");
                None
            }
            Err(error) => {
                tracing::warn!(group = name, %error, "cannot look up the group: only root may open the socket");
                None
            }
        });
        Access { own: Uid::effective(), group }
    }

    pub fn group(self) -> Option<Gid> {
        self.group
    }

    pub fn allows(self, peer: &UCred) -> bool {
        let uid = Uid::from_raw(peer.uid());
        uid.is_root()
            || uid == self.own
            || self
                .group
                .is_some_and(|group| group.as_raw() == peer.gid() || is_member(uid, peer.gid(), group))
    }
}

/// By the user database: what the peer could get by a fresh login.
fn is_member(uid: Uid, gid: u32, group: Gid) -> bool {
    let groups = User::from_uid(uid)
        .ok()
        .flatten()
        .and_then(|user| CString::new(user.name).ok())
        .and_then(|name| getgrouplist(&name, Gid::from_raw(gid)).ok());
    groups.is_some_and(|groups| groups.contains(&group))
}
