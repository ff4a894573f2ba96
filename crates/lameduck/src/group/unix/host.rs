//! The host of a group on one machine: it accepts members, and does what its desk decides.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::super::{CarrierError, Claim, Heard, Identity, MemberId, Rules, Word};
use super::MOST_MEMBERS;
use super::desk::{Desk, Refusal};
use super::lines::Lines;
use super::socket::{OwnSocket, check_peer};
use super::wire::{FromHost, FromMember, VERSION, line};

/// How long a new host lends nothing, unless it is told otherwise: members try every half second at least.
const SETTLING: Duration = Duration::from_secs(3);

/// How long a member has for its first line, and for reading one.
const PATIENCE: Duration = Duration::from_secs(5);

/// What waits for the desk, from all members; beyond it they are read more slowly.
const INBOX: usize = 256;

/// What waits for a member; one that does not read so much is gone.
const MAILBOX: usize = 4_096;

/// How much of it is kept for what must not be missed: offers, of which others make as many as they like, are dropped before.
const NO_OFFERS: usize = 1_024;

/// Beyond the members: connections that have not joined yet.
const MOST_CONNECTIONS: usize = MOST_MEMBERS + 64;

/// Keeps the book of a group on one machine, on a Unix socket that only its own user can reach.
///
/// For a supervisor, or a process of its own: `lameduck slots` is one. A host keeps nothing on disk. The next one at the same path waits 3 s
/// before it lends anything, so that the members of the last one come back and say what they have.
///
/// # Examples
/// ```
/// use lameduck::group::{Group, Identity, Rules, Share, SlotHost, Turn, UnixCarrier};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = std::env::temp_dir().join(format!("lameduck-slots-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let path = directory.join("slots.sock");
/// let host = SlotHost::bind(&path, Rules::new(Share::count(1)?))?.settling(Duration::ZERO);
/// tokio::spawn(host.serve());
///
/// let first = Group::join(UnixCarrier::new(&path), Identity::new("first")?);
/// let second = Group::join(UnixCarrier::new(&path), Identity::new("second")?);
/// let turn = first.turn(Duration::from_secs(10)).await;
/// let Turn::Granted(slot) = turn else { panic!("{turn}") };
/// let none = second.turn(Duration::from_millis(50)).await;
/// assert!(matches!(none, Turn::RanOut { .. }), "there is one slot: {none}");
/// slot.give_back().await;
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a host does nothing until it serves"]
pub struct SlotHost {
    socket: OwnSocket,
    rules: Rules,
    settling: Duration,
}

impl SlotHost {
    /// Binds the socket: mode 0600, in a directory that, as all above it, is ours or root's, and writable by nobody else (or sticky, as `/tmp` is). What a host that is gone left at the path is replaced.
    ///
    /// # Errors
    /// `AddrInUse` if the path has a host, `PermissionDenied` for such a directory, and what the system reports.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn bind(path: impl AsRef<Path>, rules: Rules) -> io::Result<Self> {
        Ok(Self {
            socket: OwnSocket::bind(path.as_ref())?,
            rules,
            settling: SETTLING,
        })
    }

    /// How long nothing is lent at first; 3 s unless set. Members come back within half a second; shorter is for tests, and for groups that
    /// have no host before this one.
    pub const fn settling(mut self, settling: Duration) -> Self {
        self.settling = settling;
        self
    }

    /// Serves, until it is dropped.
    ///
    /// # Cancel safety
    /// Dropped, the socket is unlinked and every connection closed: members go on trying, and leave alone when their time is over.
    pub async fn serve(self) {
        let began = Instant::now();
        // Beyond every ticket of an earlier host, as far as the system's clock is right.
        let first_ticket = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let first_ticket = u64::try_from(first_ticket.as_micros()).unwrap_or_default();
        let mut reception = Reception {
            desk: Desk::new(self.rules, self.settling, first_ticket),
            mailboxes: BTreeMap::new(),
            missed: 0,
            began,
        };
        let (inbox, mut events) = mpsc::channel(INBOX);
        let mut connections = JoinSet::new();
        loop {
            let wakes_at = reception.desk.wakes_at(began.elapsed());
            tokio::select! {
                accepted = self.socket.listener.accept() => match accepted {
                    Ok((stream, _)) if connections.len() < MOST_CONNECTIONS => {
                        connections.spawn(connection(stream, inbox.clone()));
                    }
                    Ok(_) => {}
                    // No descriptor is left, most likely: others have to end first.
                    Err(_) => sleep(Duration::from_millis(50)).await,
                },
                Some(event) = events.recv() => reception.receive(event),
                _ = connections.join_next(), if !connections.is_empty() => {}
                () = sleep_until(began + wakes_at.unwrap_or_default()), if wakes_at.is_some() => {
                    reception.desk.wake(began.elapsed());
                }
            }
            reception.deliver();
        }
    }
}

