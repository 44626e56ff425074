//! Router: maps a request's head to the operation it asks for.
//!
//! The path is checked first, then the method, the parameters and the content type; the first
//! failure is reported.

use super::problem::{Code, Field, Problem};
use super::read::{KindFilter, Read, What, millis};
use crate::http::request::{Head, Method};
use crate::http::target::{BadPair, Param, pairs};
use crate::ledger::amount::Currency;
use crate::ledger::id::UserId;
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
    /// Requests that are refused before they have a route.
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
pub enum Operation {
    /// A read of one user.
    Read(Read),
    /// Liveness: whether the process serves.
    Health,
    /// Readiness: whether requests are accepted.
    Ready,
    /// Facts about this server.
    Info,
    /// A batch of reads; the body follows.
    Batch,
    /// A feed of entries; the body follows.
    Entries,
}

impl Operation {
    /// The route of this operation.
    pub const fn route(&self) -> Route {
        match self {
            Self::Read(Read { what: What::Balance, .. }) => Route::Balance,
            Self::Read(Read { what: What::Stats { .. }, .. }) => Route::Stats,
            Self::Health => Route::Health,
            Self::Ready => Route::Ready,
            Self::Info => Route::Info,
            Self::Batch => Route::Batch,
            Self::Entries => Route::Entries,
        }
    }
}

/// A refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied {
    /// Reason of the refusal.
    pub problem: Problem,
    /// The value of the `allow` header, if the method is not allowed.
    pub allow: Option<&'static str>,
}

impl From<Problem> for Denied {
    fn from(problem: Problem) -> Self {
        Self { problem, allow: None }
    }
}

const USERS: &str = "/v1/users/";
const READ_METHODS: &str = "GET, HEAD";
const POST_METHOD: &str = "POST";

/// Determines what a request asks for.
#[inline]
pub fn route(head: &Head<'_>) -> Result<Operation, Denied> {
    if let Some(rest) = head.target.path.strip_prefix(USERS) {
        return user(head, rest);
    }
    let (ask, allow) = match head.target.path {
        "/v1/entries" => (Operation::Entries, POST_METHOD),
        "/v1/batch" => (Operation::Batch, POST_METHOD),
        "/healthz" => (Operation::Health, READ_METHODS),
        "/readyz" => (Operation::Ready, READ_METHODS),
        "/v1/info" => (Operation::Info, READ_METHODS),
        _ => return Err(Problem::from(Code::NotFound).into()),
    };
    check_method(head, allow)?;
    let query = head.target.query.unwrap_or_default();
    if let Some(pair) = pairs(query).next() {
        return Err(pair.map_or_else(|bad| bad_pair(&bad), |(name, _)| invalid(&name)).into());
    }
    match ask {
        Operation::Entries => check_content(head, b"application/x-ndjson")?,
        Operation::Batch => check_content(head, b"application/json")?,
        _ => {}
    }
    Ok(ask)
}

fn user(head: &Head<'_>, rest: &str) -> Result<Operation, Denied> {
    let (id, stats) = match (rest.strip_suffix("/balance"), rest.strip_suffix("/stats")) {
        (Some(id), _) if !id.as_bytes().contains(&b'/') => (id, false),
        (_, Some(id)) if !id.as_bytes().contains(&b'/') => (id, true),
        _ => return Err(Problem::from(Code::NotFound).into()),
    };
    check_method(head, READ_METHODS)?;
    let user = UserId::parse(id.as_bytes())
        .ok_or_else(|| Problem::at(Code::InvalidParameter, "user_id"))?;
    let mut parameters = Parameters::default();
    if let Some(query) = head.target.query {
        parameters.read_query(query, stats)?;
    }
    let what = if stats { parameters.stats()? } else { What::Balance };
    Ok(Operation::Read(Read { user, currency: parameters.currency, what }))
}

fn check_method(head: &Head<'_>, allow: &'static str) -> Result<(), Denied> {
    let fits = match head.method {
        Method::Get | Method::Head => allow == READ_METHODS,
        Method::Post => allow == POST_METHOD,
        Method::Other => false,
    };
    if fits {
        Ok(())
    } else {
        Err(Denied { problem: Code::MethodNotAllowed.into(), allow: Some(allow) })
    }
}

/// Checks that the media type without its parameters is `wanted`, and that there is no content
/// coding.
fn check_content(head: &Head<'_>, wanted: &[u8]) -> Result<(), Denied> {
    let essence =
        head.content_type.unwrap_or_default().split(|&b| b == b';').next().unwrap_or_default();
    if !essence.trim_ascii().eq_ignore_ascii_case(wanted) {
        return Err(Problem::at(Code::UnsupportedMediaType, "content-type").into());
    }
    match head.content_encoding {
        None => Ok(()),
        Some(_) => Err(Problem::at(Code::UnsupportedMediaType, "content-encoding").into()),
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
                b"at_ms" if stats => put(&mut self.at, millis(&value)),
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
