//! Owns the command that makes one check again, with the same seed and the same target.
//! Not: making it.

use std::time::Duration;

use crate::declared::ControlSocket;
use crate::options::{Options, Stop, TargetSpec};

/// The command that runs `id` again with the same seed.
pub(super) fn reproduction(options: &Options, seed: u64, id: &str) -> String {
    let mut text = format!("lameduck verify --only {id} --seed {seed:x}");
    let target = &options.target;
    if target.label == "embedded demo" {
        if !options.front.is_none() {
            add(&mut text, "--front", &options.front.to_string());
        }
        if !options.pre_stop.is_zero() {
            add(&mut text, "--pre-stop", &in_words(options.pre_stop));
        }
        return text;
    }
    // What a profile says need not be said again.
    let profile = options.profile.as_ref();
    let base = profile.map_or_else(
        || Options::new(TargetSpec::default()),
        |profile| profile.options(),
    );
    if let Some(path) = profile.and_then(|profile| profile.path()) {
        add(&mut text, "--profile", &path.display().to_string());
    }
    if options.stop != base.stop {
        match &options.stop {
            Stop::Signal(signal) => add(&mut text, "--signal", &signal.name()[3..]),
            Stop::Command(command) => add(&mut text, "--stop", command),
            Stop::Http { method, url } if method == "POST" => add(&mut text, "--stop-url", url),
            Stop::Http { method, url } => add(&mut text, "--stop-url", &format!("{method} {url}")),
        }
    }
    if profile.is_none() || options.grace + options.pre_stop != base.grace {
        add(
            &mut text,
            "--grace",
            &in_words(options.grace + options.pre_stop),
        );
    }
    if options.pre_stop != base.pre_stop {
        add(&mut text, "--pre-stop", &in_words(options.pre_stop));
    }
    if options.front != base.front {
        add(&mut text, "--front", &options.front.to_string());
    }
    if id.starts_with("L-") && options.rounds != base.rounds {
        add(&mut text, "--rounds", &options.rounds.to_string());
    }
    launching(&mut text, target, &base.target);
    for ((flag, value), (_, known)) in places(target).into_iter().zip(places(&base.target)) {
        if let Some(value) = value.as_ref().filter(|_| value != known) {
            add(&mut text, flag, value);
        }
    }
    if target.grpc != base.target.grpc {
        grpc(&mut text, target);
    }
    let path = |control: &Option<ControlSocket>| control.as_ref().map(|own| own.path.clone());
    if let Some(control) = path(&target.control).filter(|_| target.control != base.target.control) {
        add(&mut text, "--control", &control);
    }
    if target.copies > 1 && target.copies != base.target.copies {
        add(&mut text, "--copies", &target.copies.to_string());
    }
    if target.argv == base.target.argv {
        return text;
    }
    text.push_str(" --");
    for argument in &target.argv {
        text.push(' ');
        text.push_str(&quote(argument));
    }
    text
}

/// How the service is had, and when it is ready.
fn launching(text: &mut String, target: &TargetSpec, base: &TargetSpec) {
    if let Some(pid) = target.pid {
        add(text, "--pid", &pid.to_string());
    }
    if let Some(driven) = target
        .driven
        .as_ref()
        .filter(|_| target.driven != base.driven)
    {
        add(text, "--start", &driven.start);
        for (flag, command) in [("--alive", &driven.alive), ("--cleanup", &driven.cleanup)] {
            if let Some(command) = command {
                add(text, flag, command);
            }
        }
    }
    if let Some(command) = target.logs.as_ref().filter(|_| target.logs != base.logs) {
        add(text, "--logs", command);
    }
    if let Some(cwd) = target.cwd.as_ref().filter(|_| target.cwd != base.cwd) {
        add(text, "--cwd", &cwd.to_string_lossy());
    }
    for (name, _) in target.env.iter().filter(|pair| !base.env.contains(pair)) {
        // Reports are shown to others, and values are often secrets: whoever runs it again has them in the environment.
        text.push_str(&format!(" --env {}=\"${name}\"", quote(name)));
    }
    let line = target.ready_line.as_ref();
    if let Some(line) = line.filter(|_| target.ready_line != base.ready_line) {
        add(text, "--ready-line", line);
    }
    let within = target.ready_within;
    if let Some(within) = within.filter(|_| within != base.ready_within) {
        add(text, "--ready-within", &in_words(within));
    }
}

