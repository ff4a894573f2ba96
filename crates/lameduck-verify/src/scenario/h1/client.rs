//! Owns the scripted HTTP/1.1 client of the long exchanges: deeds in, answers out.
//! Not: which deeds make a check, or its verdict (see the files beside it).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::observe::answers::Answers;
use crate::observe::flow::When;
use crate::observe::outcome::End;
use crate::observe::talk::{Act, Line, Scene, Talker};

/// One thing that a client does; when one is over, the next begins.
#[derive(Debug, Clone)]
pub(crate) enum Deed {
    Connect,
    Send(Vec<u8>),
    /// The same few bytes again and again, until that time.
    Drip {
        bytes: Vec<u8>,
        every: Duration,
        until: When,
    },
    Hold(When),
    /// What the drips so far leave of a body of so many bytes.
    Fill(usize),
    /// From here on it reads nothing (until `Hear`).
    BeDeaf,
    Hear,
    /// Until that was heard, or for so long at most.
    Await(Sign, Duration),
    /// Until the connection ends.
    AwaitEnd,
    /// Until the first answer is whole, or the connection ends.
    AwaitEndOrAnswer,
    /// The deeds that follow are left out if the first answer is whole by now.
    UnlessAnswered,
}

/// What a client waits to hear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// So many whole answers.
    Answers(usize),
    /// So many bytes of the first answer's body.
    Body(u64),
    /// An interim response, or the answer itself.
    Interim,
}

/// What uploads are made of.
pub(crate) const FILLER: u8 = b'x';

/// Without a signal, nobody waits longer.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

/// One client and all that it saw.
#[derive(Debug)]
pub(crate) struct Client {
    deeds: VecDeque<Deed>,
    deed: Option<Deed>,
    reached_at: Instant,
    next_drip: Option<Instant>,
    dripped: usize,
    is_deaf: bool,
    is_poised: bool,
    pub(crate) answers: Answers,
    /// When each `Send` or drip was written; the last one counts.
    pub(crate) wrote_at: Option<Instant>,
    pub(crate) look_gap: Duration,
    /// Sends and drips that were written.
    pub(crate) writes: u64,
    /// Deeds were left when the connection ended.
    pub(crate) was_cut: bool,
    pub(crate) opened_at: Option<Instant>,
    /// The whole answer was here before this, and the deeds after it were left out.
    was_early: bool,
}

impl Client {
    pub(crate) fn new(requests: usize, deeds: Vec<Deed>) -> Self {
        Self {
            deeds: deeds.into(),
            deed: None,
            reached_at: Instant::now(),
            next_drip: None,
            dripped: 0,
            is_deaf: false,
            is_poised: false,
            answers: Answers::to(requests),
            wrote_at: None,
            look_gap: Duration::ZERO,
            writes: 0,
            was_cut: false,
            opened_at: None,
            was_early: false,
        }
    }

    /// The whole answer was here before all was sent.
    pub(crate) fn is_answered_early(&self) -> bool {
        self.was_early || self.was_cut && self.answers.whole() > 0
    }

    fn is_over(when: When, reached_at: Instant, scene: &Scene) -> bool {
        match when {
            When::For(pause) => scene.now >= reached_at + pause,
            When::Eve => scene.is_eve,
            When::AfterStop(offset) => scene.stopped_at.is_some_and(|t| scene.now >= t + offset),
        }
    }

    fn due(when: When, reached_at: Instant, scene: &Scene) -> Option<Instant> {
        match when {
            When::For(pause) => Some(reached_at + pause),
            When::Eve => None,
            When::AfterStop(offset) => scene.stopped_at.map(|t| t + offset),
        }
    }

    fn has(&self, sign: Sign) -> bool {
        match sign {
            Sign::Answers(count) => self.answers.whole() >= count,
            Sign::Body(bytes) => self.answers.get(0).is_some_and(|first| {
                first.reader.body_bytes() >= bytes || first.reader.is_complete()
            }),
            Sign::Interim => self
                .answers
                .get(0)
                .is_some_and(|first| first.reader.interim() > 0 || first.reader.head().is_some()),
        }
    }

