//! Owns what all scenarios share: options, facts, seed, launching with progress, and making findings.
//! Not: any one scenario.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::album::Album;
use super::facts::Facts;
use crate::catalogue;
use crate::front::Sightings;
use crate::observe::engine::Engine;
use crate::observe::outcome::Tally;
use crate::observe::rng::Rng;
use crate::options::{Options, TargetSpec};
use crate::protocol::Protocol;
use crate::target::{Exit, Running, VerifyError, launch};
use crate::verdict::{Figure, Finding, Verdict};

/// The shared part of a run.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    pub(crate) options: &'a Options,
    pub(crate) facts: Facts,
    pub(crate) seed: u64,
    pub(crate) launches: AtomicU32,
    pub(crate) lost: AtomicU64,
    /// What single connections of the drains saw.
    pub(crate) album: Album,
    /// What honest clients saw after the signal, for the views through fronts.
    pub(crate) sightings: Sightings,
}

impl Bench<'_> {
    pub(crate) fn wants(&self, id: &str) -> bool {
        wants(self.options, id) && (self.facts.speaks_h1 || !needs_h1(id))
    }

    /// What was asked for and can not be asked of a target without HTTP/1.1.
    pub(crate) fn unasked(&self) -> Vec<Finding> {
        let asked = catalogue::list().into_iter().map(|entry| entry.id);
        asked
            .filter(|id| wants(self.options, id) && !self.wants(id))
            .map(|id| self.lacking(id, "the target speaks no HTTP/1.1 in plain text"))
            .collect()
    }

    pub(crate) fn rng(&self, stream: u64) -> Rng {
        Rng::new(self.seed).fork(stream)
    }

    pub(crate) fn launch(&self) -> Result<Running, VerifyError> {
        // Relaxed: a counter for display.
        self.launches.fetch_add(1, Ordering::Relaxed);
        launch(&self.options.target)
    }

    pub(crate) fn spawn_unready(&self) -> Result<Running, VerifyError> {
        self.launches.fetch_add(1, Ordering::Relaxed);
        Running::spawn(&self.options.target)
    }

    pub(crate) fn engine(&self, running: &Running) -> Engine {
        Engine::new(running.place.url.addr, self.facts.round_trip)
    }

    pub(crate) fn posts(&self) -> bool {
        self.facts.post_path.is_some()
    }

    /// A finding about `id`; advice and the next command are added where there is something to do.
    pub(crate) fn finding(&self, id: &'static str, verdict: Verdict, detail: String) -> Finding {
        finding(self.options, self.seed, id, verdict, detail)
    }

    pub(crate) fn lacking(&self, id: &'static str, reason: &str) -> Finding {
        self.finding(id, Verdict::NotApplicable, reason.to_owned())
    }
}

/// The check asks in HTTP/1.1, in plain text.
fn needs_h1(id: &str) -> bool {
    let others = ["P1", "P4", "L-H2", "L-TLS"];
    !(others.contains(&id) || id.starts_with("H2-") || id.starts_with("TLS-"))
}

pub(crate) fn wants(options: &Options, id: &str) -> bool {
    let named = |list: &[String]| list.iter().any(|entry| entry.eq_ignore_ascii_case(id));
    let spoken = Protocol::of(id).is_none_or(|protocol| {
        options.protocols.is_empty()
            || options.protocols.contains(&protocol)
            // gRPC is spoken over HTTP/2, and its check stands among those.
            || protocol == Protocol::Grpc && options.protocols.contains(&Protocol::H2)
    });
    (options.only.is_empty() || named(&options.only)) && !named(&options.skip) && spoken
}

pub(crate) fn finding(
    options: &Options,
    seed: u64,
    id: &'static str,
    verdict: Verdict,
    detail: String,
) -> Finding {
    let entry = catalogue::entry(id).expect("scenarios judge only ids of the catalogue");
    let acts = matches!(verdict, Verdict::Fail | Verdict::Differs);
    let again = acts || verdict == Verdict::Inconclusive;
    Finding {
        id: entry.id.into(),
        class: entry.class,
        verdict,
        requests: Tally::default(),
        figures: BTreeMap::new(),
        detail,
        owed: entry.owed.into(),
        consequence: acts.then_some(entry.consequence.into()),
        remedy: acts.then_some(entry.remedy.into()),
        waiver: None,
        without_waiver: None,
        next: again.then(|| reproduction(options, seed, id)),
        series: None,
    }
}

impl Finding {
    pub(crate) fn with_requests(mut self, tally: Tally) -> Self {
        self.requests = tally;
        self
    }

    pub(crate) fn with_figure(mut self, name: &'static str, figure: impl Into<Figure>) -> Self {
        self.figures.insert(name.into(), figure.into());
        self
    }
}

