//! Calls and streams.

use std::process::Command;

use anyhow::{Context, Result};
use countersign_tests::{Process, Testbed, output_of, python_with_packages, ready};

use crate::conversation::{USER, assert_conversations};
use crate::peers::{ask, curl, serve};

#[test]
fn sip_by_sipp_on_both_sides() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let port = Testbed::shared().port();
    let address = Testbed::SERVER.to_string();
    // One call over one TCP connection.
    let sipp = |scenario: &str| -> Result<Command> {
        let mut command = Command::new("sipp");
        command.current_dir(Testbed::shared().folder("sipp")?);
        command.args(["-sn", scenario, "-t", "t1", "-m", "1", "-nostdin"]);
        Ok(command)
    };
    let mut server = sipp("uas")?;
    server.args(["-i", &address, "-p", &port.to_string()]);
    let _server = serve("sipp uas", server, port)?;
    let mut client = sipp("uac")?;
    client.args(["-i", &Testbed::CLIENT.to_string(), &format!("{address}:{port}")]);
    ask("sipp uac", client, "Successful call        |        0                  |        1 ")?;
    assert_conversations(port, "sip", &[None])
}

/// The ffmpeg that a package of PyPI carries.
fn ffmpeg() -> Result<Command> {
    let path = output_of(
        Command::new(python_with_packages()?)
            .args(["-c", "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"]),
    )?;
    let mut command = Command::new(path.lines().next().context("no ffmpeg: run `cargo xtask setup`")?);
    command.args(["-hide_banner", "-nostdin", "-loglevel", "verbose"]);
    Ok(command)
}

/// A server that takes one stream.
fn ffmpeg_server(port: u16) -> Result<Process> {
    let mut command = ffmpeg()?;
    command.args(["-rtsp_flags", "listen", "-i", &format!("rtsp://{}:{port}/live", Testbed::SERVER)]);
    command.args(["-f", "null", "-"]);
    serve("ffmpeg", command, port)
}

#[test]
fn rtsp_by_ffmpeg_on_both_sides() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let port = Testbed::shared().port();
    let _server = ffmpeg_server(port)?;
    let mut client = ffmpeg()?;
    client.args(["-f", "lavfi", "-i", "sine", "-t", "0.2", "-c:a", "pcm_alaw", "-f", "rtsp"]);
    client.args(["-rtsp_transport", "tcp", &format!("rtsp://{}:{port}/live", Testbed::SERVER)]);
    ask("ffmpeg", client, "All streams finished")?;
    assert_conversations(port, "rtsp", &[None])
}

#[test]
fn rtsp_by_ffmpeg_and_curl_with_a_password() -> Result<()> {
    if !ready() {
        return Ok(());
    }
    let port = Testbed::shared().port();
    let _server = ffmpeg_server(port)?;
    ask("curl", curl(&format!("rtsp://{}:{port}/live", Testbed::SERVER), Some(USER)), "RTSP/1.0 200 OK")?;
    assert_conversations(port, "rtsp", &[Some("http_basic")])
}