    /// Works on the present deed; `None` when it is over.
    fn work(&mut self, deed: &Deed, scene: &Scene) -> Option<Act> {
        match deed {
            Deed::Connect => match scene.line {
                Line::None => Some(Act::Connect),
                Line::Open => {
                    self.opened_at = Some(scene.now);
                    None
                }
                _ => Some(Act::Finish),
            },
            // Its bytes were handed over when it was reached.
            Deed::Send(_) | Deed::Fill(_) => None,
            Deed::Drip {
                bytes,
                every,
                until,
            } => {
                self.is_poised |= matches!(until, When::AfterStop(_));
                if Self::is_over(*until, self.reached_at, scene) {
                    return None;
                }
                let due = *self.next_drip.get_or_insert(scene.now);
                if scene.now < due {
                    return Some(Act::Wait(Some(due)));
                }
                self.next_drip = Some(scene.now + *every);
                self.dripped += bytes.len();
                Some(Act::Send(bytes.clone()))
            }
            Deed::Hold(when) => {
                self.is_poised |= matches!(when, When::AfterStop(_) | When::Eve);
                if Self::is_over(*when, self.reached_at, scene) {
                    return None;
                }
                Some(Act::Wait(Self::due(*when, self.reached_at, scene)))
            }
            Deed::BeDeaf | Deed::Hear => {
                self.is_deaf = matches!(deed, Deed::BeDeaf);
                None
            }
            Deed::Await(sign, bound) => {
                let due = self.reached_at + *bound;
                if self.has(*sign) || scene.now >= due {
                    return None;
                }
                Some(Act::Wait(Some(due)))
            }
            Deed::AwaitEnd => {
                self.is_poised = true;
                Some(Act::Wait(None))
            }
            Deed::AwaitEndOrAnswer => {
                self.is_poised = true;
                (!self.has(Sign::Answers(1))).then_some(Act::Wait(None))
            }
            Deed::UnlessAnswered => {
                if self.has(Sign::Answers(1)) {
                    self.was_early = true;
                    self.deeds.clear();
                }
                None
            }
        }
    }
}

impl Talker for Client {
    fn act(&mut self, scene: &Scene) -> Act {
        loop {
            let ended = matches!(scene.line, Line::Ended(_));
            let deed = match self.deed.take() {
                Some(deed) => deed,
                None => match self.deeds.pop_front() {
                    _ if scene.is_closing_time && self.answers.whole() > 0 => return Act::Finish,
                    Some(deed) => {
                        self.reached_at = scene.now;
                        self.next_drip = None;
                        let bytes = match &deed {
                            Deed::Send(bytes) => bytes.clone(),
                            Deed::Fill(total) => {
                                vec![FILLER; total.saturating_sub(self.dripped)]
                            }
                            _ => Vec::new(),
                        };
                        if !bytes.is_empty() && scene.line == Line::Open {
                            return Act::Send(bytes);
                        }
                        deed
                    }
                    None => return Act::Finish,
                },
            };
            if ended {
                self.was_cut = !self.deeds.is_empty();
                return Act::Finish;
            }
            if let Some(act) = self.work(&deed, scene) {
                self.deed = Some(deed);
                return act;
            }
        }
    }

    fn hear(&mut self, bytes: &[u8], at: Instant) {
        self.answers.hear(bytes, at);
    }

    fn ended(&mut self, end: End, at: Instant) {
        self.is_poised = false;
        self.answers.ended(end, at);
    }

    fn wrote(&mut self, at: Instant, look_gap: Duration) {
        self.wrote_at = Some(at);
        self.look_gap = look_gap;
        self.writes += 1;
    }

    fn appetite(&self, _: Instant) -> usize {
        if self.is_deaf { 0 } else { usize::MAX }
    }

    fn is_poised(&self) -> bool {
        // Whoever has all the answers waits for nothing that the signal could harm.
        self.is_poised && self.answers.end.is_none() && !self.answers.is_all_whole()
    }
}
