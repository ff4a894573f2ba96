//! A host on a Unix socket lends the slots, as a process that can be killed and stopped.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::Args;
use lameduck::group::{Rules, SlotHost};

use crate::member::Process;
use crate::{Failure, Lender};

/// How long a new host waits for members that have a slot: much longer than the pauses between their tries, which are half a second at most.
const SETTLING: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub(crate) struct HostArgs {
    socket: PathBuf,
    rules: Rules,
    /// Its members may have slots of a host before it
    #[arg(long)]
    succeeds: bool,
}

pub(crate) fn run(args: HostArgs) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let served = runtime.and_then(|runtime| {
        runtime.block_on(async {
            let settling = if args.succeeds {
                SETTLING
            } else {
                Duration::ZERO
            };
            let host = SlotHost::bind(args.socket, args.rules)?.settling(settling);
            println!("ready");
            host.serve().await;
            Ok(())
        })
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// One host a round.
pub(crate) struct Host {
    socket: PathBuf,
    slots: u64,
    process: Option<Process>,
}

impl Host {
    pub(crate) fn new(slots: u64) -> Self {
        Self {
            socket: PathBuf::new(),
            slots,
            process: None,
        }
    }

    fn start(&mut self, others: &[OsString]) -> Result<(), Failure> {
        let mut args = vec![
            "host".into(),
            self.socket.clone().into(),
            self.slots.to_string().into(),
        ];
        args.extend_from_slice(others);
        self.process = Some(Process::start(&args)?);
        Ok(())
    }

    fn end(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }
}

impl Lender for Host {
    fn begin(&mut self, _round: u64, directory: &Path) -> Result<(), Failure> {
        self.end();
        self.socket = directory.join("slots.sock");
        self.start(&[])
    }

    fn arguments(&self) -> Vec<OsString> {
        vec!["--slots".into(), self.socket.clone().into()]
    }

    fn kill(&mut self, long: Duration) -> Result<(), Failure> {
        self.end();
        thread::sleep(long);
        self.start(&["--succeeds".into()])
    }

    fn stop(&mut self, long: Duration) {
        if let Some(process) = &mut self.process {
            process.stop(long);
        }
    }

    /// It keeps nothing.
    fn history(&mut self) -> String {
        String::new()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.end();
    }
}
