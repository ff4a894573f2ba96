//! From a request on the control socket to its answer: who may ask at all, then the admin role's routes, then those that only this socket has.

use std::future::ready;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use lameduck::negotiation::{self, FromParticipant};
use lameduck::{Lifecycle, Switch, Weight};
use serde_json::json;
use tokio::time::Instant;

use super::answers;
use super::book::{Book, MOST_SESSIONS};
use super::caller::{Allowed, Caller, peer_of};
use super::join::{self, Gift, Join};
use super::session::{Hold, Joining};
use crate::side::accept::Afterwards;
use crate::side::admin::{Asker, Body, Desk};
use crate::side::role::{Answering, Role, Said, not_allowed};

/// How long a dump may take: stacks are copied, unwound and named.
const TO_DUMP: Duration = Duration::from_secs(30);
/// Refusals are audited once in this time; those between are counted.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(1);
const SESSIONS: &str = "/v1/sessions/";

/// What a control socket answers by.
#[derive(Clone)]
pub(super) struct ControlDesk(Arc<Inner>);

struct Inner {
    desk: Desk,
    allowed: Allowed,
    book: Arc<Book>,
    refusals: Mutex<Refusals>,
}

/// The same, for one whom the kernel has named, if it has.
struct Visit {
    desk: ControlDesk,
    caller: Option<Caller>,
}

impl Role for ControlDesk {
    fn answer(&self, life: &Lifecycle, _request: Request<Incoming>) -> Answering {
        now(self.0.refuse(life, None))
    }

    fn meet(&self, socket: BorrowedFd<'_>) -> Option<Arc<dyn Role>> {
        Some(Arc::new(Visit {
            desk: self.clone(),
            caller: peer_of(socket),
        }))
    }
}

impl Role for Visit {
    fn answer(&self, life: &Lifecycle, request: Request<Incoming>) -> Answering {
        self.desk.0.answer(life, self.caller.as_ref(), request)
    }
}

/// The last refusal that was audited, and how many there were since.
#[derive(Default)]
struct Refusals {
    at: Option<Instant>,
    since: u64,
}

impl ControlDesk {
    pub(super) fn new(desk: Desk, allowed: Allowed, book: Arc<Book>) -> Self {
        Self(Arc::new(Inner {
            desk,
            allowed,
            book,
            refusals: Mutex::default(),
        }))
    }
}

impl Inner {
    fn answer(
        &self,
        life: &Lifecycle,
        caller: Option<&Caller>,
        request: Request<Incoming>,
    ) -> Answering {
        let Some(caller) = caller.filter(|caller| self.allowed.lets(caller)) else {
            return now(self.refuse(life, caller));
        };
        let path = request.uri().path().to_owned();
        let asked = (request.method().clone(), path.as_str());
        match asked {
            (Method::GET | Method::HEAD, "/") => now(self.index(life)),
            (Method::GET | Method::HEAD, "/participants" | "/v1/participants") => {
                now(answers::object(StatusCode::OK, &self.book.participants()))
            }
            (Method::POST, "/v1/participants") => self.join(life, caller.clone(), request),
            (Method::POST, "/dump") => self.dump(life, caller),
            (Method::POST, "/grant") => self.grant(life, caller, request),
            (Method::POST, path) if path.starts_with(SESSIONS) => {
                self.hear(life, path[SESSIONS.len()..].to_owned(), request)
            }
            (_, "/" | "/participants") => now_text(not_allowed("GET, HEAD")),
            (_, "/v1/participants") => now_text(not_allowed("GET, HEAD, POST")),
            (_, "/dump" | "/grant") => now_text(not_allowed("POST")),
            (_, path) if path.starts_with(SESSIONS) => now_text(not_allowed("POST")),
            _ => self.as_admin(life, caller, request),
        }
    }

    /// What the admin role answers too; its sentences as JSON.
    fn as_admin(&self, life: &Lifecycle, caller: &Caller, request: Request<Incoming>) -> Answering {
        let asker = Asker(format!("on the control socket by {caller}"));
        let is_deed = request.method() == Method::POST;
        let path = request.uri().path().to_owned();
        // A request line may name no path at all (`POST host:80 HTTP/1.1`, RFC 9112 section 3.2.3).
        let what = path.strip_prefix('/').filter(|what| AUDITED.contains(what));
        let audited = what.filter(|_| is_deed);
        let audited = audited.map(|what| deed(caller, what.to_owned()));
        let life_of_deed = life.clone();
        let answering = self.desk.answer_known(life, asker, request);
        let said = answering.said;
        Answering {
            said: Box::pin(async move {
                let mut said = said.await;
                if is_deed || said.response.status().is_client_error() {
                    said.response = answers::from_text(said.response);
                }
                if let Some(audited) = audited
                    && said.response.status().is_success()
                {
                    life_of_deed.switched(audited);
                }
                said
            }),
            ..answering
        }
    }

