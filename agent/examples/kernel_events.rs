//! Prints what the kernel room reports, until it is interrupted: for looking at hooks by hand.
#![expect(clippy::print_stdout, reason = "that is what it is for")]

use std::time::Duration;

use countersign::kernel::{KernelOptions, KernelSource};

fn main() -> anyhow::Result<()> {
    let mut source = KernelSource::start(&KernelOptions::default())?;
    for lacking in source.unavailable() {
        println!("not available: {}: {}", lacking.program, lacking.reason);
    }
    match source.existing() {
        Ok(existing) => println!("{existing:#?}"),
        Err(error) => println!("{error}"),
    }
    loop {
        if source.wait(Duration::from_secs(1))? {
            source.drain(usize::MAX, &mut |event| println!("{event:?}"));
        } else {
            println!("{:?}", source.losses());
        }
    }
}
