//! The guest's whole file system: busybox, the agent, the peer, and the libraries they need.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian's statically linked busybox.
const BUSYBOX: &str = "/bin/busybox";

/// Fills `root` and packs it into `archive`.
pub fn build(root: &Path, agent: &Path, archive: &Path) {
    for folder in ["bin", "dev", "etc", "proc", "run", "sys", "tmp", "var/lib", "root"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let peer = Path::new(env!("CARGO_BIN_EXE_peer"));
    for (program, name) in [(Path::new(BUSYBOX), "busybox"), (agent, "countersign"), (peer, "peer")] {
        install(program, &root.join("bin").join(name));
        for library in libraries(program) {
            let inside = root.join(library.strip_prefix("/").unwrap());
            fs::create_dir_all(inside.parent().unwrap()).unwrap();
            install(&library, &inside);
        }
    }
    let init = root.join("init");
    fs::write(&init, include_str!("init.sh")).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n").unwrap();
    fs::write(root.join("etc/group"), "root:x:0:\n").unwrap();
    pack(root, archive);
}

fn install(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("cannot copy {}: {error}", from.display()));
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The shared libraries of a program and its loader, as `ldd` resolves them; none if it is static.
fn libraries(program: &Path) -> Vec<PathBuf> {
    let output = Command::new("ldd").arg(program).output().unwrap();
    String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .map(PathBuf::from)
        .collect()
}

fn pack(root: &Path, archive: &Path) {
    let mut names = Vec::new();
    list(root, root, &mut names);
    let list_file = archive.with_extension("list");
    fs::write(&list_file, names.join("\n")).unwrap();
    let status = Command::new("cpio")
        .args(["--create", "--format=newc", "--quiet", "--owner=0:0"])
        .current_dir(root)
        .stdin(fs::File::open(&list_file).unwrap())
        .stdout(fs::File::create(archive).unwrap())
        .stderr(Stdio::inherit())
        .status()
        .expect("cpio starts: cargo xtask setup installs it");
    assert!(status.success(), "cpio ended with {status}");
}

fn list(root: &Path, folder: &Path, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        names.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
        if path.is_dir() {
            list(root, &path, names);
        }
    }
}
