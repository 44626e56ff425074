//! One user: balances, open holds, dedup window and counters, and how an entry changes them.
//!
//! [`User::judge`] checks an entry and changes nothing ([`super::judge`]). [`User::book`] applies
//! the judged effect and cannot fail. Rare state (open holds, many remembered ids, runs of
//! counters) is behind one pointer, so that an ordinary user is two cache lines and one packed
//! block.

use super::amount::{Currency, Direction};
use super::balance::Balance;
use super::counters::{self, BlockRun, GroupKey, Groups, Posting, Runs, RunsCopy, VisitWork};
use super::effect::{Effect, GroupChange, HoldChange};
use super::fingerprint::SeenEntry;
use super::holds::{Hold, Holds};
use super::id::{EntryId, UserId};
use super::memory::{PrefetchStep, block_bytes};
use super::names::Names;
use super::packed::{Packed, Section};
use super::recent;
use super::rows::Tally;
use super::secret::Secret;
use super::tables::Tables;
use super::texts::Texts;
use super::time::{BUCKET_MS, Bucket, GrainEdges, Millis, Range, Window, lifetime};
use super::window::{DedupWindow, Restarts};
use super::{CURRENCIES_PER_USER, GROUPS_PER_USER};
use crate::prefetch;
use smallvec::SmallVec;
use std::collections::BTreeMap;

/// End of a time range without an end, in milliseconds: after every bucket.
const END_MS: u64 = Bucket::MAX as u64 * BUCKET_MS;
/// Entries between two counts of a user's rare heap bytes, if it has many blocks: counting walks
/// all of them.
const ENTRIES_PER_COUNT: u64 = 64;

/// A user of the ledger: 128 bytes, two cache lines. Fields are in memory order; those that every
/// read needs come first.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct User {
    /// The id if it is a number, else the place of its text in those of the book.
    pub(super) number: u64,
    pub(super) version: u64,
    pub(super) as_of: Millis,
    /// In order of first use of the currencies; a currency's index never changes.
    pub(super) balances: SmallVec<[Balance; 2]>,
    pub(super) packed: Packed,
    pub(super) rare: Option<Box<RareState>>,
}

const _: () = assert!(size_of::<User>() == 128, "a user is two cache lines");

/// Rare state of a user.
#[derive(Debug, Default)]
pub(super) struct RareState {
    /// Bytes of this struct and of its heap data, as of the last count.
    pub(super) counted: usize,
    pub(super) holds: Holds,
    pub(super) restarts: Restarts,
    pub(super) recent: Option<Tables>,
    pub(super) runs: Option<Runs>,
}

/// A new user without any accepted entry, and without an id.
impl Default for User {
    fn default() -> Self {
        Self {
            number: 0,
            version: 0,
            as_of: Millis(0),
            balances: SmallVec::new(),
            packed: Packed::default(),
            rare: None,
        }
    }
}

impl User {
    /// Gives the user an id, whose text goes to `texts`.
    pub(super) fn name(&mut self, id: UserId<'_>, texts: &mut Texts) {
        (self.number, self.packed.has_text_id) = match id {
            UserId::Number(number) => (number, false),
            UserId::Text(text) => (texts.add(text), true),
        };
    }

