//! Scripts of the machine as text, and their traces as text.
//!
//! A script has a line for each thing that happens: the time in seconds, then what. A trace has a line for each effect:
//! the time, then what the machine wanted done.
//!
//! ```text
//! enrol NAME [listens] [after NAME …] [budget SECONDS] [hook SECONDS [fails]]     (before anything else)
//! ready NAME… | started | start fails WHY | ack NAME | done NAME | fails NAME | refuses NAME
//! wish NUMBER of NAME SECONDS | grant NAME SECONDS | away NAME | returned NAME
//! request | connection SECONDS | guard SECONDS          (one request; open for that long)
//! SIGTERM | SIGINT | SIGINT typed | SIGHUP | …  | shutdown WHY | shutdown within SECONDS | cut
//! ```

use std::time::Duration;

use lameduck::{
    Plan, Preset, Repeat, Sender, Signal, SignalCode, SignalRecord, Window,
    machine::{Answer, Effect, Enrolment, Hook, Input, Listens, ParticipantId},
    sim::{Run, Sim},
};

/// A grace period of 10 s: the drain ends 8.5 s after the request, the deadline is 9.5 s after it.
pub(crate) fn plan(window: Window) -> Plan {
    Plan::preset(Preset::Docker)
        .with_window(window)
        .expect("a plan that can be kept")
        .with_repeat(Repeat::Record)
}

/// Floor, quiet and ceiling in milliseconds.
pub(crate) const fn window(floor: u64, quiet: u64, ceiling: u64) -> Window {
    Window::new(
        Duration::from_millis(floor),
        Duration::from_millis(quiet),
        Duration::from_millis(ceiling),
    )
}

/// Plays a script, and returns what happened with its trace.
pub(crate) fn play(plan: Plan, script: &str) -> (Run, String) {
    play_with(plan, script, |_| {})
}

/// As [`play`], with something that a script does not say.
pub(crate) fn play_with(plan: Plan, script: &str, more: impl FnOnce(&mut Sim)) -> (Run, String) {
    let mut reader = Reader {
        sim: Sim::new(plan),
        names: Vec::new(),
    };
    for line in script.lines().filter(|line| !line.trim().is_empty()) {
        reader.line(line);
    }
    more(&mut reader.sim);
    let names = reader.names;
    let run = reader.sim.run();
    let trace = run
        .trace
        .iter()
        .filter_map(|(at, effect)| {
            Some(format!("{:.3} {}", at.as_secs_f64(), told(effect, &names)?))
        })
        .collect::<Vec<_>>()
        .join("\n");
    (run, trace)
}

/// Plays a script and compares its whole trace.
#[track_caller]
pub(crate) fn check(plan: Plan, script: &str, expected: &str) -> Run {
    let (run, trace) = play(plan, script);
    let expected = expected
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let expected = expected.collect::<Vec<_>>().join("\n");
    assert_eq!(trace, expected, "\nthe trace was\n{trace}\n");
    run
}

