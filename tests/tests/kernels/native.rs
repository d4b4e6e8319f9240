//! The same on the kernel that runs the tests, beside whatever agent may be running already.

use std::fs;
use std::io::{Read, Seek};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long each awaited event may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs agent and peer; returns the truths and the records, JSON Lines both.
pub fn run(agent: &Path) -> (String, String) {
    let folder = std::env::temp_dir().join(format!("countersign-kernels-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let socket = folder.join("socket");
    let mut daemon = Process(
        Command::new(agent)
            .arg("run")
            .arg("--socket")
            .arg(&socket)
            .arg("--data-dir")
            .arg(folder.join("data"))
            .args(["--metrics-listen", &format!("127.0.0.1:{}", free_port())])
            .stdin(Stdio::null())
            .spawn()
            .unwrap(),
    );
    wait_for("the daemon's socket", || socket.exists() || daemon.has_ended());
    let mut output = tempfile(&folder);
    let watch = Process(
        Command::new(agent)
            .args(["watch", "--json", "--socket"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .spawn()
            .unwrap(),
    );
    // A connection is only printed to who already listens: make some until the first one comes.
    wait_for("the first record", || {
        peer(&["once"]);
        !read(&mut output).is_empty()
    });
    let truths = peer(&["run", folder.join("certificates").to_str().unwrap()]);
    wait_for("the end of every connection", || {
        let records = read(&mut output);
        truths.lines().all(|truth| {
            let truth: serde_json::Value = serde_json::from_str(truth).unwrap();
            let port = format!("\"port\":{},", truth["client_port"]);
            records.lines().any(|record| record.contains(&port) && record.contains("\"final\":true"))
        })
    });
    drop(watch);
    daemon.terminate();
    let records = read(&mut output);
    fs::remove_dir_all(&folder).unwrap();
    // The last line may have been cut when the watch was ended.
    let whole = records.rfind('\n').map_or("", |end| &records[..end]);
    (truths, whole.to_owned())
}

fn peer(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_peer"))
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "the peer ended with {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn tempfile(folder: &Path) -> fs::File {
    let mut options = fs::File::options();
    options.read(true).append(true).create(true);
    options.open(folder.join("records")).unwrap()
}

fn read(file: &mut fs::File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn wait_for(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "{what} did not come within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process, ended with this value.
struct Process(Child);

impl Process {
    fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }

    /// Asks it to end, and expects that it does so cleanly.
    fn terminate(&mut self) {
        let pid = Pid::from_raw(self.0.id().try_into().unwrap());
        kill(pid, Signal::SIGTERM).unwrap();
        wait_for("the end of the daemon", || self.has_ended());
        let status = self.0.wait().unwrap();
        assert!(status.success(), "the daemon ended with {status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already ended in the good case.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
