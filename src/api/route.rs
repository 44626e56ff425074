//! Router: maps a request's head to the operation it asks for.
//!
//! The path is checked first, then the method, the user id, the parameters and the content type;
//! the first failure is reported.

use super::problem::{Code, Field, Problem};
use super::read::{KindFilter, Read, What, millis};
use crate::http::request::{Head, Method};
use crate::http::target::{BadPair, Param, pairs, unreserved};
use crate::ledger::amount::Currency;
use crate::ledger::id::{USER_ID_BYTES, UserId};
use crate::ledger::time::{Millis, Window};

/// Routes, as the metrics name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /v1/users/{user_id}/balance`
    Balance,
    /// `GET /v1/users/{user_id}/stats`
    Stats,
    /// `POST /v1/batch`
    Batch,
    /// `POST /v1/entries`
    Entries,
    /// `GET /healthz`
    Health,
    /// `GET /readyz`
    Ready,
    /// `GET /v1/info`
    Info,
    /// Requests without a route: refused before they have one, or `OPTIONS`.
    None,
}

impl Route {
    /// Every route, in the order of the discriminants.
    pub const ALL: [Self; 8] = [
        Self::Balance,
        Self::Stats,
        Self::Batch,
        Self::Entries,
        Self::Health,
        Self::Ready,
        Self::Info,
        Self::None,
    ];

    /// The route's name in the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::Stats => "stats",
            Self::Batch => "batch",
            Self::Entries => "entries",
            Self::Health => "healthz",
            Self::Ready => "readyz",
            Self::Info => "info",
            Self::None => "none",
        }
    }
}

/// Operation that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// A read of one user.
    Read(Read<'a>),
    /// Liveness: whether the process serves.
    Health,
    /// Readiness: whether requests are accepted.
    Ready,
    /// Facts about this server.
    Info,
    /// A batch of reads; the body follows.
    Batch,
    /// A feed of entries; the body follows.
    Entries {
        /// Whether late entries are accepted.
        late_accepted: bool,
    },
    /// The methods that a path takes, or the whole server.
    Options {
        /// The value of the `allow` header.
        allow: &'static str,
    },
}

impl Operation<'_> {
    /// The route of this operation.
    pub const fn route(&self) -> Route {
        match self {
            Self::Read(Read { what: What::Balance | What::BalanceAt(_), .. }) => Route::Balance,
            Self::Read(Read { what: What::Stats { .. }, .. }) => Route::Stats,
            Self::Health => Route::Health,
            Self::Ready => Route::Ready,
            Self::Info => Route::Info,
            Self::Batch => Route::Batch,
            Self::Entries { .. } => Route::Entries,
            Self::Options { .. } => Route::None,
        }
    }
}

/// A refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Reason of the refusal.
    pub problem: Problem,
    /// A header that says what would be accepted: its name and value.
    pub header: Option<(&'static str, &'static str)>,
}

impl From<Problem> for Denied {
    fn from(problem: Problem) -> Self {
        Self { problem, header: None }
    }
}

const USERS: &str = "/v1/users/";
const READ_METHODS: &str = "GET, HEAD, OPTIONS";
const POST_METHODS: &str = "POST, OPTIONS";
const ALL_METHODS: &str = "GET, HEAD, POST, OPTIONS";
/// Media types of a feed, as the `accept` header lists them.
const NDJSON: &str = "application/x-ndjson, application/ndjson, application/jsonl";
const JSON: &str = "application/json";

/// The resource that a path names.
enum Resource<'b> {
    /// A read of the user whose id is this segment, escapes included.
    User {
        id: &'b str,
        is_stats: bool,
    },
    Entries,
    Batch,
    Health,
    Ready,
    Info,
    Server,
}

impl Resource<'_> {
    /// The methods that it takes.
    const fn allow(&self) -> &'static str {
        match self {
            Self::Entries | Self::Batch => POST_METHODS,
            Self::User { .. } | Self::Health | Self::Ready | Self::Info => READ_METHODS,
            Self::Server => ALL_METHODS,
        }
    }
}

/// Buffer for a user id with escapes.
pub type IdScratch = [u8; USER_ID_BYTES];

