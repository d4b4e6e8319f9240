//! Debian's kernels for the kernel matrix: downloaded and unpacked, never installed.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Step, debian};
use crate::{process, workspace};

/// Kernel series → the package that always depends on its newest image.
const KERNELS: &[(&str, &str)] =
    &[("6.1", "linux-image-cloud-amd64"), ("6.12", "linux-image-6.12-cloud-amd64")];

/// One step per kernel that is not under `target/kernels` yet.
pub fn missing() -> Result<Vec<Step>> {
    let absent =
        KERNELS.iter().filter(|(series, _)| !workspace::kernels().join(series).join("vmlinuz").exists());
    let mut steps = Vec::new();
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
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    process::run(
        Command::new("apt-get")
            // Downloads as root go to a folder that apt's own user cannot write.
            .args(["-o", "APT::Sandbox::User=root", "--quiet", "download", &image])
            .current_dir(&folder),
    )?;
    let archive = only_file(&folder, |name| name.ends_with(".deb"))?;
    let unpacked = folder.join("unpacked");
    process::run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&unpacked))?;
    let vmlinuz = only_file(&unpacked.join("boot"), |name| name.starts_with("vmlinuz-"))?;
    fs::copy(vmlinuz, folder.join("vmlinuz"))?;
    // Everything else is modules: the guest boots with what is built in.
    fs::remove_dir_all(&unpacked)?;
    fs::remove_file(&archive)?;
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
