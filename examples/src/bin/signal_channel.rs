//! A service that is told how much to say by signals of its own: a channel beside the lifecycle.
//!
//! `kill -USR1` says how it is; a queued SIGRTMIN+1 sets the level to its value (`kill -q 3 -35 PID` from procps). SIGTERM stays the
//! lifecycle's, and ends the channel with it.

use lameduck::{
    Outcome, Plan,
    signals::{Channel, Signo},
};

fn main() -> Outcome {
    lameduck::run(Plan::detect(), async |life| {
        let level = Signo::real_time(1)?;
        let mut channel = Channel::of([Signo::USR1, level])
            .until(life.drain().closing())
            .open_async()?;
        life.worker("levels", async move |_stop| {
            let mut now = 0;
            while let Some(one) = channel.recv().await {
                if let Some(value) = one.value() {
                    now = value.int();
                }
                println!("level {now}, says {}", one.sender());
            }
            println!("no more signals");
        })?;
        println!("ready");
        Ok(())
    })
}
