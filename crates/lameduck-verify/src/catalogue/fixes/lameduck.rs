//! The row of our own server: what it holds by itself, and the two settings that a failure points at.

use super::{Checked, Fix, ServerKind::Lameduck};

pub(super) const FIXES: &[Fix] = &[
    Fix {
        server: Lameduck,
        ids: &["P2"],
        how: "Give the plan the platform's grace period. What is left shortly before its end is cut and named, and the exit code is 124.",
        code: "LAMEDUCK_GRACE=25s",
        language: "sh",
        version: "lameduck 0.1",
        leaves: "Nothing, as long as LAMEDUCK_GRACE is shorter than what the platform really gives.",
        source: "this repository, docs/start.md",
        checked: Checked::Run,
    },
    Fix {
        server: Lameduck,
        ids: &[
            "P1", "P3", "P4", "P5", "P8", "P9", "P10", "A1", "A3", "A4", "A5", "H1-01", "H1-03",
            "H1-05", "H1-06", "H1-07", "H1-08", "H1-09", "H1-10", "H1-11", "H1-12", "H1-13",
            "H1-14", "H2-01", "H2-02", "H2-03", "H2-04", "H2-05", "H2-06", "H2-07", "H2-08",
            "H2-09", "H2-10", "WS-01", "WS-02", "WS-03", "WS-04", "WS-05", "WS-06", "TLS-1",
            "TLS-2", "TLS-3", "TLS-4",
        ],
        how: "Nothing to set: lameduck_http::serve owes it. If it fails on yours, the listener is probably another server's that only takes part in the lifecycle; else it is our defect, please report it with the seed.",
        code: "lameduck_http::serve(&life, \"0.0.0.0:8080\", app).await?;",
        language: "rust",
        version: "lameduck 0.1",
        leaves: "A server that takes part by the tower layer keeps its own accept loop: A3, A4 and the idle connections stay as that server treats them.",
        source: "this repository, docs/contract.md",
        checked: Checked::Run,
    },
    Fix {
        server: Lameduck,
        ids: &["P7"],
        how: "Register what a reload does, and give back an error where the new configuration is no good: the old one stays then, and the report says why.",
        code: "life.on_reload(\"settings\", move || settings.read_again());",
        language: "rust",
        version: "lameduck 0.1",
        leaves: "What the configuration means is yours; certificates of lameduck_http reload by themselves.",
        source: "this repository, the demo's --config",
        checked: Checked::Run,
    },
    Fix {
        server: Lameduck,
        ids: &["P6"],
        how: "Switch stacks on where the lifecycle starts (feature `dump`): SIGQUIT then writes the stacks of all threads with all that is in flight, and dies of the signal.",
        code: "use lameduck::{Plan, StackSignal, Start};\n\nlet start = Start::from(Plan::detect());\nlameduck::run(start.dump_stacks(StackSignal::default()), body)",
        language: "rust",
        version: "lameduck 0.1",
        leaves: "Names need a program that is not stripped; else there are modules, offsets and build ids.",
        source: "this repository, the demo; the manual's page on dumps",
        checked: Checked::Run,
    },
    Fix {
        server: Lameduck,
        ids: &[
            "A2", "H1-02", "H1-04", "L-H1", "L-H2", "L-WS", "L-TLS", "L-MIX",
        ],
        how: "Choose the preset of your platform, or say floor, quiet and ceiling. The lame-duck window does the rest; where it fails, the quiet time is shorter than your clients' pauses, or the floor is shorter than your front's propagation.",
        code: "LAMEDUCK_PRESET=kubernetes\n# or: floor, quiet, ceiling\nLAMEDUCK_WINDOW=5s,2s,12s",
        language: "sh",
        version: "lameduck 0.1",
        leaves: "A client that pauses for longer than the quiet time can still cross the close on the wire.",
        source: "this repository, docs/start.md",
        checked: Checked::Run,
    },
];
