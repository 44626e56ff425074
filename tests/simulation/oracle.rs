//! Oracle of one slice: its users' accepted entries in order, and the versions that answers showed.
//!
//! It does not know logs or snapshots. A user's version is the number of their accepted entries;
//! expected verdicts and answers come from the naive model, which is fed the same lines.

use crate::model::{Model, Verdict as Judged};
use crate::users;
use purser::api::answer;
use purser::api::problem::Code;
use purser::api::read::{Read, What};
use purser::ledger::amount::Amount;
use purser::ledger::entry::{Action, EntryRef, Movement, Terms, Verdict};
use purser::ledger::id::EntryId;
use purser::ledger::time::{Millis, Window};
use purser::ledger::user::RowSource;
use purser::slice::Slice;
use std::collections::BTreeMap;

/// An entry as a client sends it.
pub type Draft = EntryRef<'static>;

/// Accepted entries and shown versions of one user.
#[derive(Debug, Default)]
pub struct History {
    /// Accepted entries, each with its log position.
    accepted: Vec<(Draft, u64)>,
    /// The highest version that any answer has shown.
    pub shown: u64,
    /// The highest version that a read has shown.
    pub read: u64,
    model: Model,
}

impl History {
    pub fn version(&self) -> u64 {
        self.accepted.len() as u64
    }

    /// The accepted entries, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Draft> {
        self.accepted.iter().map(|(draft, _)| draft)
    }

    fn version_at(&self, position: u64) -> u64 {
        self.accepted.partition_point(|&(_, of)| of <= position) as u64
    }

    /// Drops the entries above `version`, which a crash lost.
    fn cut(&mut self, version: u64, now_ms: u64) {
        if version == self.version() {
            return;
        }
        self.accepted.truncate(version as usize);
        self.model = Model::default();
        for (draft, _) in &self.accepted {
            let judged = self.model.apply_line(now_ms, draft.late_accepted, &line(draft));
            assert_eq!(judged, Judged::Accepted, "accepted entries are accepted again");
        }
    }
}

/// All users of a slice.
#[derive(Debug, Default)]
pub struct Oracle {
    pub users: BTreeMap<u64, History>,
}

impl Oracle {
    /// Compares a verdict with the model's and records an accepted entry with its `position`.
    pub fn judge(
        &mut self,
        now_ms: u64,
        draft: &Draft,
        verdict: Verdict,
        position: u64,
    ) -> Result<(), String> {
        let history = self.users.entry(users::of(draft.user)).or_default();
        let judged = history.model.apply_line(now_ms, draft.late_accepted, &line(draft));
        let (got, expected) = (verdict_name(verdict), judged_name(&judged));
        if got != expected {
            return Err(format!("{draft:?}: {got}, and the model says {expected}"));
        }
        if verdict == Verdict::Accepted {
            history.accepted.push((*draft, position));
        }
        Ok(())
    }

    /// Checks that a slice recovered up to `position` has exactly the entries accepted up to it.
    pub fn check(&self, slice: &Slice, position: u64, now_ms: u64) -> Result<(), String> {
        let (mut users, mut entries) = (0, 0);
        for (&user, history) in &self.users {
            let version = history.version_at(position);
            let got = version_of(slice, user);
            if got != version {
                return Err(format!(
                    "user {user}: version {got}, and {version} entries were accepted up to write \
                     {position}"
                ));
            }
            users += usize::from(version > 0);
            entries += version;
            if version == history.version() {
                compare(slice, user, &history.model, now_ms)?;
            } else {
                let mut other = Self::default();
                let kept = History { accepted: history.accepted.clone(), ..History::default() };
                let kept = other.users.entry(user).or_insert(kept);
                kept.cut(version, now_ms);
                compare(slice, user, &kept.model, now_ms)?;
            }
        }
        let got = (slice.book().users(), slice.book().entries());
        if got != (users, entries) {
            return Err(format!(
                "{got:?} users and entries, and {:?} were accepted",
                (users, entries)
            ));
        }
        Ok(())
    }

    /// Drops the entries above `position`, which a crash lost. `Err` if an answer had shown one of
    /// them. Returns the number of lost entries.
    pub fn cut(&mut self, position: u64, now_ms: u64) -> Result<u64, String> {
        let mut lost = 0;
        for (user, history) in &mut self.users {
            let version = history.version_at(position);
            if version < history.shown {
                return Err(format!(
                    "user {user}: version {} was shown, and {version} is left",
                    history.shown
                ));
            }
            lost += history.version() - version;
            history.cut(version, now_ms);
        }
        Ok(lost)
    }

