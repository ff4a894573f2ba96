//! From arguments to what is tested and how.

use std::time::Duration;

use lameduck_verify::{GrpcCall, Options, TargetSpec};

use crate::{args::VerifyArguments, exit::Failure};

/// The grace period of the embedded demo, which is started with it.
const DEMO_GRACE: Duration = Duration::from_secs(4);

pub(super) fn options(arguments: VerifyArguments) -> Result<Options, Failure> {
    let embedded = arguments.command.is_empty();
    let given = arguments.target;
    let target = if embedded {
        demo()?
    } else {
        TargetSpec::command(arguments.command)
    };
    let mut options = Options::new(target);
    if embedded {
        options.grace = DEMO_GRACE;
        if given.url.is_some() {
            return Err(
                Failure::new("--url needs a command to start the service with")
                    .hint("lameduck verify --url http://127.0.0.1:{port}/path -- CMD"),
            );
        }
    }
    let target = &mut options.target;
    let overrides = [
        (&mut target.url, given.url),
        (&mut target.tls_url, given.tls_url),
        (&mut target.ready_path, given.ready_path),
        (&mut target.slow_path, given.slow_path),
        (&mut target.large_path, given.large_path),
        (&mut target.post_path, given.post_path),
        (&mut target.upload_path, given.upload_path),
        (&mut target.stream_path, given.stream_path),
        (&mut target.sse_path, given.sse_path),
        (&mut target.ws_path, given.ws_path),
    ];
    for (field, value) in overrides {
        if value.is_some() {
            *field = value;
        }
    }
    if let Some(copies) = given.copies {
        target.copies = usize::from(copies);
    }
    if let Some(path) = given.grpc_path {
        target.grpc = Some(GrpcCall {
            path,
            message: given
                .grpc_message
                .map_or_else(Vec::new, |message| message.0),
            slow_message: given.grpc_slow_message.map(|message| message.0),
        });
    }
    if let Some(grace) = given.grace {
        options.grace = grace;
    }
    options.signal = given.signal;
    options.only = arguments.choice.only;
    options.skip = arguments.choice.skip;
    options.protocols = arguments.choice.protocol;
    options.seed = arguments.choice.seed;
    options.rounds = arguments.choice.rounds;
    Ok(options)
}

/// This very program, as a child.
fn demo() -> Result<TargetSpec, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format_args!("cannot find this program: {error}")))?;
    let program = program.into_os_string().into_string();
    program.map(TargetSpec::embedded_demo).map_err(|path| {
        Failure::new(format_args!(
            "the path of this program is not UTF-8: {}",
            path.display()
        ))
    })
}
