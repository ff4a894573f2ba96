//! Two networks with a cable between them that can be cut: namespaces of their own, which end with the processes that hold them.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::pin::Pin;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

/// Where etcd lives, and whoever is at home with it. Nobody else has these addresses: the namespaces know no other network.
const HOME: &str = "10.203.77.1";
const BEYOND: &str = "10.203.77.2";

pub(crate) struct Networks {
    home: Home,
    beyond: Home,
}

/// A network, as long as somebody knows it.
#[derive(Clone)]
pub(crate) struct Home(Arc<Holder>);

struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Networks {
    /// `None`, and said, where networks cannot be made.
    pub(crate) async fn part() -> Option<Self> {
        let made = Self::make();
        if made.is_none() {
            eprintln!("skipped: network namespaces cannot be made here");
        }
        made
    }

    fn make() -> Option<Self> {
        let (home, beyond) = (Home::make()?, Home::make()?);
        let (at_home, over_there) = (home.pid(), beyond.pid());
        let name = |side: &str| format!("ld{}{side}", at_home);
        let (near, far) = (name("a"), name("b"));
        // Made at home: in the network of the machine there is never anything of it.
        let made = home.ip(&[
            "link",
            "add",
            &near,
            "type",
            "veth",
            "peer",
            "name",
            &far,
            "netns",
            &over_there,
        ]);
        let parts = [(&home, &near, HOME), (&beyond, &far, BEYOND)];
        let up = parts.into_iter().all(|(network, link, address)| {
            network.ip(&["addr", "add", &format!("{address}/24"), "dev", link])
                && network.ip(&["link", "set", link, "up"])
                && network.ip(&["link", "set", "lo", "up"])
        });
        (made && up).then_some(Self { home, beyond })
    }

    pub(crate) fn home(&self) -> Home {
        self.home.clone()
    }

    pub(crate) fn beyond(&self) -> Home {
        self.beyond.clone()
    }

    pub(crate) const fn address(&self) -> &'static str {
        HOME
    }

    pub(crate) fn cut(&self) {
        self.cable("down");
    }

    pub(crate) fn mend(&self) {
        self.cable("up");
    }

    fn cable(&self, way: &str) {
        let link = format!("ld{}b", self.home.pid());
        assert!(
            self.beyond.ip(&["link", "set", &link, way]),
            "the cable goes {way}"
        );
    }
}

impl Home {
    fn make() -> Option<Self> {
        let mut command = Command::new("unshare");
        command.args(["--net", "--kill-child", "--", "cat"]);
        // It ends with this process, which holds the other end.
        let holder = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let mut home = Holder(holder);
        // It answers when it is there.
        use std::io::{Read as _, Write as _};
        home.0.stdin.as_mut()?.write_all(b"x").ok()?;
        home.0.stdout.as_mut()?.read_exact(&mut [0]).ok()?;
        Some(Self(Arc::new(home)))
    }

    fn pid(&self) -> String {
        self.0.0.id().to_string()
    }

    fn path(&self) -> String {
        format!("/proc/{}/ns/net", self.0.0.id())
    }

    /// A command that runs there.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", self.path()))
            .arg("--")
            .arg(program);
        command
    }

    fn ip(&self, arguments: &[&str]) -> bool {
        let done = self
            .command("ip")
            .args(arguments)
            .stderr(Stdio::null())
            .status();
        done.is_ok_and(|status| status.success())
    }

    /// Runs this on a thread that is there, with a runtime that lives on: what it leaves behind goes on there.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Pin<Box<dyn Future<Output = T> + Send>> {
        let (path, network) = (self.path(), self.clone());
        let (answer, answered) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let file = File::open(path).expect("the network is there");
            // SAFETY: the descriptor is open for the call. It changes this thread alone, which makes sockets nowhere else.
            let entered = unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(entered, 0, "{}", std::io::Error::last_os_error());
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let _ = answer.send(work.await);
                // Ends with the process of the test.
                drop(network);
                std::future::pending::<()>().await;
            });
        });
        Box::pin(async move { answered.await.expect("it ended well") })
    }
}
