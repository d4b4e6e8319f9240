//! Directories and coordination.

use std::process::Command;

use anyhow::Result;
use countersign_tests::{Testbed, ready};

use crate::conversation::{PASSWORD, USER, assert_conversations};
use crate::peers::{ask, ask_script, configured, curl, serve};

#[test]
fn slapd_and_curl() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let port = Testbed::shared().port();
    let (folder, configuration) = configured("slapd", "")?;
    std::fs::write(
        &configuration,
        format!(
            "include /etc/ldap/schema/core.schema\npidfile {folder}/pid\nargsfile {folder}/arguments\n\
             database ldif\nsuffix dc=test\ndirectory {folder}\nrootdn cn={USER},dc=test\nrootpw {PASSWORD}\n",
            folder = folder.display()
        ),
    )?;
    let mut command = Command::new("slapd");
    command.args(["-d", "0", "-h", &format!("ldap://{}:{port}/", Testbed::SERVER)]);
    command.arg("-f").arg(configuration);
    let _server = serve("slapd", command, port)?;
    // The root of the directory, which anybody may read.
    let url = format!("ldap://{}:{port}/??base", Testbed::SERVER);
    ask("curl", curl(&url, None), "objectClass: ")?;
    ask("curl", curl(&url, Some(&format!("cn={USER},dc=test"))), "objectClass: ")?;
    assert_conversations(port, "ldap", &[None, Some("ldap_simple_bind")])
}

#[test]
fn zookeeper_and_kazoo() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let port = Testbed::shared().port();
    let (folder, configuration) = configured("zookeeper", "")?;
    std::fs::write(
        &configuration,
        format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress={}\nadmin.enableServer=false\n",
            folder.join("data").display(),
            Testbed::SERVER
        ),
    )?;
    let mut command = Command::new("java");
    // What starts soonest.
    command.args(["-Xmx64m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    command.args(["-cp", "/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-simple.jar"]);
    command.arg("org.apache.zookeeper.server.ZooKeeperServerMain").arg(configuration);
    let server = serve("zookeeper", command, port)?;
    // It listens before it answers; this is the last that it says of its start.
    server.wait_for_output("checkIntervalMs=")?;
    ask_script("zookeeper", port, None)?;
    assert_conversations(port, "zookeeper", &[None])
}