/// Determines what a request asks for.
#[inline]
pub fn route<'a>(head: &Head<'a>, scratch: &'a mut IdScratch) -> Result<Operation<'a>, Denied> {
    match resource(head.target.path) {
        Some(found) => {
            let user = match found {
                Resource::User { id, .. } => {
                    UserId::parse(id.as_bytes()).or_else(|| escaped_id(id, scratch))
                }
                _ => None,
            };
            ask(head, &found, user)
        }
        None => ask_unreserved(head, scratch),
    }
}

/// Looks up the path with the escapes decoded that a peer need not have used.
#[cold]
fn ask_unreserved<'a>(
    head: &Head<'a>,
    scratch: &'a mut IdScratch,
) -> Result<Operation<'a>, Denied> {
    let path = unreserved(head.target.path);
    match resource(&path) {
        Some(found) => {
            let user = match found {
                Resource::User { id, .. } => escaped_id(id, scratch),
                _ => None,
            };
            ask(head, &found, user)
        }
        None if head.method == Method::Unknown => {
            Err(Problem::from(Code::MethodNotImplemented).into())
        }
        None => Err(Problem::from(Code::NotFound).into()),
    }
}

#[inline]
fn resource(path: &str) -> Option<Resource<'_>> {
    if let Some(rest) = path.strip_prefix(USERS) {
        let (id, is_stats) = match rest.strip_suffix("/balance") {
            Some(id) => (id, false),
            None => (rest.strip_suffix("/stats")?, true),
        };
        return (!id.as_bytes().contains(&b'/')).then_some(Resource::User { id, is_stats });
    }
    Some(match path {
        "/v1/entries" => Resource::Entries,
        "/v1/batch" => Resource::Batch,
        "/healthz" => Resource::Health,
        "/readyz" => Resource::Ready,
        "/v1/info" => Resource::Info,
        "*" => Resource::Server,
        _ => return None,
    })
}

/// Determines what a request asks of the resource that its path names; `user` is the user in it.
#[inline]
fn ask<'a>(
    head: &Head<'a>,
    found: &Resource<'_>,
    user: Option<UserId<'a>>,
) -> Result<Operation<'a>, Denied> {
    match (head.method, found) {
        (Method::Get | Method::Head, Resource::User { is_stats, .. }) => {
            of_user(head, user, *is_stats)
        }
        (Method::Get | Method::Head, Resource::Health) => fixed(head, Operation::Health),
        (Method::Get | Method::Head, Resource::Ready) => fixed(head, Operation::Ready),
        (Method::Get | Method::Head, Resource::Info) => fixed(head, Operation::Info),
        (Method::Post, Resource::Entries) => entries(head),
        (Method::Post, Resource::Batch) => with_content(head, Operation::Batch, JSON),
        (Method::Unknown, _) => Err(Problem::from(Code::MethodNotImplemented).into()),
        (Method::Options, _) => Ok(Operation::Options { allow: found.allow() }),
        _ => {
            let problem = Code::MethodNotAllowed.into();
            Err(Denied { problem, header: Some(("allow", found.allow())) })
        }
    }
}

#[inline]
fn of_user<'a>(
    head: &Head<'a>,
    user: Option<UserId<'a>>,
    is_stats: bool,
) -> Result<Operation<'a>, Denied> {
    let user = user.ok_or_else(|| Problem::at(Code::InvalidParameter, "user_id"))?;
    let mut parameters = Parameters::default();
    if let Some(query) = head.target.query {
        parameters.read_query(query, is_stats)?;
    }
    let what = if is_stats {
        parameters.stats()?
    } else {
        parameters.at.map_or(What::Balance, What::BalanceAt)
    };
    Ok(Operation::Read(Read { user, currency: parameters.currency, what }))
}

#[cold]
fn escaped_id<'a>(id: &str, scratch: &'a mut IdScratch) -> Option<UserId<'a>> {
    let decoded = Param::decode(id)?;
    let text = scratch.get_mut(..decoded.len())?;
    text.copy_from_slice(&decoded);
    UserId::parse(text)
}