/// What connections tell the desk.
enum Event {
    Joins {
        who: Identity,
        claim: Claim,
        mailbox: mpsc::Sender<Heard>,
        answer: oneshot::Sender<Result<Rules, Refusal>>,
    },
    Says(MemberId, Word),
    /// Its connection has ended; it is told when its slot is free.
    Gone(MemberId, oneshot::Sender<()>),
}

/// The desk with its letter boxes.
struct Reception {
    desk: Desk,
    mailboxes: BTreeMap<MemberId, mpsc::Sender<Heard>>,
    /// Offers for which there was no room.
    missed: u64,
    began: Instant,
}

impl fmt::Debug for Reception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reception")
            .field("desk", &self.desk)
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

impl Reception {
    fn receive(&mut self, event: Event) {
        let now = self.began.elapsed();
        match event {
            Event::Joins {
                who,
                claim,
                mailbox,
                answer,
            } => {
                let joined = self.desk.join(now, &who, claim);
                if joined.is_ok() {
                    self.mailboxes.insert(who.id().clone(), mailbox);
                }
                let is_member = joined.is_ok();
                let answered = answer.send(joined.map(|()| self.desk.rules()));
                if answered.is_err() && is_member {
                    // Its connection is gone, and would never say so.
                    self.mailboxes.remove(who.id());
                    self.desk.gone(now, who.id());
                }
            }
            Event::Says(id, word) => self.desk.said(now, &id, word),
            Event::Gone(id, done) => {
                self.mailboxes.remove(&id);
                self.desk.gone(now, &id);
                let _ = done.send(());
            }
        }
    }

    fn deliver(&mut self) {
        while let Some((id, heard)) = self.desk.letter() {
            let Some(mailbox) = self.mailboxes.get(&id) else {
                continue;
            };
            if matches!(heard, Heard::Offered { .. }) && mailbox.capacity() <= NO_OFFERS {
                self.missed += 1;
                continue;
            }
            if mailbox.try_send(heard).is_err() {
                // It does not read: without its mailbox its connection ends, and with that its lease.
                self.mailboxes.remove(&id);
            }
        }
    }
}

/// One connection, from its first line to its end.
async fn connection(stream: UnixStream, inbox: mpsc::Sender<Event>) {
    if check_peer(&stream).is_err() {
        return;
    }
    let (read, mut write) = stream.into_split();
    let mut lines = Lines::new(read);
    let joining = async {
        // What is bounded is the peer. The host answers soon; were its answer not waited for, the member would be there without a connection.
        let said = timeout(PATIENCE, first(&mut lines)).await;
        let (who, claim) = said.map_err(|_| CarrierError::new("no `join` came in time"))??;
        let (mailbox, letters) = mpsc::channel(MAILBOX);
        let (answer, answered) = oneshot::channel();
        let id = who.id().clone();
        let joins = Event::Joins {
            who,
            claim,
            mailbox,
            answer,
        };
        let over = || CarrierError::new("the host ends");
        inbox.send(joins).await.map_err(|_| over())?;
        match answered.await.map_err(|_| over())? {
            Ok(rules) => Ok((id, letters, rules)),
            Err(refusal) => Err(CarrierError::new(refusal.as_str())),
        }
    };
    let (id, letters, rules) = match joining.await {
        Ok(joined) => joined,
        Err(error) => {
            let refused = line(&FromHost::Refused {
                why: error.to_string(),
            });
            // Whoever does not read it sees the end.
            let _ = timeout(PATIENCE, write.write_all(&refused)).await;
            return;
        }
    };
    // However it ends, it is over.
    let _ = member(&id, lines, &mut write, letters, rules, &inbox).await;
    let (done, free) = oneshot::channel();
    if inbox.send(Event::Gone(id, done)).await.is_ok() {
        // The member that leaves waits for the end of its connection: its slot is free then.
        let _ = free.await;
    }
}

