//! What becomes of signals by each mechanism: those that wait together, queues, other threads, second readers, children.

use std::{
    env,
    io::Read as _,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use lameduck::{
    process,
    signals::{Channel, Received, Signo, block},
};

use crate::{Failure, raw};

const MECHANISMS: [&str; 3] = ["handlers", "signalfd", "sigwaitinfo"];
const SENT: usize = 5;
/// What has not come by then does not come: it was sent before the wait began.
const NOTHING_MORE: Duration = Duration::from_millis(200);

/// The forms of a channel.
#[derive(Clone, Copy)]
enum Form {
    Handlers,
    SignalFd,
}

/// What one mechanism did.
struct Facts {
    ordinary: usize,
    values: Vec<i32>,
    raised_elsewhere: bool,
    second_reader: bool,
    std_child: String,
    our_child: String,
}

pub(crate) fn print_table() -> Result<(), Failure> {
    println!("| | {} |\n|---|---|---|---|", MECHANISMS.join(" | "));
    let mut columns = Vec::new();
    for mechanism in MECHANISMS {
        let output = Command::new(env::current_exe()?)
            .args(["--facts", mechanism])
            .stderr(Stdio::inherit())
            .output()?;
        let text = String::from_utf8(output.stdout)?;
        columns.push(text.lines().map(ToOwned::to_owned).collect::<Vec<_>>());
    }
    let rows = [
        "5 × SIGUSR1 while it waited: received",
        "5 × SIGRTMIN+1 by sigqueue(3): received",
        "raise(3) in another thread",
        "a second reader of the same signal",
        "SigBlk of a child of `std::process::Command`",
        "SigBlk of a child of `process::Command`",
    ];
    for (at, row) in rows.iter().enumerate() {
        let cells = columns.iter().map(|column| {
            let cell = column.get(at).ok_or("a child said too little")?;
            Ok(cell.as_str())
        });
        let cells = cells.collect::<Result<Vec<_>, Failure>>()?;
        println!("| {row} | {} |", cells.join(" | "));
    }
    Ok(())
}

pub(crate) fn child(mechanism: &str) -> Result<(), Failure> {
    let facts = match mechanism {
        "handlers" => by_channel(Form::Handlers)?,
        "signalfd" => by_channel(Form::SignalFd)?,
        "sigwaitinfo" => by_sigwaitinfo()?,
        _ => return Err("no such mechanism".into()),
    };
    let seen = |yes: bool, what: &str, otherwise: &str| {
        let word = if yes { what } else { otherwise };
        word.to_owned()
    };
    let lines = [
        format!("{} of {SENT}", facts.ordinary),
        format!("{} of {SENT}, {:?}", facts.values.len(), facts.values),
        seen(facts.raised_elsewhere, "received", "**not received**"),
        seen(facts.second_reader, "each gets it", "one gets it"),
        format!("`{}`", facts.std_child),
        format!("`{}`", facts.our_child),
    ];
    println!("{}", lines.join("\n"));
    Ok(())
}

fn signals() -> Vec<Signo> {
    vec![Signo::USR1, Signo::USR2, real_time()]
}

fn real_time() -> Signo {
    Signo::real_time(1).expect("Linux has 30 at least")
}

fn send_while_held() {
    for value in 0..SENT {
        let value = libc::sigval {
            sival_ptr: std::ptr::without_provenance_mut(value),
        };
        // SAFETY: signals to this process; the pointer is a number that nobody follows.
        unsafe {
            libc::kill(libc::getpid(), libc::SIGUSR1);
            libc::sigqueue(libc::getpid(), real_time().number(), value);
        }
    }
}

fn raise_elsewhere() -> Result<(), Failure> {
    // SAFETY: takes no pointer.
    let raised = thread::spawn(|| unsafe { libc::raise(libc::SIGUSR2) }).join();
    raised.map(drop).map_err(|_| "the thread panicked".into())
}

fn by_channel(form: Form) -> Result<Facts, Failure> {
    // A signalfd's signals stay held back; those of handlers only while they are sent.
    let for_ever = matches!(form, Form::SignalFd).then(|| block(signals()));
    let open = || match form {
        Form::Handlers => Channel::of(signals()).open(),
        Form::SignalFd => Channel::of(signals()).open_signalfd(),
    };
    let mut channel = open()?;
    let second = open();
    let while_sent = block(signals());
    send_while_held();
    drop(while_sent);
    let all = |channel: &mut Channel| -> Vec<Received> {
        std::iter::from_fn(|| channel.recv_timeout(NOTHING_MORE).ok()).collect()
    };
    let found = all(&mut channel);
    raise_elsewhere()?;
    let raised_elsewhere = !all(&mut channel).is_empty();
    let second_reader = second.is_ok_and(|mut second| !all(&mut second).is_empty());
    let facts = Facts {
        ordinary: found
            .iter()
            .filter(|one| one.signal() == Signo::USR1)
            .count(),
        values: found
            .iter()
            .filter_map(|one| Some(one.value()?.int()))
            .collect(),
        raised_elsewhere,
        second_reader,
        std_child: std_child()?,
        our_child: our_child()?,
    };
    drop(for_ever);
    Ok(facts)
}

fn by_sigwaitinfo() -> Result<Facts, Failure> {
    let numbers: Vec<i32> = signals().into_iter().map(Signo::number).collect();
    let set = raw::blocked(&numbers);
    let next = || {
        let at_most = libc::timespec {
            tv_sec: 0,
            tv_nsec: 200_000_000,
        };
        // SAFETY: zeroed memory is a valid siginfo_t, which may be written; the set and the time are initialised.
        unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let taken = libc::sigtimedwait(&raw const set, &raw mut info, &raw const at_most);
            (taken > 0).then(|| (taken, info.si_value().sival_ptr.addr()))
        }
    };
    send_while_held();
    let found: Vec<(i32, usize)> = std::iter::from_fn(next).collect();
    raise_elsewhere()?;
    let raised_elsewhere = next().is_some();
    // SAFETY: a signal to this process.
    unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
    let both = [next().is_some(), next().is_some()];
    let queued = found
        .iter()
        .filter(|(signo, _)| *signo == real_time().number());
    Ok(Facts {
        ordinary: found
            .iter()
            .filter(|(signo, _)| *signo == libc::SIGUSR1)
            .count(),
        values: queued
            .map(|(_, value)| i32::try_from(*value).unwrap_or(-1))
            .collect(),
        raised_elsewhere,
        second_reader: both == [true, true],
        std_child: std_child()?,
        our_child: our_child()?,
    })
}

const SIGBLK: [&str; 2] = ["SigBlk", "/proc/self/status"];

fn mask(line: &str) -> String {
    line.trim().trim_start_matches("SigBlk:\t").to_owned()
}

fn std_child() -> Result<String, Failure> {
    let output = Command::new("grep").args(SIGBLK).output()?;
    Ok(mask(&String::from_utf8(output.stdout)?))
}

fn our_child() -> Result<String, Failure> {
    let mut grep = process::Command::new("grep");
    let mut child = grep.args(SIGBLK).stdout(process::Stdio::Piped).spawn()?;
    let mut text = String::new();
    child
        .stdout
        .take()
        .ok_or("no pipe")?
        .read_to_string(&mut text)?;
    child.wait()?;
    Ok(mask(&text))
}
