//! The task of a member: it keeps a link to the group, says what is wanted, and writes down what it hears. It waits for nothing that the
//! member's deadline depends on; the handles in `handle` keep that themselves.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::state::{Aim, Contact, State};
use super::{Borne, Carrier, CarrierError, Claim, Identity, Link};

/// How long a word may take to be said, and a link to be made, before the link counts as lost.
const SAYING: Duration = Duration::from_secs(2);

/// How long the end of a link is waited for: after it, the lease ends by itself.
const LEAVING: Duration = Duration::from_secs(1);

pub(super) struct Driver {
    pub(super) carrier: Arc<dyn Carrier>,
    pub(super) who: Identity,
    pub(super) state: Arc<watch::Sender<State>>,
}

/// A link in the making: when the next try begins, or the try.
enum Joining {
    At(Instant),
    Now(Claim, Aim, Borne<'static, Box<dyn Link>>),
}

impl Driver {
    /// Runs until the member leaves the group.
    pub(super) async fn run(self) {
        let mut changes = self.state.subscribe();
        let mut pause = Pause::new(self.carrier.pauses());
        let mut joining = Joining::At(Instant::now());
        while !changes.borrow_and_update().leaves {
            let link = tokio::select! {
                link = self.join(&mut joining, &mut pause) => link,
                // Only to see whether it leaves: a claim is made anew by each try.
                _ = changes.changed() => continue,
            };
            if let Err(error) = self.live(link, &mut changes).await {
                self.cut_off(&error);
            }
            joining = Joining::At(Instant::now() + pause.next());
        }
        self.state.send_modify(|state| state.over = true);
    }

    /// Tries until there is a link.
    ///
    /// # Cancel safety
    /// Cancel safe: what is under way stays in `joining`.
    async fn join(&self, joining: &mut Joining, pause: &mut Pause) -> Box<dyn Link> {
        loop {
            match joining {
                Joining::At(at) => {
                    sleep_until(*at).await;
                    let (claim, aim) = {
                        let state = self.state.borrow();
                        (state.claim(), state.aim)
                    };
                    *joining = Joining::Now(claim, aim, self.attempt(claim));
                }
                Joining::Now(claim, aim, attempt) => match Pin::new(attempt).await {
                    Ok(link) => {
                        let (claim, aim) = (*claim, *aim);
                        *joining = Joining::At(Instant::now());
                        pause.reset();
                        self.state.send_modify(|state| state.linked(claim, aim));
                        return link;
                    }
                    Err(error) => {
                        self.cut_off(&error);
                        *joining = Joining::At(Instant::now() + pause.next());
                    }
                },
            }
        }
    }

    fn attempt(&self, claim: Claim) -> Borne<'static, Box<dyn Link>> {
        let (carrier, who) = (Arc::clone(&self.carrier), self.who.clone());
        Box::pin(async move { within(SAYING, "the group", carrier.join(&who, claim)).await })
    }

    /// Says and hears until the link is over; `Ok` when the member has left.
    async fn live(
        &self,
        mut link: Box<dyn Link>,
        changes: &mut watch::Receiver<State>,
    ) -> Result<(), CarrierError> {
        loop {
            // What is heard below is not news to us.
            changes.mark_unchanged();
            while let Some(word) = self.next_word() {
                within(SAYING, "the group", link.say(word)).await?;
            }
            if self.state.borrow().leaves {
                // Its lease ends by itself otherwise.
                let _ = timeout(LEAVING, link.leave()).await;
                return Ok(());
            }
            tokio::select! {
                heard = link.hear() => {
                    let heard = heard?;
                    self.state.send_modify(|state| state.heard(heard));
                }
                _ = changes.changed() => {}
            }
        }
    }

    fn next_word(&self) -> Option<super::Word> {
        let mut word = None;
        self.state.send_if_modified(|state| {
            word = state.next_word();
            // Nobody waits for what was said.
            false
        });
        word
    }

    fn cut_off(&self, error: &CarrierError) {
        let why = error.to_string();
        self.state
            .send_modify(|state| state.contact = Contact::CutOff { why });
    }
}

async fn within<T>(limit: Duration, what: &str, doing: Borne<'_, T>) -> Result<T, CarrierError> {
    match timeout(limit, doing).await {
        Ok(done) => done,
        Err(_) => Err(CarrierError::new(format!(
            "{what} did not answer within {} ms",
            limit.as_millis()
        ))),
    }
}

/// Pauses that double, each with a random part, so that a group does not come back in step.
struct Pause {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Pause {
    const fn new((first, longest): (Duration, Duration)) -> Self {
        Self {
            first,
            longest,
            next: first,
        }
    }

    /// From half to the whole of it.
    fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.longest);
        // Seeded by the system for each process, and other for each call.
        let random = RandomState::new().build_hasher().finish() % 1_024;
        let random = u32::try_from(random).expect("below 1,024");
        pause / 2 + pause * random / 2_048
    }

    const fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let ms = Duration::from_millis;
        let mut pause = Pause::new((ms(50), ms(150)));
        for whole in [50, 100, 150, 150] {
            let next = pause.next();
            assert!(
                ms(whole) / 2 <= next && next <= ms(whole),
                "{next:?} of {whole}"
            );
        }
        pause.reset();
        assert!(pause.next() <= ms(50));
    }
}
