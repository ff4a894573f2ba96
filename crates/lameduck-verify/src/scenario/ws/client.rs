//! Owns one WebSocket client: handshake, echoes, the Close and its answer, in one of a few manners.
//! Not: which manners make a check (see `mod.rs`), or frames (see `observe::ws`).

use std::time::{Duration, Instant};

use crate::observe::outcome::End;
use crate::observe::response::ResponseReader;
use crate::observe::talk::{Act, Line, Scene, Talker};
use crate::observe::ws::{
    ACCEPT, BINARY, CONTINUATION, FrameReader, Last, TEXT, close_frame, frame, pattern, pong_frame,
};

/// Any four bytes do: masks protect proxies, not us.
pub(super) const MASK: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];
/// Head bytes of the handshake's answer that are kept.
const MAX_HEAD: usize = 8 * 1024;
/// A slow reader takes so much of its echo before the signal.
const TASTE: u64 = 64 * 1024;
/// Between two messages of a busy client.
const BUSY_PAUSE: Duration = Duration::from_millis(5);

/// How a client behaves once its WebSocket is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// One echo, then it waits for the Close and answers it.
    Idle,
    /// Echo after echo of so many bytes.
    Busy { bytes: usize },
    /// One echo of so many bytes in so many fragments, read slowly: done so long after the signal.
    Large {
        bytes: usize,
        fragments: usize,
        read_for: Duration,
    },
    /// One echo; hears the Close and never answers it.
    Silent,
    /// Says nothing: the application at the other end speaks.
    Listening,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Connect,
    Upgrading,
    Open,
    Answered,
}

/// One client and all that it saw.
#[derive(Debug)]
pub(crate) struct WsClient {
    manner: Manner,
    handshake: Vec<u8>,
    /// What it says, again and again; masked beforehand, so that nobody waits for that.
    message: Vec<u8>,
    place: Place,
    reader: ResponseReader,
    head: Vec<u8>,
    pub(crate) frames: FrameReader,
    sent: u64,
    /// Bytes read since the WebSocket is open.
    read: u64,
    stopped_at: Option<Instant>,
    last_sent_at: Option<Instant>,
    pub(crate) end: Option<(Instant, End)>,
    /// The handshake was answered as it should be.
    pub(crate) was_accepted: bool,
    /// Every message echoed so far was what had been sent.
    pub(crate) is_faithful: bool,
    /// The first message that came, if the application speaks first.
    pub(crate) first_text: Option<String>,
}

impl WsClient {
    pub(crate) fn new(manner: Manner, handshake: Vec<u8>) -> Self {
        Self {
            manner,
            handshake,
            message: message(manner),
            place: Place::Connect,
            reader: ResponseReader::new(),
            head: Vec::new(),
            frames: FrameReader::default(),
            sent: 0,
            read: 0,
            stopped_at: None,
            last_sent_at: None,
            end: None,
            was_accepted: false,
            is_faithful: true,
            first_text: None,
        }
    }

    /// What the handshake was answered with.
    pub(crate) fn status(&self) -> Option<u16> {
        self.reader.head().map(|head| head.status)
    }

    fn is_open(&self) -> bool {
        matches!(self.place, Place::Open | Place::Answered)
    }

    /// The large echo that was under way at the signal came whole and unharmed.
    pub(crate) fn is_echo_whole(&self) -> bool {
        self.frames.messages >= self.sent && self.is_faithful
    }

    fn accepts(&self) -> bool {
        let head = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
        let accept = ACCEPT.to_ascii_lowercase();
        self.status() == Some(101)
            && head.lines().any(|line| {
                line.strip_prefix("sec-websocket-accept:")
                    .is_some_and(|value| value.trim() == accept)
            })
    }

    fn speak(&mut self, scene: &Scene) -> Act {
        if let Some(payload) = self.frames.ping.take() {
            return Act::Send(pong_frame(&payload, MASK));
        }
        if let Some(farewell) = &self.frames.farewell {
            if self.manner == Manner::Silent || self.place == Place::Answered {
                return Act::Wait(None);
            }
            let code = farewell.code.unwrap_or(1000);
            self.place = Place::Answered;
            return Act::Send(close_frame(code, MASK));
        }
        let is_due = match self.manner {
            Manner::Listening => false,
            Manner::Busy { .. } => {
                self.frames.messages == self.sent
                    && self
                        .last_sent_at
                        .is_none_or(|at| scene.now >= at + BUSY_PAUSE)
            }
            _ => self.sent == 0,
        };
        if is_due && !scene.is_closing_time {
            self.sent += 1;
            self.last_sent_at = Some(scene.now);
            return Act::Send(self.message.clone());
        }
        Act::Wait(None)
    }

