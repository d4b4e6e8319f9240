//! The suites, in the order in which they run: cheap and general first.

use std::process::Command;

use crate::process;

/// One suite: a command whose output is counted.
pub struct Suite {
    /// What one types.
    pub name: &'static str,
    /// What a user would lose without it.
    pub purpose: &'static str,
    arguments: &'static [&'static str],
}

impl Suite {
    /// The cargo command of the suite.
    pub fn command(&self) -> Command {
        let mut command = process::cargo();
        command.args(self.arguments);
        command
    }
}

/// A test program of the `tests` package. One at a time: they measure live hosts and share its ports.
macro_rules! live {
    ($name:literal, $purpose:literal) => {
        Suite {
            name: $name,
            purpose: $purpose,
            arguments: &[
                "test",
                "--package",
                "countersign-tests",
                "--test",
                $name,
                "--",
                "--test-threads=1",
                "--nocapture",
            ],
        }
    };
}

/// Every suite.
pub const SUITES: &[Suite] = &[
    Suite { name: "format", purpose: "the code is formatted", arguments: &["fmt", "--all", "--check"] },
    Suite {
        name: "clippy",
        purpose: "no warnings in any target",
        arguments: &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"],
    },
    Suite {
        name: "dependencies",
        purpose: "licences, sources and duplicates of the dependencies",
        // Advisories live in a git repository that a closed network does not reach: `cargo deny check`
        // checks them where it is open.
        // Not `--offline`: cargo-deny looks at dependencies of other platforms, too, which no build has brought here.
        arguments: &["deny", "--locked", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"],
    },
    Suite {
        name: "unit",
        purpose: "every room by itself, the order of the rooms, and the kernel programs on this kernel",
        arguments: &[
            "test",
            "--package",
            "countersign",
            "--package",
            "countersign-common",
            "--package",
            "xtask",
            "--",
            // Without it a test that skips itself would not be heard.
            "--show-output",
        ],
    },
    Suite {
        name: "harness",
        purpose: "the harness of the live tests by itself",
        arguments: &["test", "--package", "countersign-tests", "--lib", "--bins"],
    },
    Suite {
        name: "build",
        purpose: "the agent as it is shipped",
        arguments: &["build", "--release", "--package", "countersign"],
    },
    live!("corpus", "replayed captures that nobody here made, against tshark, Zeek and nDPI, and damaged"),
    live!("live_matrix", "the whole record for every server, client, mode and version"),
    live!("libraries", "certificates behind TLS 1.3, read at libraries: each library, 50 at once, a load"),
    live!("workloads", "who an owner belongs to: cgroups of every layout, real runtimes, hostile names"),
    live!("pitfalls", "NAT, MPTCP, older connections, namespaces"),
    live!(
        "owners",
        "who holds a socket: pids used again, 5,000 short lives, passed sockets, both ends, older ones"
    ),
    live!(
        "identities",
        "certificates that do not fit their workload, are shared, or are used against their purpose; owners"
    ),
    live!("openings", "TLS behind STARTTLS and proxies, credentials in clear"),
    live!("protocols", "names of protocols and credentials in clear, by real clients of real servers"),
    live!("replay", "a capture of real peers says the same as the live agent"),
    live!("adversity", "loss, odd segments, hostile clients, floods, a full ring buffer"),
    live!("daemon", "kill -9, reload, a second daemon, permissions, the metrics page"),
    live!("history", "the history on full, read-only and damaged files, and after kill -9"),
    live!("lists", "workloads and identities as users list them: filters, hostile names, readers that stall"),
    live!("prometheus", "a real Prometheus scrapes the agent, evaluates the alerts and fills the dashboard"),
    live!(
        "questions",
        "a history asked by the command line: each question, pages, hostile names, twenty at once"
    ),
    live!("kernels", "Debian's 6.1 and 6.12 kernels give the right records"),
];