/// The command that runs `id` again with the same seed.
fn reproduction(options: &Options, seed: u64, id: &str) -> String {
    let mut text = format!("lameduck verify --only {id} --seed {seed:x}");
    let target = &options.target;
    if target.label == "embedded demo" {
        if !options.front.is_none() {
            text.push_str(&format!(" --front {}", options.front));
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
        text.push_str(&format!(
            " --profile {}",
            quote(&path.display().to_string())
        ));
    }
    if options.signal != base.signal {
        text.push_str(&format!(" --signal {}", &options.signal.name()[3..]));
    }
    if profile.is_none() || options.grace + options.pre_stop != base.grace {
        let grace = time(options.grace + options.pre_stop);
        text.push_str(&format!(" --grace {grace}"));
    }
    if options.pre_stop != base.pre_stop {
        text.push_str(&format!(" --pre-stop {}", time(options.pre_stop)));
    }
    if options.front != base.front {
        text.push_str(&format!(" --front {}", options.front));
    }
    if id.starts_with("L-") && options.rounds != base.rounds {
        text.push_str(&format!(" --rounds {}", options.rounds));
    }
    for ((flag, value), (_, known)) in paths(target).into_iter().zip(paths(&base.target)) {
        if let Some(value) = value.as_ref().filter(|_| value != known) {
            text.push_str(&format!(" {flag} {}", quote(value)));
        }
    }
    if let Some(call) = target
        .grpc
        .as_ref()
        .filter(|_| target.grpc != base.target.grpc)
    {
        text.push_str(&format!(" --grpc-path {}", quote(&call.path)));
        let messages = [
            ("--grpc-message", Some(&call.message)),
            ("--grpc-slow-message", call.slow_message.as_ref()),
        ];
        for (flag, message) in messages {
            if let Some(message) = message.filter(|message| !message.is_empty()) {
                let hex: String = message.iter().map(|byte| format!("{byte:02x}")).collect();
                text.push_str(&format!(" {flag} {hex}"));
            }
        }
    }
    if target.copies > 1 && target.copies != base.target.copies {
        text.push_str(&format!(" --copies {}", target.copies));
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

/// The flags that name places, and what they are given.
fn paths(target: &TargetSpec) -> [(&'static str, &Option<String>); 10] {
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

fn time(time: Duration) -> String {
    let millis = time.as_millis();
    if millis.is_multiple_of(1_000) {
        format!("{}s", millis / 1_000)
    } else {
        format!("{millis}ms")
    }
}

/// Quotes for a POSIX shell where it must.
fn quote(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,{}".contains(c);
    if !argument.is_empty() && argument.chars().all(plain) {
        return argument.to_owned();
    }
    format!("'{}'", argument.replace('\'', r"'\''"))
}

/// How the process of a scenario ended, as seen from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Departure {
    pub(crate) t: Instant,
    pub(crate) exit: Option<Exit>,
}

impl Departure {
    pub(crate) fn took(&self) -> Option<Duration> {
        self.exit
            .map(|exit| exit.at.saturating_duration_since(self.t))
    }
}

/// A request that waits for longer than this when grace is over is `hung`; younger ones see the kill.
const PATIENCE: Duration = Duration::from_secs(1);
/// A connect begun just before the exit may wait for one SYN retransmission.
const AFTER_EXIT: Duration = Duration::from_millis(1_300);

/// Lets clients work until the target is gone and all are done, or grace is over; then kills what is left.
pub(crate) fn await_departure(
    engine: &mut Engine,
    running: &Running,
    t: Instant,
    grace: Duration,
) -> Departure {
    engine.run(t + grace, |_| running.exit().is_some());
    let exit = running.exit();
    if exit.is_none() {
        engine.give_up_on_those_since(Instant::now() - PATIENCE.min(grace / 2));
        running.kill();
        let _ = running.await_exit_until(Instant::now() + Duration::from_secs(5));
    }
    // Clients meet the end of the process: FINs and RSTs are on their way, new connects are refused.
    engine.run(Instant::now() + AFTER_EXIT, Engine::all_finished);
    engine.give_up();
    Departure { t, exit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::StopSignal;
    use crate::profile::Profile;

    #[test]
    fn the_next_command_is_quoted_for_a_shell() {
        let argv = ["sh", "-c", "exec it's {port}"].map(str::to_owned).to_vec();
        let mut options = Options::new(TargetSpec::command(argv));
        options.signal = StopSignal::Quit;
        let text = reproduction(&options, 0xbeef, "H1-02");
        assert_eq!(
            text,
            r"lameduck verify --only H1-02 --seed beef --signal QUIT --grace 10s -- sh -c 'exec it'\''s {port}'"
        );
    }

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
    fn only_and_skip_choose() {
        let mut options = Options::new(TargetSpec::default());
        assert!(wants(&options, "P1"));
        options.only = vec!["p1".to_owned(), "P2".to_owned()];
        options.skip = vec!["P2".to_owned()];
        assert!(wants(&options, "P1") && !wants(&options, "P2") && !wants(&options, "P3"));
    }
}