/// A feed, which may have the parameter `late=accept`.
fn entries(head: &Head<'_>) -> Result<Operation<'static>, Denied> {
    let mut late = None;
    for pair in pairs(head.target.query.unwrap_or_default()) {
        let (name, value) = pair.map_err(|bad| bad_pair(&bad))?;
        let is_accepted = *name == *b"late" && *value == *b"accept";
        if !is_accepted || !put(&mut late, Some(())) {
            return Err(invalid(&name).into());
        }
    }
    check_content(head, NDJSON)?;
    Ok(Operation::Entries { late_accepted: late.is_some() })
}

/// A request for one of the paths that have no parameters.
fn fixed<'a>(head: &Head<'_>, operation: Operation<'a>) -> Result<Operation<'a>, Denied> {
    let query = head.target.query.unwrap_or_default();
    match pairs(query).next() {
        None => Ok(operation),
        Some(Ok((name, _))) => Err(invalid(&name).into()),
        Some(Err(bad)) => Err(bad_pair(&bad).into()),
    }
}

/// The same for a request with content of a media type.
fn with_content<'a>(
    head: &Head<'_>,
    operation: Operation<'a>,
    media_types: &'static str,
) -> Result<Operation<'a>, Denied> {
    let operation = fixed(head, operation)?;
    check_content(head, media_types)?;
    Ok(operation)
}

/// Checks that the media type without its parameters is one of those `accepted`, and that there is
/// no content coding.
fn check_content(head: &Head<'_>, accepted: &'static str) -> Result<(), Denied> {
    let refused = |field, header| {
        let problem = Problem::at(Code::UnsupportedMediaType, field);
        Err(Denied { problem, header: Some(header) })
    };
    let essence =
        head.content_type.unwrap_or_default().split(|&b| b == b';').next().unwrap_or_default();
    let is_given = |media_type: &str| {
        essence.trim_ascii().eq_ignore_ascii_case(media_type.trim_ascii().as_bytes())
    };
    if !accepted.split(',').any(is_given) {
        return refused("content-type", ("accept", accepted));
    }
    match head.content_encoding {
        None => Ok(()),
        Some(_) => refused("content-encoding", ("accept-encoding", "identity")),
    }
}

/// Parameters of a read, checked in the order in which they come.
#[derive(Default)]
struct Parameters {
    window: Option<Window>,
    at: Option<Millis>,
    currency: Option<Currency>,
    kind: Option<KindFilter>,
}

impl Parameters {
    fn read_query(&mut self, query: &str, stats: bool) -> Result<(), Problem> {
        for pair in pairs(query) {
            let (name, value) = pair.map_err(|bad| bad_pair(&bad))?;
            if name.is_empty() || value.is_empty() {
                return Err(invalid(&name));
            }
            let taken = match &*name {
                b"currency" => put(&mut self.currency, Currency::parse(&value)),
                b"window" if stats => match (self.window, Window::parse(&value)) {
                    (None, None) => return Err(Problem::at(Code::InvalidWindow, "window")),
                    (_, parsed) => put(&mut self.window, parsed),
                },
                b"at_ms" => put(&mut self.at, millis(&value)),
                b"kind" if stats => put(&mut self.kind, KindFilter::parse(&value)),
                _ => false,
            };
            if !taken {
                return Err(invalid(&name));
            }
        }
        Ok(())
    }

    fn stats(&self) -> Result<What, Problem> {
        let window = self.window.ok_or_else(|| Problem::at(Code::InvalidWindow, "window"))?;
        if window == Window::Lifetime && self.at.is_some() {
            return Err(Problem::at(Code::InvalidParameter, "at_ms"));
        }
        Ok(What::Stats { window, at: self.at, kind: self.kind })
    }
}

/// Stores a value if it is valid and the first one; returns whether it was stored.
fn put<T>(place: &mut Option<T>, value: Option<T>) -> bool {
    let good = place.is_none() && value.is_some();
    if good {
        *place = value;
    }
    good
}

fn invalid(name: &[u8]) -> Problem {
    Problem { code: Code::InvalidParameter, field: Field::echo(name) }
}

/// The problem of a pair that cannot be decoded. It names the parameter if the fault is in the
/// value; a name that cannot be decoded is not echoed.
fn bad_pair(bad: &BadPair<'_>) -> Problem {
    Param::decode(bad.raw_name).map_or(Code::InvalidParameter.into(), |name| invalid(&name))
}