    /// Compares one user with the model.
    pub fn compare(&self, slice: &Slice, user: u64, now_ms: u64) -> Result<(), String> {
        let history = self.users.get(&user).filter(|history| history.version() > 0);
        match history {
            Some(history) => compare(slice, user, &history.model, now_ms),
            None if version_of(slice, user) == 0 => Ok(()),
            None => Err(format!("user {user} was never there")),
        }
    }
}

/// The version of a user; 0 if there is none.
pub fn version_of(slice: &Slice, user: u64) -> u64 {
    slice.view(users::id(user)).1.map_or(0, |view| view.user.version())
}

/// Compares balances and statistics of the lifetime and of the last day, byte for byte.
fn compare(slice: &Slice, user: u64, model: &Model, now_ms: u64) -> Result<(), String> {
    let day = 24 * 3_600_000;
    let yesterday = now_ms.saturating_sub(day);
    let stats = |window| What::Stats { window, at: None, kind: None };
    for (what, target) in [
        (What::Balance, "balance".to_owned()),
        (stats(Window::Lifetime), "stats?window=lifetime".to_owned()),
        (stats(Window::Last(day)), "stats?window=1d".to_owned()),
        (What::BalanceAt(Millis(yesterday)), format!("balance?at_ms={yesterday}")),
    ] {
        let read = Read { user: users::id(user), currency: None, what };
        let mut got = Vec::new();
        if let (_, Some(view)) = slice.view(users::id(user)) {
            let rows = &mut RowSource::Now { bytes_left: usize::MAX };
            answer::write(&mut got, view, &read, Millis(now_ms), rows);
        }
        let reply = model.get(now_ms, &format!("/v1/users/{}/{target}", users::name(user)));
        let expected = if reply.status == 200 { reply.body } else { String::new() };
        if got != expected.as_bytes() {
            return Err(format!(
                "user {user}, {target}: {}\n  and the model says {expected}",
                String::from_utf8_lossy(&got)
            ));
        }
    }
    Ok(())
}

fn verdict_name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accepted => "accepted",
        Verdict::Duplicate => "duplicate",
        Verdict::Rejected(reason) => Code::from(reason).name(),
    }
}

fn judged_name(judged: &Judged) -> &'static str {
    match judged {
        Judged::Accepted => "accepted",
        Judged::Duplicate { .. } => "duplicate",
        Judged::Rejected { code, .. } => code.name(),
    }
}

/// An entry as a feed line.
fn line(draft: &Draft) -> Vec<u8> {
    let EntryRef { id, user, at, action, .. } = draft;
    let head = format!(r#"{{"entry_id":"{}","user_id":"{user}","at_ms":{}"#, id.0, at.0);
    let own = |terms: &Terms<'_>| {
        let currency = String::from_utf8_lossy(terms.currency.as_bytes()).into_owned();
        let (kind, direction) = (terms.kind, terms.direction.name());
        format!(r#","currency":"{currency}","kind":"{kind}","direction":"{direction}""#)
    };
    let movement = |movement: &Movement<'_>| {
        let &Movement { currency, kind, direction, amount } = movement;
        own(&Terms { currency, kind, direction }) + &format!(r#","amount":{}"#, amount.minor())
    };
    let on_hold = |hold: &EntryId, terms: &Option<Terms<'_>>, amount: Option<&Amount>| {
        let amount = amount.map(|amount| format!(r#","amount":{}"#, amount.minor()));
        let own = terms.as_ref().map(own).unwrap_or_default();
        format!(r#"{own},"pending_id":"{}"{}"#, hold.0, amount.unwrap_or_default())
    };
    let rest = match action {
        Action::Post(posted) => movement(posted),
        Action::Hold(held) => movement(held) + r#","state":"pending""#,
        Action::Grow { hold, terms, amount } => {
            on_hold(hold, terms, Some(amount)) + r#","state":"pending""#
        }
        Action::Settle { hold, terms, amount, is_final } => {
            on_hold(hold, terms, Some(amount)) + &format!(r#","final":{is_final}"#)
        }
        Action::Void { hold, terms, amount } => {
            on_hold(hold, terms, amount.as_ref()) + r#","state":"voided""#
        }
    };
    format!("{head}{rest}}}").into_bytes()
}