    /// The user's id, with the texts of its book.
    #[inline]
    pub(super) fn id<'t>(&self, texts: &'t Texts) -> UserId<'t> {
        if self.packed.has_text_id {
            UserId::Text(texts.get(self.number))
        } else {
            UserId::Number(self.number)
        }
    }

    /// Whether this is the user with that id.
    #[inline]
    pub(super) fn is(&self, id: UserId<'_>, texts: &Texts) -> bool {
        match id {
            UserId::Number(number) => self.number == number && !self.packed.has_text_id,
            UserId::Text(text) => self.packed.has_text_id && texts.get(self.number) == text,
        }
    }

    /// Number of accepted entries.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// Latest booking time of the accepted entries.
    pub const fn as_of(&self) -> Millis {
        self.as_of
    }

    /// Calls `visit` with each balance, sorted by currency.
    pub fn visit_balances(&self, mut visit: impl FnMut(&Balance)) {
        match &self.balances[..] {
            [] => {}
            [one] => visit(one),
            [a, b] if a.currency < b.currency => [a, b].into_iter().for_each(visit),
            [a, b] => [b, a].into_iter().for_each(visit),
            many => {
                let mut order = [0; CURRENCIES_PER_USER];
                let order = &mut order[..many.len()];
                order.iter_mut().enumerate().for_each(|(place, n)| *n = place);
                order.sort_unstable_by_key(|&place| many[place].currency);
                order.iter().for_each(|&place| visit(&many[place]));
            }
        }
    }

    /// The balance in one currency; `None` if the user never used it.
    pub fn balance(&self, currency: Currency) -> Option<&Balance> {
        self.balances.iter().find(|b| b.currency == currency)
    }

    /// Where the dedup window begins, beside the 24 hours.
    #[inline(always)]
    pub(super) fn window_restarts(&self) -> Restarts {
        self.rare.as_ref().map_or(Restarts::default(), |rare| rare.restarts)
    }

    /// The dedup window.
    #[inline(always)]
    pub(super) fn window(&self) -> DedupWindow {
        DedupWindow::of(self.as_of, self.window_restarts())
    }

    /// The open hold with this id.
    pub(super) fn hold(&self, id: EntryId) -> Option<&Hold> {
        self.rare.as_ref().and_then(|m| m.holds.get(id))
    }

    pub(super) fn tables(&self) -> Option<&Tables> {
        self.rare.as_ref().and_then(|m| m.recent.as_ref())
    }

    /// Books a judged entry. Cannot fail. No other entry of the user may have been booked since
    /// [`Self::judge`].
    pub fn book(&mut self, names: &mut Names, effect: Effect<'_>) {
        let before = (self.version > 0).then_some(self.as_of);
        self.version += 1;
        self.as_of = self.as_of.max(effect.at);
        match self.balances.get_mut(effect.place) {
            Some(balance) => *balance = effect.balance,
            None => {
                self.balances.reserve_exact(1);
                self.balances.push(effect.balance);
            }
        }
        let (place, at) = (effect.place as u8, effect.at);
        let posting = match effect.group {
            GroupChange::None => None,
            GroupChange::Known(posting) => Some(posting),
            GroupChange::New { kind, direction, groups, amount } => {
                let key = GroupKey { currency: place, kind: names.number(kind), direction };
                Some(Posting { key, found: None, groups, lifetime: Tally::of(amount), at, amount })
            }
        };
        if let Some(posting) = posting {
            let runs = self.rare.as_mut().and_then(|m| m.runs.as_mut());
            if let Some(runs) = counters::post(&mut self.packed, &posting, self.as_of, runs) {
                self.rare.get_or_insert_default().runs = Some(runs);
            }
        }
        self.remember(effect.remembered, before, names.secret());
        match effect.hold {
            HoldChange::None => {}
            HoldChange::Open { id, kind, direction, amount, has_own_entry } => {
                let kind = names.number(kind);
                let hold = Hold { id, amount, kind, currency: place, direction, has_own_entry };
                self.rare.get_or_insert_default().holds.set(hold);
            }
            HoldChange::Set(hold) => self.rare.get_or_insert_default().holds.set(hold),
            HoldChange::Close(id) => self.rare.get_or_insert_default().holds.close(id),
        }
        if let Some(rare) = &mut self.rare
            && (rare.counted == 0
                || rare.has_few_blocks()
                || self.version.is_multiple_of(ENTRIES_PER_COUNT))
        {
            rare.count();
        }
    }

    /// Remembers the id of the entry that has just given the user its version. `before` is the
    /// latest booking time before it.
    #[inline(always)]
    fn remember(&mut self, seen: SeenEntry, before: Option<Millis>, secret: Secret) {
        if Restarts::are_due(self.version) {
            self.rare.get_or_insert_default().restarts.advance(self.as_of);
        }
        let window = self.window();
        let tables = self.rare.as_mut().and_then(|m| m.recent.as_mut());
        let mut ids = self.packed.section(Section::Ids);
        if let Some(tables) = recent::remember(&mut ids, tables, seen, before, &window, secret) {
            self.packed.shrink();
            self.rare.get_or_insert_default().recent = Some(tables);
        }
    }

    /// The exact time range of a statistics answer.
    pub fn range(&self, window: Window, at: Millis) -> Range {
        match window {
            Window::Lifetime => lifetime(self.as_of),
            Window::Last(ms) => GrainEdges::of(self.as_of).range(ms, at),
        }
    }

    /// The first instant at `at` or later at which a past balance is exact, in milliseconds.
    pub fn instant(&self, at: Millis) -> u64 {
        GrainEdges::of(self.as_of).instant(at)
    }

    /// The time range from an instant on, without an end.
    pub const fn range_from(&self, instant: u64) -> Range {
        Range { from_ms: instant, to_ms: END_MS }
    }

    /// Calls `visit` with each currency, sorted, and what was posted in it before an instant that
    /// [`Self::instant`] returned: what is posted now less the rows from the instant on. It may
    /// exceed 64 bits, because entries need not have arrived in the order of their times. Calls it
    /// with none, and returns false, if `rows` do not include all of these rows.
    pub fn visit_posted_before(
        &self,
        instant: u64,
        rows: &mut RowSource<'_>,
        mut visit: impl FnMut(Currency, i128),
    ) -> bool {
        let mut keys = [(0, Direction::Credit); GROUPS_PER_USER];
        for (group, key) in Groups::of(&self.packed).iter().zip(&mut keys) {
            *key = (usize::from(group.key.currency), group.key.direction);
        }
        let mut later = [0; CURRENCIES_PER_USER];
        let mut add = |(currency, direction): (usize, Direction), sum: i64| {
            let sum = i128::from(sum);
            later[currency] += if direction == Direction::Credit { sum } else { -sum };
        };
        let is_whole = match rows {
            RowSource::Now { bytes_left } => {
                let mut work = VisitWork { bytes_left: *bytes_left, blocks: 0 };
                let (runs, range) = (self.runs().map(Runs::runs), self.range_from(instant));
                let is_whole = counters::visit(&self.packed, runs, range, 0, &mut work, |row| {
                    add(keys[usize::from(row.group)], row.tally.sum);
                });
                *bytes_left = work.bytes_left;
                is_whole
            }
            RowSource::Visited(sums) => {
                keys.iter().zip(&sums.tallies).for_each(|(key, tally)| add(*key, tally.sum));
                sums.is_whole
            }
        };
        if !is_whole {
            return false;
        }
        self.visit_balances(|balance| {
            let place = self.balances.iter().position(|other| other.currency == balance.currency);
            let later = place.map_or(0, |place| later[place]);
            visit(balance.currency, i128::from(balance.posted) - later);
        });
        true
    }

    /// Calls `visit` with each group that has postings within `range` and matches the filters,
    /// sorted by currency, kind, direction. Calls it with none, and returns false, if `rows` do not
    /// include all rows of the range.
    pub fn visit_stats(
        &self,
        names: &Names,
        query: &StatsQuery<'_>,
        range: Range,
        rows: &mut RowSource<'_>,
        visit: impl FnMut(Stat<'_>),
    ) -> bool {
        /// Most users have few groups; the larger array takes eight kilobytes more of stack.
        const FEW: usize = 16;
        if Groups::of(&self.packed).len() <= FEW {
            self.visit_stats_in(&mut [Stat::NONE; FEW], names, query, range, rows, visit)
        } else {
            let stats = &mut [Stat::NONE; GROUPS_PER_USER];
            self.visit_stats_in(stats, names, query, range, rows, visit)
        }
    }

    fn visit_stats_in<'a>(
        &'a self,
        stats: &mut [Stat<'a>],
        names: &'a Names,
        query: &StatsQuery<'_>,
        range: Range,
        rows: &mut RowSource<'_>,
        visit: impl FnMut(Stat<'_>),
    ) -> bool {
        let mut groups = 0;
        for (group, stat) in Groups::of(&self.packed).iter().zip(stats.iter_mut()) {
            stat.currency = self.balances[usize::from(group.key.currency)].currency;
            stat.kind = names.name(group.key.kind);
            stat.direction = group.key.direction;
            if query.window == Window::Lifetime {
                stat.tally = group.lifetime;
            }
            groups += 1;
        }
        let stats = &mut stats[..groups];
        if query.window != Window::Lifetime {
            let is_whole = match rows {
                RowSource::Now { bytes_left } => {
                    let mut work = VisitWork { bytes_left: *bytes_left, blocks: 0 };
                    let runs = self.runs().map(Runs::runs);
                    let is_whole =
                        counters::visit(&self.packed, runs, range, 0, &mut work, |row| {
                            stats[usize::from(row.group)].tally.add(row.tally);
                        });
                    *bytes_left = work.bytes_left;
                    is_whole
                }
                RowSource::Visited(sums) => {
                    let tallies = stats.iter_mut().zip(&sums.tallies);
                    tallies.for_each(|(stat, tally)| stat.tally = *tally);
                    sums.is_whole
                }
            };
            if !is_whole {
                return false;
            }
        }
        stats.sort_unstable_by(|a, b| {
            (a.currency, a.kind, a.direction).cmp(&(b.currency, b.kind, b.direction))
        });
        stats.iter().filter(|s| s.tally.count > 0 && query.matches(s)).copied().for_each(visit);
        true
    }

    /// Calls `visit` with each open hold, sorted by id, and with its currency and kind.
    pub fn visit_holds(&self, names: &Names, mut visit: impl FnMut(&Hold, Currency, &str)) {
        for hold in self.rare.iter().flat_map(|rare| rare.holds.iter()) {
            let currency = self.balances[usize::from(hold.currency)].currency;
            visit(hold, currency, names.name(hold.kind));
        }
    }

    /// Calls `visit` with the figures of each group by time, as fine as they are exact: sorted by
    /// currency, kind, direction and time, each with its range. It has no bound: not for a server.
    pub fn visit_rows(&self, names: &Names, mut visit: impl FnMut(Range, &Stat<'_>)) {
        let edges = GrainEdges::of(self.as_of);
        let mut tallies = BTreeMap::<(u8, u64), Tally>::new();
        let mut work = VisitWork { bytes_left: usize::MAX, blocks: 0 };
        let (runs, kept) = (self.runs().map(Runs::runs), self.range_from(edges.days_from));
        counters::visit(&self.packed, runs, kept, 0, &mut work, |row| {
            let from_ms = edges.around(u64::from(row.bucket) * BUCKET_MS).from_ms;
            tallies.entry((row.group, from_ms)).or_insert(Tally::EMPTY).add(row.tally);
        });
        let mut stats: Vec<_> = (0..).zip(Groups::of(&self.packed).iter()).collect();
        let name = |key: GroupKey| {
            (self.balances[usize::from(key.currency)].currency, names.name(key.kind), key.direction)
        };
        stats.sort_unstable_by_key(|(_, group)| name(group.key));
        for (number, group) in stats {
            let (currency, kind, direction) = name(group.key);
            for (&(_, from_ms), &tally) in tallies.range((number, 0)..=(number, u64::MAX)) {
                visit(edges.around(from_ms), &Stat { currency, kind, direction, tally });
            }
        }
    }

    /// Adds more of the rows within `range` to `sums`, about `bytes_left` bytes of them, which is
    /// decreased. Returns whether all are added. Between the first call and the last, the user must
    /// not change: other calls may be on a [copy](UserCopy::add_rows) of it.
    pub fn add_rows(&self, range: Range, sums: &mut RowSums, bytes_left: &mut usize) -> bool {
        sums.add(&self.packed, self.runs().map(Runs::runs), range, bytes_left)
    }

    fn runs(&self) -> Option<&Runs> {
        self.rare.as_ref().and_then(|m| m.runs.as_ref())
    }

    /// Bytes that a [copy](UserCopy) takes.
    pub fn copy_bytes(&self) -> usize {
        size_of::<UserCopy>()
            + self.balances.len() * size_of::<Balance>()
            + self.packed.heap_bytes()
            + self.runs().map_or(0, Runs::heap_bytes)
    }

    /// Bytes on the heap owned by this user. Those of many blocks are as of the last count, at most
    /// 64 entries ago.
    pub fn heap_bytes(&self) -> usize {
        let spilled = if self.balances.spilled() {
            self.balances.capacity() * size_of::<Balance>()
        } else {
            0
        };
        let rare = self.rare.as_ref().map_or(0, |m| m.counted);
        spilled + self.packed.heap_bytes() + rare
    }

    /// Runs a prefetch step: requests the memory that the next step reads, up to the tables where
    /// `entry` is booked.
    #[inline]
    pub(super) fn prefetch(&self, entry: Option<EntryId>, step: PrefetchStep) {
        match step {
            PrefetchStep::Index => {}
            PrefetchStep::User => prefetch::head(self),
            PrefetchStep::Sections => {
                self.packed.prefetch();
                self.rare.as_deref().into_iter().for_each(prefetch::head);
            }
            PrefetchStep::RareState => {
                let Some(rare) = &self.rare else { return };
                if let (Some(tables), Some(entry)) = (&rare.recent, entry) {
                    tables.prefetch(entry);
                }
                if let Some(runs) = &rare.runs {
                    runs.prefetch();
                }
            }
        }
    }
}

impl RareState {
    /// Whether it has so few blocks that they are counted at every entry.
    fn has_few_blocks(&self) -> bool {
        self.runs.is_none() && self.recent.as_ref().is_none_or(|tables| tables.pieces() == 0)
    }

    pub(super) fn count(&mut self) {
        self.counted = block_bytes(size_of::<Self>())
            + self.holds.heap_bytes()
            + self.recent.as_ref().map_or(0, Tables::heap_bytes)
            + self.runs.as_ref().map_or(0, Runs::heap_bytes);
    }
}

/// How the rows of a statistics query are visited.
#[derive(Debug)]
pub enum RowSource<'s> {
    /// During the query.
    Now {
        /// Bytes of blocks of runs that may be visited; decreased by those that are.
        bytes_left: usize,
    },
    /// They were visited before it.
    Visited(&'s RowSums),
}

impl RowSource<'_> {
    /// Bytes of blocks that may still be visited; none if they were visited before.
    pub const fn bytes_left(&self) -> usize {
        match self {
            Self::Now { bytes_left } => *bytes_left,
            Self::Visited(_) => 0,
        }
    }
}

/// A copy of all of a user that reads need.
#[derive(Debug)]
pub struct UserCopy {
    /// The user without rare state.
    user: User,
    runs: Option<RunsCopy>,
}

impl UserCopy {
    /// Copies a user.
    pub fn of(user: &User) -> Self {
        let User { number, version, as_of, ref balances, ref packed, .. } = *user;
        let (balances, packed) = (balances.clone(), packed.clone());
        let copy = User { number, version, as_of, balances, packed, rare: None };
        Self { user: copy, runs: user.runs().map(RunsCopy::of) }
    }

    /// The user, without runs: their rows have to be [added](Self::add_rows) before a query.
    pub const fn user(&self) -> &User {
        &self.user
    }

    /// Like [`User::add_rows`].
    pub fn add_rows(&self, range: Range, sums: &mut RowSums, bytes_left: &mut usize) -> bool {
        let runs = self.runs.as_ref().map(RunsCopy::runs);
        sums.add(&self.user.packed, runs, range, bytes_left)
    }
}

/// Sums of a user's rows, by group, collected in steps ([`User::add_rows`]).
#[derive(Clone, Debug, Default)]
pub struct RowSums {
    tallies: Vec<Tally>,
    /// Blocks of runs that are included.
    blocks: usize,
    is_whole: bool,
}

impl RowSums {
    fn add(
        &mut self,
        packed: &Packed,
        runs: Option<[impl BlockRun; 3]>,
        range: Range,
        bytes_left: &mut usize,
    ) -> bool {
        if self.tallies.is_empty() {
            self.tallies.resize(Groups::of(packed).len(), Tally::EMPTY);
        }
        let Self { tallies, blocks, is_whole } = self;
        let mut work = VisitWork { bytes_left: *bytes_left, blocks: 0 };
        *is_whole = counters::visit(packed, runs, range, *blocks, &mut work, |row| {
            tallies[usize::from(row.group)].add(row.tally);
        });
        *bytes_left = work.bytes_left;
        *blocks += work.blocks;
        *is_whole
    }

    /// Whether no row was added.
    pub const fn is_empty(&self) -> bool {
        self.tallies.is_empty()
    }

    /// Empties the sums, for another query. Keeps the memory.
    pub fn clear(&mut self) {
        self.tallies.clear();
        (self.blocks, self.is_whole) = (0, false);
    }
}

/// A statistics query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatsQuery<'a> {
    /// Time window.
    pub window: Window,
    /// Filter by currency; `None` matches all.
    pub currency: Option<Currency>,
    /// Filter by kind; `None` matches all.
    pub kind: Option<&'a str>,
}

impl StatsQuery<'_> {
    fn matches(&self, stat: &Stat<'_>) -> bool {
        self.currency.is_none_or(|c| c == stat.currency) && self.kind.is_none_or(|k| k == stat.kind)
    }
}

/// Statistics of one group in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat<'a> {
    /// Currency of the amounts.
    pub currency: Currency,
    /// Kind.
    pub kind: &'a str,
    /// Direction.
    pub direction: Direction,
    /// Count, sum, minimum and maximum.
    pub tally: Tally,
}

impl Stat<'_> {
    const NONE: Self = Self {
        currency: Currency::NONE,
        kind: "",
        direction: Direction::Credit,
        tally: Tally::EMPTY,
    };
}
