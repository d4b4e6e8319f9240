//! Debian's kernels for the kernel matrix and the emulator that boots them: downloaded and unpacked, never installed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Step, debian};
use crate::{process, workspace};

/// Kernel series → the package that always depends on its newest image.
const KERNELS: &[(&str, &str)] =
    &[("6.1", "linux-image-cloud-amd64"), ("6.12", "linux-image-6.12-cloud-amd64")];

/// The package of the emulator, and its program in there.
const EMULATOR: (&str, &str) = ("qemu-system-x86", "qemu-system-x86_64");
/// Starts the unpacked program with the libraries that were unpacked with it.
const STARTER: &str = "#!/bin/sh
here=$(dirname \"$0\")
export LD_LIBRARY_PATH=\"$here/usr/lib/x86_64-linux-gnu:$here/lib/x86_64-linux-gnu\"
exec \"$here/usr/bin/${0##*/}\" \"$@\"
";

/// One step per kernel that is not under `target/kernels` yet, and one for the emulator where the machine has none.
pub fn missing() -> Result<Vec<Step>> {
    let absent =
        KERNELS.iter().filter(|(series, _)| !workspace::kernels().join(series).join("vmlinuz").exists());
    let mut steps: Vec<Step> = emulator()?.into_iter().collect();
    for (series, package) in absent {
        if !debian::is_bookworm() {
            bail!(
                "the kernel matrix needs Debian's kernel {series}, and this is not Debian 12: \
                 put its vmlinuz into {}",
                workspace::kernels().join(series).display()
            );
        }
        steps.push(Step::new(
            format!("download Debian's kernel {series} ({package}) into target/kernels"),
            move || fetch(series, package),
        ));
    }
    Ok(steps)
}

/// The emulator, unpacked with the libraries it needs: installed, it would take the place of a newer `qemu-utils` (of
/// backports, say), and what a machine has is not set-up's to remove.
fn emulator() -> Result<Option<Step>> {
    let (package, program) = EMULATOR;
    let folder = workspace::emulator();
    // It is started to see: a library that was the machine's own may have gone.
    let starts = || process::output_of(Command::new(folder.join(program)).arg("--version")).is_ok();
    if process::find_program(program).is_some() || starts() {
        return Ok(None);
    }
    if !debian::is_bookworm() {
        bail!("the kernel matrix needs {program}, and this is not Debian 12: install it and run it again");
    }
    let title = format!("download {package} and what it needs into target/emulator");
    Ok(Some(Step::new(title, move || {
        if process::is_root() {
            debian::update_index()?;
        }
        // Half an emulator must not be taken for one: it comes to its place whole.
        let unpacked = folder.with_extension("unpacked");
        debian::unpack(&debian::closure(package)?, &unpacked)?;
        let starter = unpacked.join(program);
        fs::write(&starter, STARTER)?;
        fs::set_permissions(&starter, fs::Permissions::from_mode(0o755))?;
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        Ok(fs::rename(unpacked, &folder)?)
    })))
}

fn fetch(series: &str, package: &str) -> Result<()> {
    let image = match newest_image(package) {
        Ok(image) => image,
        // The lists are older than the package, or there are none yet.
        Err(_) => {
            debian::update_index()?;
            newest_image(package)?
        }
    };
    let folder = workspace::kernels().join(series);
    fs::create_dir_all(&folder)?;
    let unpacked = folder.join("unpacked");
    debian::unpack(&[&image], &unpacked)?;
    let vmlinuz = only_file(&unpacked.join("boot"), |name| name.starts_with("vmlinuz-"))?;
    fs::copy(vmlinuz, folder.join("vmlinuz"))?;
    // Everything else is modules: the guest boots with what is built in.
    fs::remove_dir_all(&unpacked)?;
    fs::write(folder.join("package"), format!("{image}\n"))?;
    Ok(())
}

/// The image that a meta-package depends on.
fn newest_image(package: &str) -> Result<String> {
    let text = process::output_of(Command::new("apt-cache").args(["depends", "--important", package]))?;
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| name.starts_with("linux-image-"))
        .map(str::to_owned)
        .with_context(|| format!("apt knows no kernel image behind {package}"))
}

fn only_file(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<std::path::PathBuf> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.file_name().and_then(|name| name.to_str()).is_some_and(&wanted) {
            return Ok(path);
        }
    }
    bail!("{} does not hold the file that was expected", folder.display())
}
