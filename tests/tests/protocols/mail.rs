//! Mail: each protocol with each way to show a password, and one that shows none.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use anyhow::Result;
use countersign_tests::{Process, Testbed, ready};

use crate::conversation::{PASSWORD, USER, assert_conversations};
use crate::peers::{ask, ask_script, configured, curl, serve};

/// Dovecot with one of its protocols.
fn dovecot(protocol: &str, port: u16) -> Result<Process> {
    let (folder, configuration) = configured("dovecot", "")?;
    let home = folder.join("home");
    std::fs::create_dir(&home)?;
    std::fs::set_permissions(&home, std::fs::Permissions::from_mode(0o777))?;
    // Nobody listens where submission would hand mail on: who has logged in is then sent away.
    std::fs::write(
        &configuration,
        format!(
            "base_dir = {run}\nlog_path = /dev/stderr\nprotocols = {protocol}\nlisten = {address}\nssl = no\n\
             disable_plaintext_auth = no\nauth_mechanisms = plain login cram-md5\n\
             submission_relay_host = 127.0.0.1\nsubmission_relay_port = 9\nmail_location = maildir:{home}\n\
             passdb {{\n  driver = static\n  args = password={PASSWORD}\n}}\n\
             userdb {{\n  driver = static\n  args = uid=nobody gid=nogroup home={home}\n}}\n\
             service {protocol}-login {{\n  inet_listener {protocol} {{\n    port = {port}\n  }}\n}}\n",
            run = folder.join("run").display(),
            home = home.display(),
            address = Testbed::SERVER,
        ),
    )?;
    let mut command = Command::new("dovecot");
    command.arg("-F").arg("-c").arg(configuration);
    serve("dovecot", command, port)
}

/// curl logs in by each SASL mechanism.
fn assert_mechanisms(scheme: &str, port: u16, protocol: &str, plain: &str, login: &str) -> Result<()> {
    for mechanism in ["PLAIN", "LOGIN", "CRAM-MD5"] {
        let mut command = curl(&format!("{scheme}://{}:{port}", Testbed::SERVER), Some(USER));
        command.args(["--login-options", &format!("AUTH={mechanism}")]);
        ask("curl", command, "Logged in")?;
    }
    assert_conversations(port, protocol, &[Some(plain), Some(login), None])
}

#[test]
fn smtp_by_dovecot_and_curl() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let port = Testbed::shared().port();
    let _server = dovecot("submission", port)?;
    assert_mechanisms("smtp", port, "smtp", "smtp_plain", "smtp_login")
}

#[test]
fn imap_by_dovecot_curl_and_imaplib() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (port, by_command) = (Testbed::shared().port(), Testbed::shared().port());
    let _servers = [dovecot("imap", port)?, dovecot("imap", by_command)?];
    assert_mechanisms("imap", port, "imap", "imap_plain", "imap_login")?;
    ask_script("imap", by_command, Some(USER))?;
    assert_conversations(by_command, "imap", &[Some("imap_login")])
}

#[test]
fn pop3_by_dovecot_curl_and_poplib() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let (port, by_command) = (Testbed::shared().port(), Testbed::shared().port());
    let _servers = [dovecot("pop3", port)?, dovecot("pop3", by_command)?];
    assert_mechanisms("pop3", port, "pop3", "pop3_plain", "pop3_login")?;
    ask_script("pop3", by_command, Some(USER))?;
    assert_conversations(by_command, "pop3", &[Some("pop3_password")])
}
