//! L-H1: closed-loop clients across T lose nothing.

use std::time::Duration;

use lameduck::{Count, Outcome};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use crate::support::{Client, Rig, millis, plan, window};

const POST: &[u8] = b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody";

/// What became of one client's requests.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub served: u32,
    pub lost: u32,
}

/// Pseudo-random pauses below `think`, the same in every run.
pub(crate) struct Pauses {
    pub state: u64,
    pub think: Duration,
}

impl Pauses {
    fn next(&mut self) -> Duration {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let share = u32::try_from(self.state % 1_000).expect("below a thousand");
        self.think * share / 1_000
    }
}

/// Asks over and over until told to go elsewhere; looks before each write, as a connection pool does.
pub(crate) async fn ask<S>(mut client: Client<S>, mut pauses: Pauses) -> Sent
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut sent = Sent::default();
    loop {
        if client.ends_within(pauses.next()).await {
            return sent;
        }
        let answered = match client.try_send(POST).await {
            Ok(()) => client.answer().await,
            Err(_) => None,
        };
        match answered {
            Some(answer) if answer.status == 200 && answer.whole => {
                sent.served += 1;
                if answer.close {
                    return sent;
                }
            }
            _ => {
                sent.lost += 1;
                return sent;
            }
        }
    }
}

async fn nothing_is_lost(clients: u64, think: Duration) {
    for round in 1..=5 {
        let rig = Rig::start(plan(window(0, 100, 2_000))).await;
        let mut asking = JoinSet::new();
        for number in 1..=clients {
            let pauses = Pauses {
                state: number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ round,
                think,
            };
            asking.spawn(ask(rig.connect().await, pauses));
        }
        rig.counted_requests(clients * 3).await;
        rig.terminate().await;
        let mut total = Sent::default();
        for sent in asking.join_all().await {
            total.served += sent.served;
            total.lost += sent.lost;
        }
        assert_eq!(rig.outcome().await, Outcome::Drained);
        assert_eq!(total.lost, 0, "round {round}: {total:?}");
        assert_eq!(rig.count(Count::Ended), 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l_h1_saturated_connections_lose_nothing() {
    nothing_is_lost(32, Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l_h1_thinking_clients_lose_nothing() {
    nothing_is_lost(100, millis(20)).await;
}
