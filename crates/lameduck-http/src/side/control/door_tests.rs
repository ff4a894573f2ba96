//! Where the file may stand, what it replaces, and what it says when it may not.

use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;

/// A directory of this test's own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("lameduck-door-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory");
        mode(&path, 0o700);
        Self(path)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own");
}

fn refused(path: &Path) -> String {
    open(path, 0o600).expect_err("refused").to_string()
}

#[test]
fn the_file_is_its_owners_and_listens() {
    let scratch = Scratch::new("mode");
    for wanted in [0o600, 0o666] {
        let path = scratch.at("a.sock");
        let bound = open(&path, wanted).expect("opened");
        let meta = fs::symlink_metadata(&path).expect("it stands there");
        assert!(meta.file_type().is_socket());
        assert_eq!(meta.mode() & 0o777, wanted);
        UnixStream::connect(&path).expect("it listens");
        let (bound, file) = bound.into_parts();
        file.expect("it is ours to remove").remove();
        drop(bound);
        assert!(!path.exists());
    }
}

#[test]
fn a_directory_in_which_others_may_write_is_refused_and_says_what_to_do() {
    let scratch = Scratch::new("writable");
    let inner = scratch.at("inner");
    fs::create_dir(&inner).expect("a directory");
    for bad in [0o770, 0o707, 0o777] {
        mode(&inner, bad);
        let said = refused(&inner.join("a.sock"));
        assert!(
            said.contains("chmod go-w") && said.contains(&format!("{bad:04o}")),
            "{said}"
        );
    }
    // Where files are their owners' it may be.
    mode(&inner, 0o1777);
    open(&inner.join("a.sock"), 0o600).expect("sticky");
    // Also above it.
    mode(&inner, 0o700);
    mode(&scratch.0, 0o777);
    let said = refused(&inner.join("b.sock"));
    assert!(said.contains("chmod go-w"), "{said}");
    mode(&scratch.0, 0o700);
    // A link is looked behind.
    let link = scratch.at("link");
    symlink(&inner, &link).expect("a link");
    mode(&inner, 0o777);
    let said = refused(&link.join("c.sock"));
    assert!(said.contains("inner"), "{said}");
}

#[test]
fn what_a_dead_process_left_is_replaced_and_nothing_else() {
    let scratch = Scratch::new("stale");
    let path = scratch.at("a.sock");
    // Dropped, it stays in the file system, as after kill -9.
    drop(UnixListener::bind(&path).expect("bound"));
    let bound = open(&path, 0o600).expect("replaced");
    let said = refused(&path);
    let ours = format!("process {} answers there", std::process::id());
    assert!(said.contains(&ours), "{said}");
    UnixStream::connect(&path).expect("the live one was left alone");
    drop(bound);
    let file = scratch.at("file");
    fs::write(&file, "of somebody").expect("written");
    assert!(refused(&file).contains("no socket stands there"));
    assert_eq!(
        fs::read_to_string(&file).expect("left alone"),
        "of somebody"
    );
    // A link is no socket, whatever it points to.
    let link = scratch.at("b.sock");
    symlink(&path, &link).expect("a link");
    assert!(refused(&link).contains("no socket stands there"));
    assert!(
        fs::symlink_metadata(&link)
            .expect("left alone")
            .is_symlink()
    );
}

#[test]
fn a_path_that_cannot_be_one_says_why() {
    let scratch = Scratch::new("path");
    assert!(refused(Path::new("/")).contains("names no file"));
    let said = refused(&scratch.at("missing").join("a.sock"));
    assert!(said.contains("directory cannot be used"), "{said}");
    let said = refused(&scratch.at(&"x".repeat(120)));
    assert!(said.contains("107 at most"), "{said}");
}

#[test]
fn of_many_that_start_together_one_gets_the_place() {
    let scratch = Scratch::new("together");
    let path = scratch.at("a.sock");
    drop(UnixListener::bind(&path).expect("bound"));
    let won: Vec<_> = std::thread::scope(|scope| {
        let starts: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| open(&path, 0o600).ok()))
            .collect();
        let opened = starts
            .into_iter()
            .map(|start| start.join().expect("it does not panic"));
        opened.flatten().collect()
    });
    assert_eq!(won.len(), 1, "an abandoned socket has one heir");
    UnixStream::connect(&path).expect("whose socket it is");
}

#[test]
fn a_socket_whose_queue_is_full_is_somebody_s() {
    let scratch = Scratch::new("full");
    let path = scratch.at("control.sock");
    let wedged = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    let address = SockAddr::unix(&path).expect("short");
    wedged.bind(&address).expect("bound");
    wedged.listen(0).expect("it listens");
    let mut waiting = Vec::new();
    let full = loop {
        match listen::connect_now(&path) {
            Ok(one) => waiting.push(one),
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    let refused = open(&path, 0o600).expect_err("somebody has it");
    assert!(
        refused.to_string().contains("another process has it"),
        "{refused}"
    );
}
