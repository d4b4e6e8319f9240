//! Debian's PostgreSQL with a new cluster; it runs as its own user, as it insists.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::unistd::User;

use crate::{Testbed, output_of};

/// How its clients are let in.
#[derive(Debug, Default)]
pub struct PostgresqlCluster<'a> {
    /// `pg_hba.conf`.
    pub rules: &'a str,
    /// The password of the user `postgres`, if it has one.
    pub password: Option<&'a str>,
    /// Settings beside its address. Files in them have to be [its own](PostgresqlCluster::own).
    pub settings: Vec<(&'static str, String)>,
}

impl PostgresqlCluster<'_> {
    /// Makes the cluster in a new folder; the command runs its server at the server's address.
    ///
    /// # Errors
    /// Without PostgreSQL, or when it makes no cluster.
    pub fn command(&self, port: u16) -> Result<Command> {
        let folder = Testbed::shared().folder("postgresql")?;
        Self::own(&folder)?;
        let (rules, data) = (folder.join("hba.conf"), folder.join("data"));
        std::fs::write(&rules, self.rules)?;
        let mut initialise = program("initdb")?;
        initialise.args(["--no-sync", "--username=postgres", "--auth=trust", "-D"]).arg(&data);
        if let Some(password) = self.password {
            let file = folder.join("password");
            std::fs::write(&file, password)?;
            initialise.arg("--pwfile").arg(file);
        }
        output_of(&mut initialise)?;
        let mut command = program("postgres")?;
        command.arg("-D").arg(data);
        let own = [
            ("listen_addresses", Testbed::SERVER.to_string()),
            ("port", port.to_string()),
            ("unix_socket_directories", folder.display().to_string()),
            ("hba_file", rules.display().to_string()),
            ("fsync", "off".to_owned()),
        ];
        for (name, value) in own.iter().chain(&self.settings) {
            command.args(["-c", &format!("{name}={value}")]);
        }
        Ok(command)
    }

    /// Gives a file or folder to its user.
    ///
    /// # Errors
    /// Without that user.
    pub fn own(path: &Path) -> Result<()> {
        let user = User::from_name("postgres")?.context("no user postgres: run `cargo xtask setup`")?;
        Ok(chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?)
    }
}

fn program(name: &str) -> Result<Command> {
    let releases =
        std::fs::read_dir("/usr/lib/postgresql").context("no PostgreSQL: run `cargo xtask setup`")?;
    let mut paths = releases.flatten().map(|entry| entry.path().join("bin").join(name));
    let path: PathBuf = paths.find(|path| path.exists()).with_context(|| format!("no {name}"))?;
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(path).current_dir("/");
    Ok(command)
}
