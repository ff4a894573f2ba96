//! Children that are PID 1 of a pid namespace, where the machine lets us make one.

use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::child::Child;

/// The arguments of unshare(1) that work here: as root, else with a user namespace.
static UNSHARE: LazyLock<Option<Vec<&str>>> = LazyLock::new(|| {
    let plain = vec!["--pid", "--fork", "--mount-proc", "--kill-child"];
    let with_user = [&["--user", "--map-root-user"][..], &plain].concat();
    [plain, with_user].into_iter().find(|arguments| {
        let tried = Command::new("unshare")
            .args(arguments)
            .arg("true")
            .stderr(Stdio::null())
            .status();
        tried.is_ok_and(|status| status.success())
    })
});

/// A child that runs in a new pid namespace: `through` itself as PID 1, or the child if that is empty.
///
/// `None`, said and counted on standard error, where namespaces cannot be made.
pub fn start(test: &str, through: &[&str]) -> Option<Child> {
    let Some(unshare) = UNSHARE.as_ref() else {
        skipped(test);
        return None;
    };
    Some(Child::start_by("unshare", &[unshare, through].concat()))
}

/// The process id that the namespace's PID 1 has outside of it.
pub fn outer_pid(child: &Child) -> u32 {
    let unshare = child.pid();
    let path = format!("/proc/{unshare}/task/{unshare}/children");
    let children = std::fs::read_to_string(path).expect("the kernel lists children");
    children.trim().parse().expect("unshare has one child")
}

fn skipped(test: &str) {
    use std::io::Write;
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    // Not `eprintln!`, which the test harness keeps to itself when the test passes.
    let _ = writeln!(
        std::io::stderr(),
        "skipped: {test}: pid namespaces cannot be made here ({count} so far)"
    );
}