struct Reader {
    sim: Sim,
    names: Vec<String>,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (at, words) = words.split_first().expect("a line is not empty");
        let at = secs(at);
        let why = || words[1..].join(" ");
        let input = match words {
            ["enrol", name, rest @ ..] => Input::Enrol(self.enrolment(name, rest)),
            ["ready", names @ ..] => {
                for name in names {
                    let id = self.id(name);
                    self.sim.at(at, Input::Ready(id));
                }
                return;
            }
            ["started"] => Input::Started,
            ["start", "fails", why @ ..] => Input::StartFailed { why: why.join(" ") },
            ["ack", name] => Input::Answer(self.id(name), Answer::Ack),
            ["done", name] => Input::Answer(self.id(name), Answer::done()),
            ["refuses", name] => {
                let why = "it is busy".to_owned();
                Input::Answer(self.id(name), Answer::Refused { why })
            }
            ["wish", number, "of", name, by] => {
                let answer = Answer::NeedMore {
                    wish: number.parse().expect("a number"),
                    by: secs(by),
                    why: "so much left".to_owned(),
                };
                Input::Answer(self.id(name), answer)
            }
            ["grant", name, by] => Input::Grant(self.id(name), secs(by)),
            ["away", name] => {
                let why = "its connection ended".to_owned();
                Input::Answer(self.id(name), Answer::Away { why })
            }
            ["returned", name] => Input::Returned(self.id(name)),
            ["fails", name] => {
                let why = "it broke".to_owned();
                Input::Answer(self.id(name), Answer::Failed { why })
            }
            ["request"] => return self.sim.request(at),
            ["connection", open] => return self.sim.connection(at + secs(open)),
            ["guard", held] => return self.sim.guard(at + secs(held)),
            ["shutdown", "within", grace, ..] => Input::TerminateWithin {
                why: why(),
                grace: secs(grace),
            },
            ["shutdown", ..] => Input::Terminate { why: why() },
            ["cut"] => Input::Cut,
            [name, how @ ..] => Input::Signal(signal(name, how)),
            [] => panic!("nothing happens in {line:?}"),
        };
        self.sim.at(at, input);
    }

    fn id(&self, name: &str) -> ParticipantId {
        let at = self.names.iter().position(|one| one == name);
        let at = at.unwrap_or_else(|| panic!("{name} has not enrolled"));
        ParticipantId::new(u32::try_from(at).expect("few participants"))
    }

    fn enrolment(&mut self, name: &str, rest: &[&str]) -> Enrolment {
        self.names.push(name.to_owned());
        let mut enrolment = Enrolment {
            id: self.id(name),
            name: name.to_owned(),
            after: Vec::new(),
            budget: None,
            listens: Listens::Never,
            hook: Hook::None,
        };
        let id = enrolment.id;
        let mut rest = rest.iter().peekable();
        while let Some(word) = rest.next() {
            let mut next = || *rest.next().expect("a value");
            match *word {
                "listens" => enrolment.listens = Listens::UntilClosed,
                "after" => enrolment.after.push(self.id(next())),
                "budget" => enrolment.budget = Some(secs(next())),
                "hook" => {
                    enrolment.hook = Hook::Some;
                    let takes = secs(next());
                    if rest.next_if(|word| **word == "fails").is_some() {
                        self.sim.hook_fails(id, takes, "no space left");
                    } else {
                        self.sim.hook_takes(id, takes);
                    }
                }
                other => panic!("a participant has no {other:?}"),
            }
        }
        enrolment
    }
}

fn secs(text: &str) -> Duration {
    Duration::from_secs_f64(
        text.parse()
            .unwrap_or_else(|_| panic!("{text:?} is no time")),
    )
}

fn signal(name: &str, how: &[&str]) -> SignalRecord {
    let signal = [
        Signal::Term,
        Signal::Int,
        Signal::Hup,
        Signal::Quit,
        Signal::Usr1,
        Signal::Usr2,
    ]
    .into_iter()
    .find(|signal| signal.as_str() == name)
    .unwrap_or_else(|| panic!("{name:?} is neither a signal nor anything else"));
    match how {
        [] => SignalRecord::new(signal, SignalCode::User, Sender::OutsideNamespace),
        ["typed"] => SignalRecord::new(signal, SignalCode::Kernel, Sender::Kernel),
        other => panic!("{name} {other:?}?"),
    }
}

/// One effect in words; `None` for the reading of traffic, which is every few milliseconds.
fn told(effect: &Effect, names: &[String]) -> Option<String> {
    let name = |id: &ParticipantId| {
        let number = id.to_string();
        let at: usize = number.trim_start_matches('#').parse().expect("a number");
        names[at].as_str()
    };
    Some(match effect {
        Effect::ReadTraffic => return None,
        Effect::OpenAdmission => "listeners open".to_owned(),
        Effect::Enter(phase) => format!("{phase}"),
        Effect::Broadcast(request) => format!("tell everyone: {}", request.cause),
        Effect::Granted(id, wish, by) => {
            let wish = wish.map_or_else(|| "no wish".to_owned(), |wish| format!("wish {wish}"));
            format!("{} gets {:.3} for {wish}", name(id), by.as_secs_f64())
        }
        Effect::AskAgain(id) => format!("ask {} again", name(id)),
        Effect::CloseAdmission => "listeners close".to_owned(),
        Effect::CloseConnectionsGate => "no more connections".to_owned(),
        Effect::Close(id) => format!("{} may finish", name(id)),
        Effect::CloseGuardsGate => "no more guards".to_owned(),
        Effect::EndStragglers => "end and name what is left".to_owned(),
        Effect::RunHook(id) => format!("stop hook of {}", name(id)),
        Effect::Reload => "reload".to_owned(),
        Effect::DumpAndDie => "say what is in flight, die".to_owned(),
        Effect::ShowStatus => "show the status".to_owned(),
        Effect::Exit(outcome) => format!("exit {} ({outcome})", outcome.exit_code()),
        other => format!("{other:?}"),
    })
}
