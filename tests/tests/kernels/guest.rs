//! A virtual machine that boots a kernel with the agent in its initramfs, and what it prints.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::initramfs;

/// Boot takes 6 to 10 s and the connections some more; on a loaded machine the emulator is several
/// times slower.
const LONGEST_RUN: Duration = Duration::from_secs(240);

/// One guest; a folder of its own holds its initramfs and its output.
pub struct Guest {
    kernel: PathBuf,
    folder: PathBuf,
}

impl Guest {
    /// A guest of this kernel. `name` sets its folder apart from those of other guests.
    pub fn new(kernel: &Path, name: &str) -> Self {
        let folder = kernel.with_file_name(format!("guest-{name}"));
        if folder.exists() {
            fs::remove_dir_all(&folder).unwrap();
        }
        fs::create_dir_all(&folder).unwrap();
        Self { kernel: kernel.to_path_buf(), folder }
    }

    /// Boots, runs `init.sh` to its end, and returns its sections by name.
    pub fn run(&self, agent: &Path) -> BTreeMap<String, String> {
        let initramfs = self.folder.join("initramfs.cpio");
        initramfs::build(&self.folder.join("root"), agent, &initramfs);
        let console = self.folder.join("console");
        let results = self.folder.join("results");
        let mut emulator = Emulator::start(
            emulator()
                .args(["-machine", "q35,accel=tcg", "-cpu", "max", "-smp", "2", "-m", "1024"])
                .args(["-nodefaults", "-display", "none", "-no-reboot"])
                .arg("-kernel")
                .arg(&self.kernel)
                .arg("-initrd")
                .arg(&initramfs)
                .args(["-append", "console=ttyS0 panic=-1 quiet"])
                .args(["-serial", &format!("file:{}", console.display())])
                .args(["-serial", &format!("file:{}", results.display())]),
        );
        let ended = emulator.wait(LONGEST_RUN);
        let text = String::from_utf8_lossy(&fs::read(&results).unwrap()).replace('\r', "");
        assert!(
            ended && text.trim_end().ends_with("=== end"),
            "the guest did not come to its end; its kernel said:\n{}\nand its results:\n{text}",
            String::from_utf8_lossy(&fs::read(&console).unwrap()),
        );
        sections(&text)
    }
}

fn sections(text: &str) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    let mut current = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            sections.insert(name.to_owned(), String::new());
            current = Some(name.to_owned());
        } else if let Some(name) = &current {
            let section = sections.entry(name.clone()).or_default();
            section.push_str(line);
            section.push('\n');
        }
    }
    sections
}

/// The command of the emulator: the one that set-up unpacked, else the machine's own.
fn emulator() -> Command {
    let unpacked = crate::target().join("emulator/qemu-system-x86_64");
    Command::new(if unpacked.is_file() { unpacked } else { "qemu-system-x86_64".into() })
}

/// The emulator's process, ended with this value.
struct Emulator(Child);

impl Emulator {
    fn start(command: &mut Command) -> Self {
        Self(
            command
                .stdin(Stdio::null())
                .spawn()
                .expect("qemu-system-x86_64 starts: cargo xtask setup fetches it"),
        )
    }

    /// Whether it ended by itself within that time.
    fn wait(&mut self, longest: Duration) -> bool {
        let deadline = Instant::now() + longest;
        while Instant::now() < deadline {
            if self.0.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        false
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Already ended in the good case.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
