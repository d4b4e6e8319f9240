//! Cgroups of one's own in this host's hierarchies.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use countersign_tests::until;

/// Moves itself into cgroups and becomes another program.
const MOVE: &str = "while [ \"$1\" != -- ]; do echo $$ > \"$1\" || exit 9; shift; done; shift; exec \"$@\"";

/// A hierarchy: `""` is version 2, else a controller or `name=systemd`.
pub type Hierarchy = &'static str;

/// A cgroup, in one or more hierarchies; removed with the value.
pub struct Cgroup {
    folders: Vec<PathBuf>,
    made: Vec<PathBuf>,
}

impl Cgroup {
    /// Makes `path` in each of the hierarchies that are mounted here; nothing if one is not.
    pub fn make(hierarchies: &[Hierarchy], path: &[u8]) -> Result<Option<Self>> {
        let mut cgroup = Self { folders: Vec::new(), made: Vec::new() };
        for hierarchy in hierarchies {
            let Some(mount) = mount(hierarchy)? else { return Ok(None) };
            let mut folder = mount;
            for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
                folder.push(OsStr::from_bytes(name));
                if !folder.exists() {
                    std::fs::create_dir(&folder).with_context(|| format!("make {}", folder.display()))?;
                    cgroup.made.push(folder.clone());
                }
            }
            cgroup.folders.push(folder);
        }
        Ok(Some(cgroup))
    }

    /// In version 2 alone.
    pub fn unified(path: &str) -> Result<Self> {
        Self::make(&[""], path.as_bytes())?.context("cgroup v2 is not mounted")
    }

    /// Gives the last folders of the path to a user, as a manager delegates them.
    pub fn delegate(&self, from: &str, uid: u32) -> Result<()> {
        for folder in &self.made {
            if folder.ancestors().any(|above| above.file_name() == Some(OsStr::new(from))) {
                std::os::unix::fs::chown(folder, Some(uid), Some(uid))?;
            }
        }
        Ok(())
    }

    /// The command, run in the cgroup.
    pub fn command(&self, command: Command) -> Command {
        let mut moving = Command::new("sh");
        moving.args(["-c", MOVE, "sh"]).args(self.folders.iter().map(|folder| folder.join("cgroup.procs")));
        moving.arg("--").arg(command.get_program()).args(command.get_args());
        moving
    }

    /// Moves a process here.
    pub fn take(&self, pid: u32) -> Result<()> {
        for folder in &self.folders {
            std::fs::write(folder.join("cgroup.procs"), pid.to_string())?;
        }
        Ok(())
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for folder in self.made.iter().rev() {
            // A process that has just been killed is still in it for a moment; what others put there stays.
            let _ = until("an empty cgroup", Duration::from_secs(2), || {
                Ok((std::fs::remove_dir(folder).is_ok() || !folder.exists()).then_some(()))
            });
        }
    }
}

/// Where a hierarchy is mounted (proc_pid_mountinfo(5)).
fn mount(hierarchy: Hierarchy) -> Result<Option<PathBuf>> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    Ok(mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut fields = file_system.split(' ');
        let is_it = match (fields.next()?, hierarchy) {
            ("cgroup2", "") => true,
            ("cgroup", controller) if !controller.is_empty() => {
                fields.nth(1)?.split(',').any(|option| option == controller)
            }
            _ => false,
        };
        is_it.then(|| Path::new(mount.split(' ').nth(4).unwrap_or_default()).to_owned())
    }))
}
