//! placeholder
use anyhow::Result;
/// What `bench` takes.
#[derive(clap::Args)]
pub struct Options {}
/// Runs it.
pub fn bench(_: &Options) -> Result<bool> {
    Ok(true)
}