async fn first(lines: &mut Lines<OwnedReadHalf>) -> Result<(Identity, Claim), CarrierError> {
    let bad = || CarrierError::new("the first line is no `join`");
    let first = lines
        .next()
        .await
        .map_err(|error| bad().because(error))?
        .ok_or_else(bad)?;
    let message = serde_json::from_slice(&first).map_err(|error| bad().because(error))?;
    let FromMember::Join { v, id, zone, claim } = message else {
        return Err(bad());
    };
    if v != VERSION {
        return Err(CarrierError::new(format!(
            "version {v} is not spoken here, {VERSION} is"
        )));
    }
    let who = Identity::new(&id).and_then(|who| who.in_zone(&zone));
    Ok((who.map_err(|error| bad().because(error))?, claim.into()))
}

/// A member, for as long as its connection lives.
async fn member(
    id: &MemberId,
    mut lines: Lines<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
    mut letters: mpsc::Receiver<Heard>,
    rules: Rules,
    inbox: &mpsc::Sender<Event>,
) -> Result<(), CarrierError> {
    let joined = FromHost::Joined {
        v: VERSION,
        rules: rules.to_string(),
    };
    send(write, &joined).await?;
    loop {
        tokio::select! {
            said = lines.next() => {
                let gone = || CarrierError::new("the member is gone");
                let said = said.map_err(|error| gone().because(error))?.ok_or_else(gone)?;
                let said: Result<FromMember, _> = serde_json::from_slice(&said);
                let word = match said {
                    Ok(said) => Word::try_from(said),
                    Err(error) => Err(CarrierError::new("a line is no word").because(error)),
                };
                match word {
                    Ok(word) => {
                        let heard = inbox.send(Event::Says(id.clone(), word)).await;
                        heard.map_err(|_| CarrierError::new("the host ends"))?;
                    }
                    Err(error) => {
                        send(write, &FromHost::Refused { why: error.to_string() }).await?;
                        return Err(error);
                    }
                }
            }
            letter = letters.recv() => {
                let letter = letter.ok_or_else(|| CarrierError::new("it did not read what it was told"))?;
                send(write, &FromHost::from(letter)).await?;
            }
        }
    }
}

async fn send(write: &mut OwnedWriteHalf, message: &FromHost) -> Result<(), CarrierError> {
    match timeout(PATIENCE, write.write_all(&line(message))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(CarrierError::new("the member is gone").because(error)),
        Err(_) => Err(CarrierError::new("the member does not read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(reception: &mut Reception, name: &str) -> mpsc::Receiver<Heard> {
        let (mailbox, letters) = mpsc::channel(MAILBOX);
        let (answer, mut answered) = oneshot::channel();
        reception.receive(Event::Joins {
            who: Identity::new(name).expect("a name"),
            claim: Claim::Serving,
            mailbox,
            answer,
        });
        reception.deliver();
        let joined = answered.try_recv().expect("it is answered");
        joined.expect("it may join");
        letters
    }

    #[test]
    fn offers_cost_no_member_its_place() {
        let mut reception = Reception {
            desk: Desk::new("2".parse().expect("rules"), Duration::ZERO, 1),
            mailboxes: BTreeMap::new(),
            missed: 0,
            began: Instant::now(),
        };
        let mut slow = join(&mut reception, "slow");
        let mut owners = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            owners.push(join(&mut reception, name));
            let id: MemberId = name.parse().expect("a name");
            for word in 0..32 {
                let work = (0..32).map(|n| format!("{word}/{n}")).collect();
                reception.receive(Event::Says(id.clone(), Word::Publish { work }));
                reception.deliver();
            }
        }
        let mut late = join(&mut reception, "late");
        for (name, letters, offers) in [
            ("slow", &mut slow, MAILBOX - NO_OFFERS),
            ("late", &mut late, 1_024),
        ] {
            let id = name.parse().expect("a name");
            reception.receive(Event::Says(id, Word::Ask { wish: 1 }));
            reception.deliver();
            let told: Vec<Heard> = std::iter::from_fn(|| letters.try_recv().ok()).collect();
            assert_eq!(
                told.len(),
                offers + 2,
                "{name}: and its place, and its slot"
            );
            assert_eq!(told.last(), Some(&Heard::Granted { wish: 1 }), "{name}");
        }
        assert!(reception.missed > 0);
    }
}
