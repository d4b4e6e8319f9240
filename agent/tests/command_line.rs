//! The program as a shell runs it.

#![expect(clippy::unwrap_used, reason = "a test's helpers stand outside its test functions")]

use std::io::Read as _;
use std::process::{Command, Output, Stdio};

fn countersign(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = countersign(arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    for arguments in [&["man"][..], &["config", "default"], &["completion", "bash"], &["--help"]] {
        let mut child = countersign(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(child.wait().unwrap().code(), Some(0), "{arguments:?}");
        let mut complaint = String::new();
        child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        assert_eq!(complaint, "", "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = countersign(&["man"]).stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_wrong_configuration_is_named_with_its_place_and_the_printed_one_is_right() {
    let folder = std::env::temp_dir().join(format!("countersign-cli-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let file = folder.join("c.toml");
    let path = file.to_str().unwrap();

    let (code, printed, _) = output(&["config", "default"]);
    assert_eq!(code, Some(0));
    std::fs::write(&file, printed).unwrap();
    assert_eq!(output(&["config", "check", path]), (Some(0), format!("{path} is valid\n"), String::new()));

    std::fs::write(&file, "[metrics]\nlisten = \"10.0.0.1:80\"\n").unwrap();
    let expected = format!(
        "countersign: {path}:2:10: metrics.listen: `10.0.0.1:80` can be reached by other hosts: use 127.0.0.1 or \
         [::1], or set metrics.allow_remote = true\n"
    );
    for arguments in
        [&["config", "check", path][..], &["run", "--config", path], &["check", "--config", path]]
    {
        assert_eq!(output(arguments), (Some(2), String::new(), expected.clone()), "{arguments:?}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn arguments_that_are_wrong_and_help_that_is_asked_for_have_their_codes() {
    assert_eq!(output(&["--version"]).0, Some(0));
    assert_eq!(output(&["watch", "--help"]).0, Some(0));
    assert_eq!(output(&["wach"]).0, Some(2));
    let (code, _, complaint) = output(&["watch", "--socket", "/nowhere/api.sock"]);
    assert_eq!(code, Some(3));
    assert!(
        complaint.starts_with("countersign: no daemon answers on /nowhere/api.sock: start one"),
        "{complaint}"
    );
}