/// The flags that name places, and what they are given.
fn places(target: &TargetSpec) -> [(&'static str, &Option<String>); 10] {
    [
        ("--url", &target.url),
        ("--tls-url", &target.tls_url),
        ("--ready-path", &target.ready_path),
        ("--slow-path", &target.slow_path),
        ("--large-path", &target.large_path),
        ("--post-path", &target.post_path),
        ("--upload-path", &target.upload_path),
        ("--stream-path", &target.stream_path),
        ("--sse-path", &target.sse_path),
        ("--ws-path", &target.ws_path),
    ]
}

fn grpc(text: &mut String, target: &TargetSpec) {
    let Some(call) = &target.grpc else { return };
    add(text, "--grpc-path", &call.path);
    let messages = [
        ("--grpc-message", Some(&call.message)),
        ("--grpc-slow-message", call.slow_message.as_ref()),
    ];
    for (flag, message) in messages {
        if let Some(message) = message.filter(|message| !message.is_empty()) {
            let hex: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
            add(text, flag, &hex);
        }
    }
}

fn add(text: &mut String, flag: &str, value: &str) {
    text.push_str(&format!(" {flag} {}", quote(value)));
}

/// As the command line takes it.
pub(super) fn in_words(time: Duration) -> String {
    let millis = time.as_millis();
    if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}

/// Quotes for a POSIX shell where it must.
pub(super) fn quote(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,{}".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::{Driven, StopSignal};
    use crate::profile::Profile;

    #[test]
    fn the_next_command_names_the_profile_and_what_differs_from_it() {
        let text = "[target]\ncommand = ['./serve']\n[paths]\nslow = '/slow'\n";
        let path = std::env::temp_dir().join(format!("lameduck-again-{}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let mut options = Profile::read(&path).unwrap().options();
        std::fs::remove_file(&path).unwrap();
        let lead = format!(
            "lameduck verify --only P1 --seed 7 --profile {}",
            path.display()
        );
        assert_eq!(reproduction(&options, 7, "P1"), lead);
        options.target.sse_path = Some("/events".to_owned());
        options.grace = Duration::from_secs(3);
        let again = reproduction(&options, 7, "P1");
        assert_eq!(again, format!("{lead} --grace 3s --sse-path /events"));
    }

    #[test]
    fn the_next_command_is_quoted_for_a_shell() {
        let argv = ["sh", "-c", "exec it's {port}"].map(str::to_owned).to_vec();
        let mut options = Options::new(TargetSpec::command(argv));
        options.stop = StopSignal::Quit.into();
        let text = reproduction(&options, 0xbeef, "H1-02");
        assert_eq!(
            text,
            r"lameduck verify --only H1-02 --seed beef --signal QUIT --grace 10s -- sh -c 'exec it'\''s {port}'"
        );
    }

    #[test]
    fn commands_that_drive_a_service_are_repeated() {
        let mut options = Options::new(TargetSpec {
            driven: Some(Driven {
                start: "docker run -d -p {port}:80 x".to_owned(),
                alive: None,
                cleanup: Some("docker rm -f x".to_owned()),
            }),
            ready_line: Some("listening on".to_owned()),
            ready_within: Some(Duration::from_millis(1_500)),
            env: vec![("MODE".to_owned(), "a b".to_owned())],
            ..TargetSpec::default()
        });
        options.stop = Stop::http("PUT http://127.0.0.1:{port}/stop");
        assert_eq!(
            reproduction(&options, 1, "P1"),
            "lameduck verify --only P1 --seed 1 --stop-url 'PUT http://127.0.0.1:{port}/stop' --grace 10s \
             --start 'docker run -d -p {port}:80 x' --cleanup 'docker rm -f x' --env MODE=\"$MODE\" \
             --ready-line 'listening on' --ready-within 1500ms"
        );
    }
}
