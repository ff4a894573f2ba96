//! A3 when descriptors run out. A process of its own, because the limit is the process's.

#[path = "it/support.rs"]
#[expect(dead_code, reason = "shared with the other tests, which use all of it")]
mod support;

use lameduck::{Count, Outcome, Window};
use socket2::{Domain, Socket, Type};

use support::{Client, GET, Rig, plan};

fn set_limit(descriptors: u64) -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a writable rlimit that outlives both calls.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = limit.rlim_cur;
        limit.rlim_cur = descriptors;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}

#[tokio::test]
async fn a3_running_out_of_descriptors_delays_connections_and_loses_none() {
    let rig = Rig::start(plan(Window::NONE)).await;
    let sockets: Vec<_> = (0..8)
        .map(|_| Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket"))
        .collect();
    let next = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let lowest_free = u64::try_from(std::os::fd::AsRawFd::as_raw_fd(&next)).expect("a number");
    drop(next);
    let before = set_limit(lowest_free + 2);
    let mut clients = Vec::new();
    for socket in sockets {
        socket
            .connect(&rig.addr.into())
            .expect("the kernel completes it");
        socket.set_nonblocking(true).expect("non-blocking");
        let stream = tokio::net::TcpStream::from_std(socket.into()).expect("registered");
        clients.push(Client::new(stream));
    }
    rig.counted(Count::AcceptError, 2).await;
    assert!(rig.count(Count::Accepted) <= 2);
    set_limit(before);
    for client in &mut clients {
        client.send(GET).await;
        client.served().await;
    }
    rig.terminate().await;
    drop(clients);
    assert_eq!(rig.outcome().await, Outcome::Drained);
}
