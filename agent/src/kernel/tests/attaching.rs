//! How probes come and go.

use std::{path::Path, time::Instant};

use super::{
    super::*,
    library::{
        Folder, OPENSSL, Presented, all, connect, end, linked, party, points, probe, probe_openssl, run,
        runs_of, serve,
    },
    roomy, source,
};
use crate::library::Hook;

#[test]
fn a_process_whose_libraries_change_is_named() {
    let Some(mut source) = source(&roomy()) else { return };
    let file = linked("/usr/bin/openssl", "ld-linux");
    let _probed = probe(&mut source, &file, &[(Hook::LinkerState, "_dl_debug_state")]);
    let process = run("/usr/bin/true", &[]);
    let events = all(&mut source);
    let started = events.iter().find_map(|event| match event {
        Event::ProcessExecuted { task, .. } if task.process.pid == process => Some(task.process),
        _ => None,
    });
    let changed: Vec<_> = events
        .iter()
        .filter(|event| matches!(event, Event::LibrariesChanged { process, .. } if Some(*process) == started))
        .collect();
    assert_eq!(changed.len(), 2, "before and after it mapped what it is linked with");
}

#[test]
fn released_probes_show_nothing_more() {
    let Some(mut source) = source(&roomy()) else { return };
    let folder = Folder::new();
    let server = party(&folder, "server", Presented::WithoutRoot);
    let probed = probe_openssl(&mut source);
    assert_eq!(probed.attached(), 7);
    for (probed, shown) in [(Some(probed), true), (None, false)] {
        let (serving, port) = serve(&server.options);
        let client = connect(port, &[]);
        end(serving);
        assert_eq!(!runs_of(&all(&mut source), client).is_empty(), shown);
        drop(probed);
    }
}

#[test]
fn a_point_that_is_refused_leaves_the_others_in_place() {
    let Some(source) = source(&roomy()) else { return };
    let file = linked("/usr/bin/openssl", "libcrypto");
    let mut points = points(&file, &OPENSSL);
    points[1].offset = u64::MAX / 2;
    let mut prober = source.prober();
    let probed = prober.probe(&file, &points);
    assert_eq!(probed.attached(), 5);
    assert_eq!(probed.refused().iter().map(|refused| refused.point).collect::<Vec<_>>(), [points[1]]);
    let missing = prober.probe(Path::new("/nowhere"), &points);
    assert_eq!((missing.attached(), missing.refused().len()), (0, points.len()));
    assert!(missing.refused()[0].error.to_string().contains("/nowhere"), "{:?}", missing.refused());
}

#[test]
fn a_program_that_is_refused_for_now_is_tried_again() {
    let Some(source) = source(&roomy()) else { return };
    let mut prober = source.prober();
    for (errno, tries) in [(nix::libc::ENOMEM, 2), (nix::libc::EINVAL, 1)] {
        let mut tried = 0;
        for _ in 0..2 {
            let refused = prober.ready("d2i_x509", |_| -> Result<(), KernelError> {
                tried += 1;
                let io_error = io::Error::from_raw_os_error(errno);
                let error = aya::sys::SyscallError { call: "bpf", io_error };
                Err(KernelError::load("d2i_x509", &aya::programs::ProgramError::SyscallError(error)))
            });
            assert!(refused.is_err());
        }
        assert_eq!((tried, prober.unavailable().len()), (tries, 2 - tries));
    }
}

/// Prints what attaching costs: run it by itself, with `--nocapture`.
#[test]
#[ignore = "a measurement"]
fn cost_of_attaching() {
    let Some(source) = source(&roomy()) else { return };
    let file = linked("/usr/bin/openssl", "libcrypto");
    let points = points(&file, &OPENSSL);
    let begin = Instant::now();
    let mut prober = source.prober();
    let probed = prober.probe(&file, &points);
    eprintln!("first: {:?} for {} programs", begin.elapsed(), probed.attached());
    for (_, program) in source.ebpf.lock().unwrap().programs() {
        if let Ok(information) = program.info() {
            eprintln!("  {:?} {:?}", information.name_as_str(), information.verified_instruction_count());
        }
    }
    let begin = Instant::now();
    let more: Vec<_> = (0..20).map(|_| prober.probe(&file, &points)).collect();
    let count: usize = more.iter().map(Probed::attached).sum();
    eprintln!("attach: {:?} per program", begin.elapsed() / count as u32);
    let begin = Instant::now();
    drop(more);
    eprintln!("detach: {:?} per program", begin.elapsed() / count as u32);
}