    fn refuse(&self, life: &Lifecycle, caller: Option<&Caller>) -> Response<Bytes> {
        let who = caller.map_or_else(
            || "somebody whom the kernel does not name".to_owned(),
            ToString::to_string,
        );
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals
            .at
            .is_none_or(|at| at.elapsed() >= BETWEEN_REFUSALS)
        {
            let since = std::mem::take(&mut refusals.since);
            refusals.at = Some(Instant::now());
            let others = match since {
                0 => String::new(),
                more => format!(", and {more} more since the last"),
            };
            let why = format!("neither the service's user, root nor one that was allowed{others}");
            life.switched(
                Switch::new("control", who)
                    .turned("asked", "refused")
                    .because(why)
                    .weighing(Weight::Warning),
            );
        } else {
            refusals.since += 1;
        }
        answers::said(
            StatusCode::FORBIDDEN,
            "you may not ask here: only the service's user, root and those that it allows",
        )
    }

    fn index(&self, life: &Lifecycle) -> Response<Bytes> {
        let own = [
            "GET /participants",
            "POST /dump",
            "POST /grant",
            "POST /v1/participants",
            "POST /v1/sessions/SESSION",
        ];
        let paths: Vec<String> = self.desk.paths().chain(own.map(str::to_owned)).collect();
        answers::object(
            StatusCode::OK,
            &json!({ "schema": "lameduck.control/1", "pid": std::process::id(), "phase": life.phase().as_str(), "drain_id": life.drain_id(), "paths": paths }),
        )
    }

    fn dump(&self, life: &Lifecycle, caller: &Caller) -> Answering {
        let life = life.clone();
        let audited = deed(caller, "dump".to_owned());
        Answering {
            within: TO_DUMP,
            said: Box::pin(async move {
                life.switched(audited);
                let dumped = tokio::task::spawn_blocking(move || {
                    let mut text = Vec::new();
                    life.dump(&mut text).map(|()| text)
                });
                whole(match dumped.await {
                    Ok(Ok(text)) => {
                        let mut response = Response::new(Bytes::from(text));
                        let headers = response.headers_mut();
                        let kind = HeaderValue::from_static("text/plain; charset=utf-8");
                        headers.insert(CONTENT_TYPE, kind);
                        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                        response
                    }
                    Ok(Err(error)) => answers::said(StatusCode::INTERNAL_SERVER_ERROR, error),
                    Err(error) => answers::said(StatusCode::INTERNAL_SERVER_ERROR, error),
                })
            }),
            ..now(Response::new(Bytes::new()))
        }
    }

    /// More time for a participant.
    fn grant(&self, life: &Lifecycle, caller: &Caller, request: Request<Incoming>) -> Answering {
        let (life, caller, book) = (life.clone(), caller.clone(), Arc::clone(&self.book));
        Answering {
            said: Box::pin(async move {
                let body = answers::body(request.into_body(), join::MOST).await;
                let Gift { name, by } = match body.and_then(|body| Gift::read(&body)) {
                    Ok(gift) => gift,
                    Err(why) => return whole(answers::said(StatusCode::BAD_REQUEST, why)),
                };
                let phase = life.phase();
                if !phase.is_leaving() {
                    let why =
                        format!("only a service that leaves has time to give, this is {phase}");
                    return whole(answers::said(StatusCode::CONFLICT, why));
                }
                let what = format!("grant {name} {} ms", by.as_millis());
                whole(match book.grant(&name, by).await {
                    Err(error) => answers::said(StatusCode::NOT_FOUND, error),
                    Ok(None) => answers::said(
                        StatusCode::CONFLICT,
                        format!(
                            "nothing could be given to {name:?}: it has ended, got time 16 times, or has all the time that is left until the drain ends"
                        ),
                    ),
                    Ok(Some(got)) => {
                        life.switched(deed(&caller, what));
                        answers::object(
                            StatusCode::OK,
                            &json!({ "ok": true, "by_ms": u64::try_from(got.as_millis()).unwrap_or(u64::MAX), "said": given(&name, by, got) }),
                        )
                    }
                })
            }),
            ..now(Response::new(Bytes::new()))
        }
    }

