//! The offsets that the kernel programs ask for, from the running kernel.

use std::fs;

use countersign_common::Offsets;

use super::btf::Structures;

/// The kernel's own BTF.
pub(super) const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";

/// Offsets as the object wants them: one word after another, in the order of [`Offsets`].
pub(super) const WORDS: usize = size_of::<Offsets>() / 4;

/// Each field of [`Offsets`] in its order: the structure, and the field under its names from new
/// to old.
const FIELDS: [(&str, &[&str]); WORDS - 1] = [
    ("task_struct", &["tgid"]),
    ("task_struct", &["pid"]),
    ("task_struct", &["group_leader"]),
    ("task_struct", &["start_boottime", "real_start_time"]),
    ("task_struct", &["flags"]),
    ("task_struct", &["comm"]),
    ("task_struct", &["cred"]),
    ("task_struct", &["cgroups"]),
    ("css_set", &["dfl_cgrp"]),
    ("cgroup", &["kn"]),
    ("kernfs_node", &["id"]),
    ("cred", &["uid"]),
    ("linux_binprm", &["filename"]),
    ("socket", &["sk"]),
    ("sock", &["sk_protocol"]),
    ("sock_common", &["skc_family"]),
    ("sock_common", &["skc_state"]),
    ("sock_common", &["skc_dport"]),
    ("sock_common", &["skc_num"]),
    ("sock_common", &["skc_daddr"]),
    ("sock_common", &["skc_rcv_saddr"]),
    ("sock_common", &["skc_v6_daddr"]),
    ("sock_common", &["skc_v6_rcv_saddr"]),
    ("sock_common", &["skc_net"]),
    ("net", &["net_cookie"]),
    ("sock_common", &["skc_cookie"]),
    ("task_struct", &["files"]),
    ("files_struct", &["fdt"]),
    ("fdtable", &["max_fds"]),
    ("fdtable", &["fd"]),
    ("file", &["f_inode"]),
    ("file", &["private_data"]),
    ("inode", &["i_mode"]),
];

/// What was found, and what was not (`structure.field`).
pub(super) struct Found {
    /// In the order of [`Offsets`].
    pub words: [u32; WORDS],
    /// Fields that this kernel does not have.
    pub missing: Vec<String>,
}

/// Reads the running kernel's BTF. Without it nothing is found.
pub(super) fn of_running_kernel() -> Found {
    // Under lockdown=confidentiality programs may not read kernel memory at all.
    let locked = fs::read_to_string("/sys/kernel/security/lockdown")
        .is_ok_and(|modes| modes.contains("[confidentiality]"));
    let blob = if locked { Vec::new() } else { fs::read(KERNEL_BTF).unwrap_or_default() };
    in_structures(Structures::read(&blob).as_ref())
}

fn in_structures(structures: Option<&Structures<'_>>) -> Found {
    let mut found = Found { words: [Offsets::UNKNOWN; WORDS], missing: Vec::new() };
    found.words[WORDS - 1] = 0;
    for (word, (structure, names)) in found.words.iter_mut().zip(FIELDS) {
        let offset = structures
            .and_then(|structures| names.iter().find_map(|name| structures.offset(structure, name)));
        match offset {
            Some(offset) => *word = offset,
            None => found.missing.push(format!("{structure}.{}", names[0])),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::*;

    #[test]
    fn the_fields_stand_in_the_order_of_the_abi() {
        let index = |structure: &str, name: &str| {
            FIELDS.iter().position(|(of, names)| *of == structure && names[0] == name).unwrap()
        };
        assert_eq!(index("task_struct", "tgid") * 4, offset_of!(Offsets, task_tgid));
        assert_eq!(index("task_struct", "start_boottime") * 4, offset_of!(Offsets, task_start));
        assert_eq!(index("cred", "uid") * 4, offset_of!(Offsets, cred_uid));
        assert_eq!(index("socket", "sk") * 4, offset_of!(Offsets, socket_sk));
        assert_eq!(index("sock", "sk_protocol") * 4, offset_of!(Offsets, sock_protocol));
        assert_eq!(index("sock_common", "skc_v6_rcv_saddr") * 4, offset_of!(Offsets, sock_local6));
        assert_eq!(index("net", "net_cookie") * 4, offset_of!(Offsets, net_cookie));
        assert_eq!(index("sock_common", "skc_cookie") * 4, offset_of!(Offsets, sock_cookie));
        assert_eq!(index("fdtable", "fd") * 4, offset_of!(Offsets, table_files));
        assert_eq!(index("inode", "i_mode") * 4, offset_of!(Offsets, inode_mode));
    }

    #[test]
    fn the_running_kernel_has_every_field() {
        if fs::metadata(KERNEL_BTF).is_err() {
            eprintln!("skipped: this kernel shows no BTF");
            return;
        }
        assert_eq!(of_running_kernel().missing, Vec::<String>::new());
    }

    #[test]
    fn without_btf_every_offset_is_unknown() {
        let found = in_structures(None);
        assert_eq!(found.missing.len(), FIELDS.len());
        assert!(found.words[..WORDS - 1].iter().all(|&word| word == Offsets::UNKNOWN));
    }
}
