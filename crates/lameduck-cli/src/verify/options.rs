//! From arguments to what is tested and how.

use std::time::Duration;

use lameduck_verify::{
    Driven, Front, GrpcCall, Options, Profile, Protocol, Rollout, Stop, TargetSpec,
};

use crate::{
    args::{ChoiceArguments, TargetArguments, Variable, VerifyArguments},
    exit::Failure,
};

/// The grace period of the embedded demo, which is started with it.
const DEMO_GRACE: Duration = Duration::from_secs(4);

/// What was asked for: first the defaults, then the profile, then the arguments.
pub(super) fn options(arguments: VerifyArguments) -> Result<Options, Failure> {
    let profile = arguments.profile.profile.as_deref().map(Profile::read);
    let profile = profile.transpose().map_err(|error| Failure::of(&error))?;
    let embedded = arguments.command.is_empty()
        && profile.is_none()
        && arguments.target.pid.is_none()
        && arguments.target.start.is_none();
    let given = arguments.target;
    let front = arguments.front;
    let mut options = Options::new(TargetSpec::default());
    if embedded {
        let propagation = front.front.map_or(Duration::ZERO, Front::propagation);
        let pre_stop = front.pre_stop.unwrap_or_default();
        let exposed = propagation.saturating_sub(pre_stop);
        options = Options::new(demo(exposed)?);
        options.grace = DEMO_GRACE + exposed + pre_stop;
        if given.url.is_some() {
            return Err(
                Failure::new("--url needs a service: a command, --start or --pid")
                    .hint("lameduck verify --url http://127.0.0.1:{port}/path -- CMD"),
            );
        }
    }
    if let Some(profile) = &profile {
        profile.apply(&mut options);
    }
    if !arguments.command.is_empty() {
        let spec = TargetSpec::command(arguments.command);
        (options.target.argv, options.target.label) = (spec.argv, spec.label);
        options.target.driven = None;
    }
    launching(&mut options.target, &given);
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
        let message = given.grpc_message.map(|message| message.0);
        target.grpc = Some(GrpcCall {
            path,
            message: message.unwrap_or_default(),
            slow_message: given.grpc_slow_message.map(|message| message.0),
        });
    }
    options.grace = given.grace.unwrap_or(options.grace);
    let call = given.stop_url.as_deref().map(Stop::http);
    let stop = given.stop.map(Stop::Command).or(call);
    if let Some(stop) = stop.or(given.signal.map(Stop::Signal)) {
        options.stop = stop;
    }
    options.front = front.front.unwrap_or(options.front);
    options.pre_stop = front.pre_stop.unwrap_or(options.pre_stop);
    choose(&mut options, arguments.choice);
    Ok(options)
}

/// How the service is had, and when it is ready. What is given here replaces the command of a profile.
fn launching(target: &mut TargetSpec, given: &TargetArguments) {
    if let Some(pid) = given.pid {
        target.argv.clear();
        target.driven = None;
        (target.pid, target.label) = (Some(pid), format!("process {pid}"));
    }
    if let Some(start) = &given.start {
        target.argv.clear();
        target.label.clone_from(start);
        target.driven = Some(Driven {
            start: start.clone(),
            alive: given.alive.clone(),
            cleanup: given.cleanup.clone(),
        });
    }
    let env = given.env.iter();
    target
        .env
        .extend(env.map(|Variable(name, value)| (name.clone(), value.clone())));
    if let Some(path) = &given.control {
        let control = target.control.get_or_insert_default();
        control.path.clone_from(path);
    }
    if given.cwd.is_some() {
        target.cwd.clone_from(&given.cwd);
    }
    target.ready_within = given.ready_within.or(target.ready_within);
    for (field, value) in [
        (&mut target.logs, &given.logs),
        (&mut target.ready_line, &given.ready_line),
    ] {
        if value.is_some() {
            field.clone_from(value);
        }
    }
}

/// A rollout that is watched through a front; clap has seen to it that there is a URL and both commands.
pub(super) fn rollout(arguments: VerifyArguments) -> Result<Rollout, Failure> {
    let (given, front) = (arguments.target, arguments.front);
    let protocol = match arguments.choice.protocol.as_slice() {
        [] | [Protocol::H1] => Protocol::H1,
        [Protocol::H2] => Protocol::H2,
        _ => {
            return Err(Failure::new("a rollout is watched in one protocol")
                .hint("--protocol h1 or --protocol h2"));
        }
    };
    let (url, stop, until) = (given.url, given.stop, front.until);
    Ok(Rollout {
        front: front.front.unwrap_or_default(),
        protocol,
        within: front.within,
        seed: arguments.choice.seed,
        ..Rollout::new(
            url.unwrap_or_default(),
            stop.unwrap_or_default(),
            until.unwrap_or_default(),
        )
    })
}

/// Which checks, how often, with which random choices.
fn choose(options: &mut Options, given: ChoiceArguments) {
    if !given.only.is_empty() {
        options.only = given.only;
    }
    if !given.skip.is_empty() {
        options.skip = given.skip;
    }
    if !given.protocol.is_empty() {
        options.protocols = given.protocol;
    }
    options.seed = given.seed;
    options.rounds = given.rounds.unwrap_or(options.rounds);
}

/// This very program, as a child that accepts for as long as the front sends.
fn demo(exposed: Duration) -> Result<TargetSpec, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::new(format_args!("cannot find this program: {error}")))?;
    let program = program.into_os_string().into_string();
    let demo = |program| TargetSpec::embedded_demo_behind(program, exposed);
    program.map(demo).map_err(|path| {
        Failure::new(format_args!(
            "the path of this program is not UTF-8: {}",
            path.display()
        ))
    })
}
