//! Owns the shell that lives a moment longer than we do: however we are killed, it ends the groups that we had started.
//! Not: targets, where somebody stands between them and us (see `ward`), or cleanup commands (see `driven`).

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Reads `+ ID` and `- ID` until our end of its standard input closes, with which all of them are over that it minds.
const KEEP: &str = r#"trap '' HUP INT QUIT TERM
minded=' '
while read -r word id; do
    case $word in
    +) minded="$minded$id " ;;
    -) case $minded in *" $id "*) minded="${minded%% "$id" *} ${minded#* "$id" }" ;; esac ;;
    esac
done
for id in $minded; do kill -s KILL -- "-$id"; done"#;

/// What the shell is told about a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Mind,
    Forget,
}

/// Our link to the shell; it ends with this.
#[derive(Debug)]
pub(super) struct Keeper {
    shell: Child,
}

impl Keeper {
    pub(super) fn start() -> io::Result<Self> {
        let mut command = Command::new("sh");
        command
            .args(["-c", KEEP])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0);
        Ok(Self {
            shell: command.spawn()?,
        })
    }

    /// A shell that is gone is no reason to end: it matters only if we are killed.
    pub(super) fn tell(&mut self, word: Word, id: u32) {
        let sign = match word {
            Word::Mind => '+',
            Word::Forget => '-',
        };
        if let Some(stdin) = &mut self.shell.stdin {
            let _ = stdin.write_all(format!("{sign} {id}\n").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn groups_that_are_minded_go_with_us_and_no_others() {
        let mut keeper = Keeper::start().unwrap();
        let group = || Command::new("sleep").arg("600").process_group(0).spawn();
        let mut all: Vec<Child> = (0..4).map(|_| group().unwrap()).collect();
        for child in &all {
            keeper.tell(Word::Mind, child.id());
        }
        for forgotten in [&all[0], &all[2]] {
            keeper.tell(Word::Forget, forgotten.id());
        }
        keeper.tell(Word::Forget, std::process::id());
        drop(keeper.shell.stdin.take());
        keeper.shell.wait().unwrap();
        let ended: Vec<_> = all
            .iter_mut()
            .map(|child| {
                // Who was killed died of that, and of nothing that came later.
                // SAFETY: numbers only, of a child that was not reaped.
                unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
                child.wait().unwrap().signal()
            })
            .collect();
        let (killed, told) = (Some(libc::SIGKILL), Some(libc::SIGTERM));
        assert_eq!(ended, [told, killed, told, killed]);
    }
}
