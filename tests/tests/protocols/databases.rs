//! Databases.

use std::process::Command;

use anyhow::Result;
use countersign_tests::{PostgresqlCluster, Testbed, at, ready};

use crate::conversation::{PASSWORD, USER, assert_conversations, assert_said, connections};
use crate::peers::{ask, ask_script, serve, serve_script};

/// The rule of the database decides how its client proves the password.
#[test]
fn postgresql_and_psql() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let port = Testbed::shared().port();
    let cluster = PostgresqlCluster {
        rules: "host postgres all all password\nhost template1 all all scram-sha-256\n",
        password: Some(PASSWORD),
        settings: Vec::new(),
    };
    let _server = serve("postgresql", cluster.command(port)?, port)?;
    for database in ["postgres", "template1"] {
        let mut command = Command::new("psql");
        command.args(["--no-psqlrc", "--tuples-only", "--command=select 'answered'"]);
        command.env("PGPASSWORD", PASSWORD).arg(format!(
            "host={} port={port} user=postgres dbname={database} gssencmode=disable",
            Testbed::SERVER
        ));
        ask("psql", command, "answered")?;
    }
    assert_conversations(port, "postgresql", &[Some("postgresql_password"), None])
}

#[test]
fn mysql_by_pymysql() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    for (server, credential) in [("mysql_clear", Some("mysql_password")), ("mysql_native", None)] {
        let port = Testbed::shared().port();
        let _server = serve_script(server, port)?;
        ask_script("mysql", port, Some(USER))?;
        assert_conversations(port, "mysql", &[credential])?;
    }
    Ok(())
}

#[test]
fn redis_server_and_redis_cli() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    // Each generation of the protocol: AUTH alone, and before HELLO.
    for (generation, password, credential) in [
        ("-2", Some(PASSWORD), Some("redis_auth")),
        ("-3", Some(PASSWORD), Some("redis_auth")),
        ("-3", None, None),
    ] {
        let port = Testbed::shared().port();
        let mut server = Command::new("redis-server");
        server.args(["--bind", &Testbed::SERVER.to_string(), "--port", &port.to_string(), "--save", ""]);
        server.arg("--dir").arg(Testbed::shared().folder("redis")?).args(["--protected-mode", "no"]);
        let mut client = Command::new("redis-cli");
        client.args(["-h", &Testbed::SERVER.to_string(), "-p", &port.to_string(), generation]);
        if let Some(password) = password {
            server.args(["--requirepass", password]);
            client.args(["-a", password]);
        }
        let _server = serve("redis-server", server, port)?;
        client.args(["echo", "answered"]);
        ask("redis-cli", client, "answered")?;
        assert_conversations(port, "redis", &[credential])?;
    }
    Ok(())
}

/// A real client; the server is scripted, since no registry in reach has one.
#[test]
fn mongodb_by_pymongo() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    for (user, credential) in [(None, None), (Some(USER), Some("mongodb_plain"))] {
        let port = Testbed::shared().port();
        let _server = serve_script("mongodb", port)?;
        ask_script("mongodb", port, user)?;
        // It watches its server by connections on which nobody logs in.
        let records = connections(port)?;
        let is_asked = |record: &_| at(record, "/credential_in_clear") == &serde_json::json!(credential);
        assert!(records.iter().any(is_asked), "{records:#?}");
        for record in &records {
            assert_said(record, "mongodb", credential.filter(|_| is_asked(record)));
        }
    }
    Ok(())
}