    fn join(&self, life: &Lifecycle, caller: Caller, request: Request<Incoming>) -> Answering {
        let Some(place) = self.book.place() else {
            let why = format!("{MOST_SESSIONS} participants are connected already");
            let mut full = answers::said(StatusCode::SERVICE_UNAVAILABLE, why);
            full.headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from_static("5"));
            return now(full);
        };
        let joining = Arc::new(Joining::default());
        let book = Arc::clone(&self.book);
        let hold = Hold {
            book: Arc::clone(&self.book),
            joining: Arc::clone(&joining),
            _place: place,
            _epilogue: life.epilogue(),
        };
        Answering {
            held: Some(Box::new(hold)),
            said: Box::pin(async move {
                let body = answers::body(request.into_body(), join::MOST).await;
                let join = match body.and_then(|body| Join::read(&body)) {
                    Ok(join) => join,
                    Err(why) => return whole(answers::said(StatusCode::BAD_REQUEST, why)),
                };
                match book.join(caller, join) {
                    Ok((session, queue)) => {
                        joining.done(session);
                        Said {
                            response: stream(Body::Stream(Box::pin(queue))),
                            afterwards: None,
                        }
                    }
                    Err(not) => whole(answers::said(not.status, not.why)),
                }
            }),
            ..now(Response::new(Bytes::new()))
        }
    }

    fn hear(&self, life: &Lifecycle, id: String, request: Request<Incoming>) -> Answering {
        let book = Arc::clone(&self.book);
        // A last word may end the service: its answer goes first.
        let epilogue = life.epilogue();
        Answering {
            said: Box::pin(async move {
                let body = answers::body(request.into_body(), negotiation::MOST_BYTES).await;
                let message = body.and_then(|body| read(&body));
                let message = match message {
                    Ok(message) => message,
                    Err(why) => return whole(answers::said(StatusCode::BAD_REQUEST, why)),
                };
                let mut said = whole(match book.hear(&id, message) {
                    None => answers::said(
                        StatusCode::NOT_FOUND,
                        "no such session: its connection has ended; join again",
                    ),
                    // An answer that comes late or twice is no mistake.
                    Some(Err(ignored)) => answers::object(
                        StatusCode::OK,
                        &json!({ "ok": true, "taken": false, "said": ignored }),
                    ),
                    Some(Ok(())) => {
                        answers::object(StatusCode::OK, &json!({ "ok": true, "taken": true }))
                    }
                });
                said.afterwards = Some(Afterwards::new(move || drop(epilogue)));
                said
            }),
            ..now(Response::new(Bytes::new()))
        }
    }
}

/// Deeds whose asker stands nowhere else: the cause of a drain names it by itself, and what came of a breaker does.
const AUDITED: [&str; 3] = ["cut", "reload", "cancel"];

/// A message of a participant.
fn read(body: &[u8]) -> Result<FromParticipant, String> {
    let text = std::str::from_utf8(body).map_err(|_| "a message is UTF-8".to_owned())?;
    FromParticipant::parse(text.trim()).map_err(|error| error.to_string())
}

/// What a participant got, in a sentence.
fn given(name: &str, by: Duration, got: Duration) -> String {
    let (by, got) = (by.as_secs_f64(), got.as_secs_f64());
    if got < by {
        format!(
            "{name} has {got:.1} s more, of {by:.1} s: the drain ends then, or it has no budget to add to"
        )
    } else {
        format!("{name} has {got:.1} s more")
    }
}

/// Somebody did something, for the audit.
fn deed(caller: &Caller, what: String) -> Switch {
    Switch::new("control", what)
        .turned("asked", "taken")
        .because(format!("by {caller}"))
}

fn whole(response: Response<Bytes>) -> Said {
    Said {
        response: response.map(|body| Body::Whole(Some(body))),
        afterwards: None,
    }
}

fn now(response: Response<Bytes>) -> Answering {
    Answering::now(response)
}

/// A refusal that was a line of text.
fn now_text(response: Response<String>) -> Answering {
    let response = response.map(|body| Body::Whole(Some(body.into())));
    let said = Said {
        response: answers::from_text(response),
        afterwards: None,
    };
    Answering {
        said: Box::pin(ready(said)),
        ..now(Response::new(Bytes::new()))
    }
}

fn stream(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