    fn hear_frames(&mut self, bytes: &[u8], at: Instant) {
        self.read += bytes.len() as u64;
        self.frames.push(bytes, at);
        while let Some(message) = self.frames.inbox.pop_front() {
            self.is_faithful &= message.is_pattern;
            if self.first_text.is_none() {
                self.first_text = Some(String::from_utf8_lossy(&message.head).into_owned());
            }
        }
    }
}

/// What a client of that manner says.
fn message(manner: Manner) -> Vec<u8> {
    let payload = |bytes: usize| (0..bytes as u64).map(pattern).collect::<Vec<u8>>();
    match manner {
        Manner::Idle | Manner::Silent | Manner::Listening => {
            frame(TEXT, Last::Yes, &payload(16), MASK)
        }
        Manner::Busy { bytes } => frame(BINARY, Last::Yes, &payload(bytes), MASK),
        Manner::Large {
            bytes, fragments, ..
        } => {
            let payload = payload(bytes);
            let size = bytes.div_ceil(fragments.max(1));
            let count = payload.chunks(size).count();
            let pieces = payload.chunks(size).enumerate().map(|(index, piece)| {
                let opcode = if index == 0 { BINARY } else { CONTINUATION };
                let last = if index + 1 == count {
                    Last::Yes
                } else {
                    Last::No
                };
                frame(opcode, last, piece, MASK)
            });
            pieces.collect::<Vec<_>>().concat()
        }
    }
}

impl Talker for WsClient {
    fn act(&mut self, scene: &Scene) -> Act {
        self.stopped_at = scene.stopped_at;
        match (self.place, scene.line) {
            (Place::Connect, Line::None) => Act::Connect,
            (Place::Connect, Line::Open) => {
                self.place = Place::Upgrading;
                Act::Send(std::mem::take(&mut self.handshake))
            }
            (Place::Upgrading, Line::Open) if !self.reader.is_complete() => Act::Wait(None),
            (Place::Upgrading, Line::Open) if self.was_accepted => {
                self.place = Place::Open;
                self.speak(scene)
            }
            (Place::Open | Place::Answered, Line::Open) => self.speak(scene),
            _ => Act::Finish,
        }
    }

    fn hear(&mut self, bytes: &[u8], at: Instant) {
        if self.reader.is_complete() {
            return self.hear_frames(bytes, at);
        }
        let Ok(taken) = self.reader.push(bytes) else {
            return;
        };
        let room = MAX_HEAD.saturating_sub(self.head.len()).min(taken);
        self.head.extend_from_slice(&bytes[..room]);
        self.was_accepted = self.accepts();
        if self.reader.is_complete() && taken < bytes.len() {
            self.hear_frames(&bytes[taken..], at);
        }
    }

    fn ended(&mut self, end: End, at: Instant) {
        self.end.get_or_insert((at, end));
    }

    fn appetite(&self, now: Instant) -> usize {
        let Manner::Large {
            bytes, read_for, ..
        } = self.manner
        else {
            return usize::MAX;
        };
        if !self.is_open() {
            return usize::MAX;
        }
        let allowed = match self.stopped_at {
            None => TASTE,
            Some(t) => {
                let share = now.saturating_duration_since(t).as_secs_f64()
                    / read_for.as_secs_f64().max(0.001);
                if share >= 1.0 {
                    return usize::MAX;
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    clippy::cast_precision_loss,
                    reason = "a share of a size that is far below 2^52"
                )]
                let so_far = (share * bytes as f64) as u64;
                TASTE + so_far
            }
        };
        usize::try_from(allowed.saturating_sub(self.read)).unwrap_or(usize::MAX)
    }

    fn is_poised(&self) -> bool {
        self.place == Place::Open
            && self.end.is_none()
            && self.frames.farewell.is_none()
            && match self.manner {
                Manner::Listening => true,
                Manner::Large { .. } => self.frames.is_inside_message(),
                _ => self.frames.messages > 0,
            }
    }
}
