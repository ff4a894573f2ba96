//! Owns what a profile changes in the options of a run.
//! Not: reading it (see `form`).

use super::Profile;
use super::form::{Interrupted, Late, Repeats};
use super::values::CheckId;
use crate::declared::{ControlSocket, Interrupt, LatePolicy, Reload, TlsTrust, Waiver};
use crate::options::{DrainSignal, Driven, Farewell, Options, RepeatPolicy, Stop, TargetSpec};
use crate::protocol::GrpcCall;

impl Profile {
    /// Sets in `options` what the profile says, and leaves the rest. What is set afterwards overrides the profile.
    pub fn apply(&self, options: &mut Options) {
        self.apply_target(&mut options.target);
        self.apply_places(&mut options.target);
        self.apply_expectations(&mut options.target);
        let platform = &self.form.platform;
        set(&mut options.grace, platform.grace.map(|time| time.0));
        set(&mut options.stop, self.stop());
        set(
            &mut options.front,
            platform.front.as_ref().map(|front| front.0),
        );
        set(&mut options.pre_stop, platform.pre_stop.map(|time| time.0));
        let checks = &self.form.checks;
        let ids = |ids: &[CheckId]| ids.iter().map(|id| id.0.clone()).collect::<Vec<_>>();
        set_list(&mut options.only, ids(&checks.only));
        set_list(&mut options.skip, ids(&checks.skip));
        set_list(
            &mut options.protocols,
            checks.protocols.iter().map(|word| word.0).collect(),
        );
        set(&mut options.rounds, checks.rounds);
        options
            .waivers
            .extend(self.form.waive.iter().map(|waive| Waiver {
                id: waive.id.get_ref().0.clone(),
                reason: waive.reason.0.clone(),
            }));
        options.profile = Some(Box::new(self.clone()));
    }

    fn stop(&self) -> Option<Stop> {
        let said = &self.form.target;
        let call = said.stop_url.as_ref().map(|url| Stop::http(url.get_ref()));
        let signal = self.form.platform.signal.as_ref();
        let signal = signal.map(|signal| Stop::Signal(signal.get_ref().0));
        said.stop.clone().map(Stop::Command).or(call).or(signal)
    }

    fn apply_target(&self, target: &mut TargetSpec) {
        let said = &self.form.target;
        if let Some(command) = &said.command {
            target.argv.clone_from(command);
            target.label = command.join(" ");
        }
        if let Some(start) = &said.start {
            target.label.clone_from(start.get_ref());
            target.driven = Some(Driven {
                start: start.get_ref().clone(),
                alive: said.alive.clone(),
                cleanup: said.cleanup.clone(),
            });
        }
        set(&mut target.label, said.name.clone());
        target.cwd = said
            .cwd
            .as_deref()
            .map(|cwd| self.beside(cwd))
            .or(target.cwd.take());
        target.logs = said.logs.clone().or(target.logs.take());
        target.ready_line = said.ready_line.clone().or(target.ready_line.take());
        target.ready_within = said.ready_within.map(|time| time.0).or(target.ready_within);
        target.env.extend(
            said.env
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        set(&mut target.copies, said.copies);
    }

    /// Where it answers, and what answers how.
    fn apply_places(&self, target: &mut TargetSpec) {
        let (urls, paths) = (&self.form.urls, &self.form.paths);
        for (field, value) in [
            (&mut target.url, &urls.http),
            (&mut target.tls_url, &urls.https),
            (&mut target.tls_name, &self.form.tls.name),
            (&mut target.ready_path, &paths.ready),
            (&mut target.slow_path, &paths.slow),
            (&mut target.large_path, &paths.large),
            (&mut target.post_path, &paths.post),
            (&mut target.upload_path, &paths.upload),
            (&mut target.stream_path, &paths.stream),
            (&mut target.sse_path, &paths.sse),
            (&mut target.ws_path, &paths.websocket),
        ] {
            if value.is_some() {
                field.clone_from(value);
            }
        }
        if let Some(call) = &self.form.grpc {
            target.grpc = Some(GrpcCall {
                path: call.path.clone(),
                message: call.message.0.clone(),
                slow_message: call.slow_message.as_ref().map(|message| message.0.clone()),
            });
        }
        if let Some(authorities) = &self.authorities {
            target.tls_trust = TlsTrust::Authorities(authorities.clone());
        }
    }

    /// What the service promises.
    fn apply_expectations(&self, target: &mut TargetSpec) {
        let expect = &self.form.expect;
        set_list(&mut target.close_codes, expect.close_codes.clone());
        set_list(&mut target.exit_codes, expect.exit_codes.clone());
        set(&mut target.extra_time, expect.extra_time.map(|time| time.0));
        set(
            &mut target.late,
            expect.late.map(|late| match late {
                Late::Serve => LatePolicy::Serve,
                Late::Refuse => LatePolicy::Refuse,
            }),
        );
        let repeats = expect.repeats.map(|repeats| match repeats {
            Repeats::Record => RepeatPolicy::Record,
            Repeats::Escalate => RepeatPolicy::Escalate,
        });
        target.repeats = repeats.or(target.repeats);
        let interrupt = expect.interrupt.map(|interrupt| match interrupt {
            Interrupted::Stops => Interrupt::Stops,
            Interrupted::LeftAlone => Interrupt::LeftAlone,
        });
        set(&mut target.interrupt, interrupt);
        self.apply_reload(target);
        self.apply_control(target);
        target.forced_exit = expect.forced_exit.or(target.forced_exit);
        target.quiet = expect.quiet.map(|time| time.0).or(target.quiet);
        let websocket = &self.form.websocket;
        target.ws_spread = websocket.spread.map(|time| time.0).or(target.ws_spread);
        if let Some(farewell) = &websocket.farewell {
            target.ws_farewell = Some(Farewell {
                path: farewell.path.clone(),
                message: farewell.message.clone(),
                code: farewell.code,
            });
        }
        if let Some(signal) = &self.form.drain_signal {
            target.drain_signal = Some(DrainSignal {
                url: signal.url.clone(),
                liveness_url: signal.liveness.clone(),
            });
        }
    }
}

impl Profile {
    fn apply_reload(&self, target: &mut TargetSpec) {
        let Some(said) = &self.form.reload else {
            return;
        };
        let usual = Reload::default();
        target.reload = Some(Reload {
            arguments: said.arguments.clone(),
            file: said
                .file
                .as_ref()
                .map(|file| self.beside(&file.to_string_lossy())),
            first: said.first.clone(),
            second: said.second.clone(),
            broken: said.broken.clone(),
            path: said.path.clone().unwrap_or(usual.path),
            signal: said.signal.as_ref().map_or(usual.signal, |signal| signal.0),
            command: said.command.clone(),
        });
    }
}

impl Profile {
    fn apply_control(&self, target: &mut TargetSpec) {
        let Some(said) = &self.form.control else {
            return;
        };
        let usual = ControlSocket::default();
        target.control = Some(ControlSocket {
            path: said.path.clone().unwrap_or(usual.path),
            arguments: said.arguments.clone(),
        });
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

fn set_list<T>(field: &mut Vec<T>, values: Vec<T>) {
    if !values.is_empty() {
        *field = values;
    }
}
