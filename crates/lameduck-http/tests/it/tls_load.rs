//! L-TLS: closed-loop clients over TLS across T lose nothing.

use lameduck::Outcome;
use tokio::task::JoinSet;

use crate::load::{Pauses, Sent, ask};
use crate::support::{millis, plan, window};
use crate::tls_support::TlsRig;

#[tokio::test]
async fn l_tls_closed_loop_clients_lose_nothing() {
    for round in 1..=5 {
        let rig = TlsRig::start(plan(window(0, 100, 2_000))).await;
        let mut asking = JoinSet::new();
        for number in 1..=20_u64 {
            let pauses = Pauses {
                state: number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ round,
                think: millis(20),
            };
            asking.spawn(ask(rig.connect().await, pauses));
        }
        rig.rig.counted_requests(60).await;
        rig.rig.terminate().await;
        let mut total = Sent::default();
        for sent in asking.join_all().await {
            total.served += sent.served;
            total.lost += sent.lost;
        }
        assert_eq!(rig.rig.outcome().await, Outcome::Drained);
        assert_eq!(total.lost, 0, "round {round}: {total:?}");
        assert!(total.served >= 60, "round {round}: {total:?}");
    }
}
