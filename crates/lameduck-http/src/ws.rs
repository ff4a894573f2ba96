//! What an application says about its WebSockets.
//!
//! Owns the public options and the farewell. How an upgraded connection is kept and ended is [`crate::server::upgrade`]'s business.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::sync::Notify;

/// What a WebSocket's client is told when the service leaves, and over which time the clients are told.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use lameduck_http::WebSockets;
///
/// let mut websockets = WebSockets::default();
/// assert_eq!(websockets.code, 1001);
/// // "Service restart": clients that know it reconnect after a random pause.
/// websockets.code = 1012;
/// websockets.reason = "restarting".into();
/// websockets.spread = Some(Duration::from_secs(20));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebSockets {
    /// The time from T on over which the connections open at T are closed, each at its own moment, so that their clients do not all come back at
    /// once. Default: the floor of the plan's window. What is left at the window's end is closed then.
    pub spread: Option<Duration>,
    /// The code of the Close frame: 1001, "going away" (RFC 6455 §7.4.1).
    pub code: u16,
    /// Its reason: "going away". Cut to the 123 bytes that a Close frame has room for.
    pub reason: Cow<'static, str>,
}

impl Default for WebSockets {
    fn default() -> Self {
        Self {
            spread: None,
            code: 1001,
            reason: Cow::Borrowed("going away"),
        }
    }
}

/// The payload of a control frame has 125 bytes at most, two of them are the code.
const REASON_AT_MOST: usize = 123;

impl WebSockets {
    /// The Close frame, as a server sends it.
    pub(crate) fn close_frame(&self) -> Bytes {
        let mut length = self.reason.len().min(REASON_AT_MOST);
        while !self.reason.is_char_boundary(length) {
            length -= 1;
        }
        let mut frame = BytesMut::with_capacity(4 + length);
        frame.put_u8(0x88);
        frame.put_u8(u8::try_from(2 + length).expect("125 at most"));
        frame.put_u16(self.code);
        frame.put_slice(&self.reason.as_bytes()[..length]);
        frame.freeze()
    }
}

/// The moment at which one upgraded connection is to go, shared by the application and the connection's keeper.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    has_come: AtomicBool,
    came: Notify,
    /// Farewells that the application holds, or held when the moment came.
    asked: AtomicUsize,
}

impl Turn {
    /// The moment is here. Gives whether the application says farewell itself.
    pub(crate) fn come(&self) -> bool {
        // SeqCst pairs with the load in `due`: either that load sees the flag, or its `Notified`, made before the load, sees the notification.
        // It also orders the flag before the load of `asked`, as the drop of a farewell does the other way round.
        self.has_come.store(true, Ordering::SeqCst);
        self.came.notify_waiters();
        self.asked.load(Ordering::SeqCst) > 0
    }

    fn has_come(&self) -> bool {
        self.has_come.load(Ordering::SeqCst)
    }
}

/// The application's promise to close a WebSocket itself when its turn comes: to send last messages, and a Close with a code of its own.
///
/// From [`farewell`]. Nothing is sent on its behalf at its turn; if it has not sent a Close within
/// [`Limits::ws_close`](crate::Limits::ws_close) from then on, the server sends one after all. Dropped before the turn, the promise is given back.
///
/// # Examples
/// ```
/// use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
/// use axum::response::Response;
///
/// async fn handler(upgrade: WebSocketUpgrade) -> Response {
///     // In the handler, before the upgrade: None under another server.
///     let farewell = lameduck_http::farewell();
///     upgrade.on_upgrade(move |socket| talk(socket, farewell))
/// }
///
/// async fn talk(mut socket: WebSocket, farewell: Option<lameduck_http::Farewell>) {
///     let due = async {
///         match &farewell {
///             Some(farewell) => farewell.due().await,
///             None => std::future::pending().await,
///         }
///     };
///     tokio::pin!(due);
///     loop {
///         tokio::select! {
///             () = &mut due => break,
///             message = socket.recv() => match message {
///                 Some(Ok(Message::Text(text))) => {
///                     if socket.send(Message::Text(text)).await.is_err() { return }
///                 }
///                 Some(Ok(_)) => {}
///                 Some(Err(_)) | None => return,
///             },
///         }
///     }
///     let last = CloseFrame { code: 1012, reason: "restarting".into() };
///     if socket.send(Message::Close(Some(last))).await.is_ok() {
///         // Until the client's answer.
///         while let Some(Ok(_)) = socket.recv().await {}
///     }
/// }
/// # let _: axum::Router = axum::Router::new().route("/ws", axum::routing::any(handler));
/// ```
#[derive(Debug)]
#[must_use = "a farewell that is dropped is given back"]
pub struct Farewell {
    turn: Arc<Turn>,
}

impl Farewell {
    fn of(turn: &Arc<Turn>) -> Self {
        // SeqCst: see `Turn::come`.
        turn.asked.fetch_add(1, Ordering::SeqCst);
        Self { turn: turn.clone() }
    }

    /// Resolves when this connection's turn to go has come: a moment within [`WebSockets::spread`] after T, at the window's end at the latest,
    /// or when the connection is as old as [`Limits::age`](crate::Limits::age) allows.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub async fn due(&self) {
        loop {
            let came = self.turn.came.notified();
            if self.is_due() {
                return;
            }
            came.await;
        }
    }

    /// Whether the turn has come.
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.turn.has_come()
    }
}

impl Drop for Farewell {
    fn drop(&mut self) {
        // Once the turn has come, the promise holds: a Close may be under way.
        if !self.turn.has_come() {
            self.turn.asked.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Turn>>> = const { RefCell::new(None) };
}

/// Promises to close the connection that this request upgrades by the application itself; `None` outside a handler of a request that asks for
/// an upgrade.
///
/// Call it in the handler (it works where [`drain()`](crate::drain) does) and move it into the task that gets the connection. Not only for WebSockets:
/// any upgraded protocol hears by it when its turn has come.
#[must_use = "a farewell that is dropped is given back"]
pub fn farewell() -> Option<Farewell> {
    CURRENT.with_borrow(|turn| turn.as_ref().map(Farewell::of))
}

/// Runs `poll` in a handler whose request asks for an upgrade.
pub(crate) fn with<R>(turn: &Arc<Turn>, poll: impl FnOnce() -> R) -> R {
    struct Restore(Option<Arc<Turn>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            let former = self.0.take();
            CURRENT.with_borrow_mut(|turn| *turn = former);
        }
    }
    let _restore = Restore(CURRENT.replace(Some(turn.clone())));
    poll()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_frame_says_code_and_reason() {
        let frame = WebSockets::default().close_frame();
        assert_eq!(&frame[..], b"\x88\x0c\x03\xe9going away");
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let websockets = WebSockets {
            reason: "é".repeat(100).into(),
            ..WebSockets::default()
        };
        let frame = websockets.close_frame();
        assert_eq!(frame.len(), 4 + 122);
        assert_eq!(frame[1], 124);
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }

    #[test]
    fn a_farewell_dropped_before_its_turn_is_given_back() {
        assert!(farewell().is_none());
        let turn = Arc::new(Turn::default());
        drop(with(&turn, farewell));
        assert!(!turn.come());

        let turn = Arc::new(Turn::default());
        let farewell = with(&turn, farewell).expect("in a handler");
        assert!(!farewell.is_due());
        assert!(turn.come());
        assert!(farewell.is_due());
        drop(farewell);
        assert!(turn.come(), "a Close may be under way");
    }
}
