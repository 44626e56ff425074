//! User image: the serialized form of one user in a snapshot.
//!
//! ```text
//! user     = image | piece …                 two or more pieces, or none
//! image    = length of the rest, plus 2³¹ if pieces follow and 2³⁰ if the id is a text: u32 LE
//!          | id: u64 LE, or length: u8 | text
//!          | version: varint | as_of: varint, in milliseconds
//!          | balances | groups | rows | holds | restarts
//!          | ids, up to the image's end; or the number of pieces: u32 LE
//! piece    = count: u32 LE | ids             those of one table: super::tables
//! balances = count: u8 | balance …           currencies in order of first use
//! balance  = currency: 8 bytes, zero-padded | posted: varint of posted << 1 ^ posted >> 63
//!          | pending debits: varint | pending credits: varint
//! groups   = bytes: varint | group …         as in memory: super::counters::Groups
//! rows     = 0: u8 | block, or a length of 0 if there are no rows
//!          | 1: u8 | buckets: run | hours: run | days: run
//! run      = count: varint | block …
//! block    = bytes: varint | base, tail, row …     as in memory: super::rows
//! holds    = count: varint | hold …          sorted by id
//! hold     = own entry << 7 | currency's index << 1 | direction: u8, after the id: u128 LE
//!          | kind: varint | amount: varint
//! restarts = last: varint | next: varint     in milliseconds: super::window
//!                                            nothing if the version is below 524,288
//! ids      = id …                            sorted as u128 LE
//! id       = fields: u32 LE | low half of the latest booking time: u32 LE | id: u64 LE
//!                                            as in memory: super::fingerprint
//! ```
//!
//! A varint is LEB128 in its shortest form. A kind is its number in the slice. A direction is 0 for
//! credit and 1 for debit. This is an on-disk format and never changes.
//!
//! An image that pieces follow is a *head*. Pieces belong to a user with more remembered ids than
//! one table holds. The head and each piece are stored and loaded in steps of their own, so that no
//! step takes long ([`User::store_head`],
//! [`Book::begin_storing`](super::book::Book::begin_storing), [`User::load_head`]).
//!
//! Without pieces the stored form is canonical: users that have accepted the same entries are
//! stored as the same bytes, whenever they were loaded. How ids are distributed over pieces depends
//! on the secret of the process. The stored form has only the ids that are still remembered, and
//! nothing that can be recomputed.
//!
//! [`User::load`] takes untrusted bytes and rejects every image that breaks an invariant of the
//! ledger ([`Malformed`] names it), so a loaded user can be queried, judged, booked and stored.
//! It does not prove that the figures are the right ones; the snapshot's checksums do.

use super::CURRENCIES_PER_USER;
use super::amount::{Currency, Direction};
use super::balance::Balance;
use super::counters::{self, GroupCheck, GroupChecks};
pub use super::cursor::Malformed;
use super::cursor::{Cursor, put};
use super::fingerprint::SEEN_ENTRY_BYTES;
use super::holds::Holds;
use super::id::UserId;
use super::names::{KindNumbering, Names};
use super::packed::{Packed, Section};
use super::recent;
use super::secret::Secret;
use super::tables::{COUNT_BYTES, MAX_PIECE_BYTES, Tables};
use super::time::Millis;
use super::user::{RareState, User};
use super::window::{DedupWindow, Restarts};
use smallvec::SmallVec;

/// Bytes of the length prefix of a user.
const LENGTH_BYTES: usize = size_of::<u32>();
/// Flag in the length prefix: pieces follow the image.
const HAS_PIECES: u32 = 1 << 31;
/// Flag in the length prefix: the id is a text.
const HAS_TEXT_ID: u32 = 1 << 30;
/// Upper bound of an image or a piece, in bytes. The groups, holds and rows of an image take less,
/// even with the longest integers everywhere.
pub const MAX_PART_BYTES: usize = 16 << 20;
const _: () = assert!(MAX_PIECE_BYTES <= MAX_PART_BYTES, "a piece is smaller than an image may be");
/// Upper bound of versions and entry counts: out of reach in practice, and low enough that adding
/// to it cannot overflow.
pub(super) const LAST_VERSION: u64 = i64::MAX as u64;

/// A user that was loaded, and its id.
#[derive(Debug)]
pub struct Loaded<'a> {
    /// The user, who has no id yet.
    pub user: User,
    /// The id.
    pub id: UserId<'a>,
}

impl User {
    /// Appends the stored form of a user with at least one accepted entry: the image and its
    /// pieces. Without pieces, it allocates nothing but `out`.
    pub fn store(&self, id: UserId<'_>, out: &mut Vec<u8>) {
        self.store_head(id, out);
        (0..self.pieces()).for_each(|piece| self.store_piece(piece, out));
    }

    /// Appends the image of a user with at least one accepted entry. Its pieces are to follow.
    pub fn store_head(&self, id: UserId<'_>, out: &mut Vec<u8>) {
        self.store_parts(id, &mut KindNumbering::SameSlice, out);
    }

    /// Appends the image with the kind numbers of another slice. `own` has the names of the user's
    /// slice; `other` those of the other slice, and gets the kinds that it lacks. Only kind numbers
    /// and their lengths differ from [`Self::store_head`]: groups keep their order, because rows
    /// refer to them by number, and holds are sorted by id. Pieces have no kinds.
    pub fn store_head_for(
        &self,
        id: UserId<'_>,
        own: &Names,
        other: &mut Names,
        out: &mut Vec<u8>,
    ) {
        self.store_parts(id, &mut KindNumbering::OtherSlice { own, other }, out);
    }

    /// Number of pieces that follow the image.
    pub fn pieces(&self) -> usize {
        self.tables().map_or(0, Tables::pieces)
    }

    /// Appends a piece, numbered from zero.
    pub fn store_piece(&self, piece: usize, out: &mut Vec<u8>) {
        let tables = self.tables().expect("a user with pieces has tables");
        tables.store(piece, &self.window(), out);
    }

    /// Freezes the remembered ids of a user with pieces, to be stored while entries are booked.
    pub(super) fn freeze(&mut self) {
        let window = self.window();
        self.tables_mut().freeze(window);
    }

    /// Appends the next piece of the frozen state. Returns the number of table cells that were
    /// visited.
    pub(super) fn store_next_piece(&mut self, out: &mut Vec<u8>) -> usize {
        self.tables_mut().store_next(out)
    }

    /// Ends what [`Self::freeze`] began, also before all pieces are stored.
    pub(super) fn thaw(&mut self) {
        self.tables_mut().thaw();
        self.rare.as_mut().into_iter().for_each(|rare| rare.count());
    }

    fn tables_mut(&mut self) -> &mut Tables {
        let tables = self.rare.as_mut().and_then(|rare| rare.recent.as_mut());
        tables.expect("a user with pieces has tables")
    }

    /// Appends a form of the user, without the id, that is the same for all users of a slice who
    /// have accepted the same entries: all remembered ids, sorted, instead of pieces. It cannot be
    /// loaded.
    pub fn write_canonical(&self, out: &mut Vec<u8>) {
        self.write_canonical_with(&mut KindNumbering::SameSlice, out);
    }

    /// The same with the kind numbers of another slice: see [`Self::store_head_for`].
    pub fn write_canonical_for(&self, own: &Names, other: &mut Names, out: &mut Vec<u8>) {
        self.write_canonical_with(&mut KindNumbering::OtherSlice { own, other }, out);
    }

    fn write_canonical_with(&self, numbers: &mut KindNumbering<'_>, out: &mut Vec<u8>) {
        self.store_but_ids(numbers, out);
        let start = out.len();
        recent::store(self.packed.get(Section::Ids), self.tables(), &self.window(), out);
        for piece in 0..self.pieces() {
            let counted = out.len();
            self.store_piece(piece, out);
            out.drain(counted..counted + COUNT_BYTES);
        }
        let (ids, _) = out[start..].as_chunks_mut::<SEEN_ENTRY_BYTES>();
        ids.sort_unstable_by_key(|&id| u128::from_le_bytes(id));
    }

    #[inline]
    fn store_parts(&self, id: UserId<'_>, numbers: &mut KindNumbering<'_>, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        match id {
            UserId::Number(number) => out.extend_from_slice(&number.to_le_bytes()),
            UserId::Text(text) => {
                out.push(text.len() as u8);
                out.extend_from_slice(text);
            }
        }
        self.store_but_ids(numbers, out);
        let pieces = self.pieces();
        if pieces > 0 {
            out.extend_from_slice(&(pieces as u32).to_le_bytes());
        } else {
            recent::store(self.packed.get(Section::Ids), self.tables(), &self.window(), out);
        }
        let len = out.len() - start - LENGTH_BYTES;
        assert!(len < MAX_PART_BYTES, "the limits of a user keep its image below the bound");
        let flags = if pieces > 0 { HAS_PIECES } else { 0 }
            | if matches!(id, UserId::Text(_)) { HAS_TEXT_ID } else { 0 };
        out[start..start + LENGTH_BYTES].copy_from_slice(&(len as u32 | flags).to_le_bytes());
    }

    #[inline]
    fn store_but_ids(&self, numbers: &mut KindNumbering<'_>, out: &mut Vec<u8>) {
        put(out, self.version);
        put(out, self.as_of.0);
        out.push(self.balances.len() as u8);
        for balance in &self.balances {
            out.extend_from_slice(balance.currency.padded());
            put(out, (balance.posted << 1 ^ balance.posted >> 63).cast_unsigned());
            put(out, balance.pending_debits.cast_unsigned());
            put(out, balance.pending_credits.cast_unsigned());
        }
        let rare = self.rare.as_deref();
        counters::store(&self.packed, rare.and_then(|m| m.runs.as_ref()), numbers, out);
        match rare {
            Some(rare) => rare.holds.store(numbers, out),
            None => put(out, 0),
        }
        self.window_restarts().store(self.version, out);
    }

    /// Loads and validates the user at the start of `bytes`, with its pieces, for a slice with
    /// `kinds` kinds. Returns the user and the length of its stored form.
    pub fn load(
        bytes: &[u8],
        kinds: u32,
        secret: Secret,
    ) -> Result<(Loaded<'_>, usize), Malformed> {
        let (mut loaded, mut used, pieces) = Self::load_head(bytes, kinds, secret)?;
        for piece in 0..pieces {
            used += loaded.user.load_piece((piece, pieces), &bytes[used..])?;
        }
        Ok((loaded, used))
    }

    /// Loads and validates the image at the start of `bytes`, for a slice with `kinds` kinds.
    /// Returns the user, the length of the image and the number of pieces, which are then to be
    /// loaded in order.
    pub fn load_head(
        bytes: &[u8],
        kinds: u32,
        secret: Secret,
    ) -> Result<(Loaded<'_>, usize, u32), Malformed> {
        let mut cursor = Cursor::new(bytes);
        let prefix = u32::from_le_bytes(cursor.array()?);
        let len = (prefix & !(HAS_PIECES | HAS_TEXT_ID)) as usize;
        let mut image = Cursor::new(cursor.take(len)?);
        let (loaded, pieces) = Self::load_parts(&mut image, prefix, kinds, secret)?;
        Ok((loaded, cursor.at(), pieces))
    }

    /// Loads and validates the piece at the start of `bytes`: its number, from zero, of so many.
    /// Returns its length.
    pub fn load_piece(
        &mut self,
        (piece, pieces): (u32, u32),
        bytes: &[u8],
    ) -> Result<usize, Malformed> {
        let (window, version) = (self.window(), self.version);
        let tables = self.tables_mut();
        let used = tables.load(bytes, &window)?;
        if piece + 1 == pieces {
            check_ids_by_version(tables.len(), version)?;
            self.rare.as_mut().into_iter().for_each(|rare| rare.count());
        }
        Ok(used)
    }

    #[inline]
    fn load_parts<'a>(
        cursor: &mut Cursor<'a>,
        prefix: u32,
        kinds: u32,
        secret: Secret,
    ) -> Result<(Loaded<'a>, u32), Malformed> {
        let has_pieces = prefix & HAS_PIECES != 0;
        let id = if prefix & HAS_TEXT_ID == 0 {
            UserId::Number(u64::from_le_bytes(cursor.array()?))
        } else {
            let len = usize::from(cursor.byte()?);
            let id = UserId::stored_text(cursor.take(len)?);
            id.ok_or(Malformed("a text id has the form of one"))?
        };
        let version = cursor.varint()?;
        Malformed::unless(
            (1..=LAST_VERSION).contains(&version),
            "a version lies between 1 and 2^63 - 1",
        )?;
        let as_of = Millis::new(cursor.varint()?)
            .ok_or(Malformed("the latest entry lies before the year 10000"))?;
        let balances = load_balances(cursor)?;
        let mut accounts = GroupChecks::new();
        let counters::Loaded { groups, rows, runs } =
            counters::load(cursor, balances.len(), kinds, as_of, &mut accounts)?;
        let holds = Holds::load(cursor, balances.len(), kinds)?;
        check_money(&balances, &accounts, &holds)?;
        let restarts = Restarts::load(cursor, version, as_of)?;
        let (ids, pieces) = if has_pieces {
            (&[][..], u32::from_le_bytes(cursor.array()?))
        } else {
            (cursor.rest(), 0)
        };
        Malformed::unless(cursor.is_at_end(), "the number of pieces ends an image")?;
        Malformed::unless(!has_pieces || pieces > 1, "a user has several pieces or none")?;
        let (listed, mut tables) = recent::load(ids, &DedupWindow::of(as_of, restarts), secret)?;
        if has_pieces {
            tables = Some(Tables::new(secret));
        }
        check_version(version, &accounts, &holds, ids)?;
        let has_rare = !holds.is_empty()
            || tables.is_some()
            || runs.is_some()
            || restarts != Restarts::default();
        let rare = has_rare.then(|| {
            let mut rare =
                Box::new(RareState { counted: 0, holds, restarts, recent: tables, runs });
            rare.count();
            rare
        });
        let packed = Packed::new([groups, listed, rows]);
        let user = Self { number: 0, version, as_of, balances, packed, rare };
        Ok((Loaded { user, id }, pieces))
    }
}

fn load_balances(cursor: &mut Cursor<'_>) -> Result<SmallVec<[Balance; 2]>, Malformed> {
    let count = usize::from(cursor.byte()?);
    Malformed::unless((1..=CURRENCIES_PER_USER).contains(&count), "a user has 1 to 16 currencies")?;
    let mut balances = SmallVec::new();
    balances.reserve_exact(count);
    for _ in 0..count {
        let currency = Currency::from_padded(cursor.array()?)
            .ok_or(Malformed("a currency has the form of one"))?;
        let differs = balances.iter().all(|other: &Balance| other.currency != currency);
        Malformed::unless(differs, "a user's currencies differ")?;
        let posted = cursor.varint()?;
        let posted = (posted >> 1).cast_signed() ^ -(posted & 1).cast_signed();
        let balance = Balance {
            currency,
            posted,
            pending_debits: cursor.amount()?,
            pending_credits: cursor.amount()?,
        };
        balances.push(balance.checked().ok_or(Malformed("an available amount fits 64 bits"))?);
    }
    Ok(balances)
}

/// Checks that balances equal the sums of their groups and of their holds.
fn check_money(
    balances: &[Balance],
    accounts: &[GroupCheck],
    holds: &Holds,
) -> Result<(), Malformed> {
    let mut held = [[0i128; 2]; CURRENCIES_PER_USER];
    for hold in holds.iter() {
        held[usize::from(hold.currency)][hold.direction as usize] += i128::from(hold.amount);
    }
    for ((balance, place), held) in balances.iter().zip(0u8..).zip(held) {
        let posted: i128 =
            accounts.iter().filter(|a| a.key.currency == place).map(GroupCheck::posted).sum();
        Malformed::unless(
            i128::from(balance.posted) == posted,
            "a balance equals the sum of its groups",
        )?;
        let held = |direction: Direction| held[direction as usize];
        let pending = i128::from(balance.pending_credits) == held(Direction::Credit)
            && i128::from(balance.pending_debits) == held(Direction::Debit);
        Malformed::unless(pending, "pending amounts equal the sums of the open holds")?;
    }
    Ok(())
}

/// Checks that the version covers all that is booked: each accepted entry raised it by one, posted
/// at most once and opened at most one hold.
fn check_version(
    version: u64,
    accounts: &[GroupCheck],
    holds: &Holds,
    ids: &[u8],
) -> Result<(), Malformed> {
    let booked =
        accounts.iter().try_fold(holds.len() as u64, |sum, a| sum.checked_add(a.lifetime.count));
    let counted = booked.is_some_and(|booked| booked <= version);
    Malformed::unless(counted, "postings and holds are at most the accepted entries")?;
    check_ids_by_version(ids.len() / SEEN_ENTRY_BYTES, version)
}

fn check_ids_by_version(ids: usize, version: u64) -> Result<(), Malformed> {
    Malformed::unless(ids as u64 <= version, "remembered ids are at most the accepted entries")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::amount::Amount;
    use crate::ledger::book::Book;
    use crate::ledger::entry::{Action, EntryRef, Movement, Verdict};
    use crate::ledger::id::EntryId;
    use crate::ledger::time::{BUCKET_MS, HOUR_MS, Window};
    use crate::ledger::user::{RowSource, StatsQuery};

    const DAY_MS: u64 = 24 * HOUR_MS;
    const START: u64 = 20_000 * DAY_MS;
    const USER: UserId<'_> = UserId::Number(77);
    const TEXT_USER: UserId<'_> = UserId::Text(b"users:77@example.com");
    const SECRET: Secret = Secret::of([1, 2]);

    /// Shape of a random user's entries.
    #[derive(Clone, Copy, Debug)]
    struct Profile {
        seed: u64,
        entries: usize,
        /// Maximum time between two entries. With `leaps`, one entry in 64 adds up to 30 days.
        step_ms: u64,
        leaps: bool,
        kinds: u64,
        currencies: u64,
        /// Percentage of entries that open a hold.
        holds: u64,
    }

    const PROFILES: [Profile; 9] = [
        Profile {
            seed: 1,
            entries: 1,
            step_ms: HOUR_MS,
            leaps: false,
            kinds: 1,
            currencies: 1,
            holds: 0,
        },
        Profile {
            seed: 2,
            entries: 12,
            step_ms: 4 * DAY_MS,
            leaps: false,
            kinds: 3,
            currencies: 2,
            holds: 10,
        },
        Profile {
            seed: 3,
            entries: 16,
            step_ms: HOUR_MS,
            leaps: false,
            kinds: 3,
            currencies: 2,
            holds: 10,
        },
        Profile {
            seed: 4,
            entries: 60,
            step_ms: HOUR_MS / 4,
            leaps: false,
            kinds: 5,
            currencies: 3,
            holds: 30,
        },
        Profile {
            seed: 5,
            entries: 400,
            step_ms: 6 * HOUR_MS,
            leaps: true,
            kinds: 2,
            currencies: 1,
            holds: 5,
        },
        Profile {
            seed: 6,
            entries: 900,
            step_ms: 60_000,
            leaps: true,
            kinds: 20,
            currencies: 16,
            holds: 40,
        },
        Profile {
            seed: 7,
            entries: 3_000,
            step_ms: 3 * HOUR_MS,
            leaps: true,
            kinds: 4,
            currencies: 3,
            holds: 10,
        },
        Profile {
            seed: 8,
            entries: 6_000,
            step_ms: 20_000,
            leaps: false,
            kinds: 4,
            currencies: 2,
            holds: 2,
        },
        Profile {
            seed: 9,
            entries: 9_000,
            step_ms: 20_000,
            leaps: true,
            kinds: 12,
            currencies: 4,
            holds: 20,
        },
    ];

    struct Feed {
        profile: Profile,
        state: u64,
        at: u64,
        kinds: Vec<String>,
        sent: Vec<(u128, u64)>,
    }

    impl Feed {
        fn new(profile: Profile) -> Self {
            let kinds = (0..profile.kinds).map(|n| format!("kind_{n}")).collect();
            Self { profile, state: profile.seed, at: START, kinds, sent: Vec::new() }
        }

        fn draw(&mut self, below: u64) -> u64 {
            self.state = UserId::Number(self.state).hash();
            (self.state >> 8) % below
        }

        fn next(&mut self) -> (u128, u64, [u64; 6]) {
            self.at += self.draw(self.profile.step_ms);
            if self.profile.leaps && self.draw(64) == 0 {
                self.at += self.draw(30 * DAY_MS);
            }
            let late = if self.draw(8) == 0 { self.draw(25 * HOUR_MS) } else { 0 };
            let id = match self.draw(20) {
                0 if !self.sent.is_empty() => {
                    let again = self.draw(self.sent.len() as u64);
                    self.sent[again as usize].0
                }
                _ => u128::from(UserId::Number(self.state).hash()) << 64 | u128::from(self.state),
            };
            let held = self.sent.len().saturating_sub(1 + self.draw(300) as usize);
            let draws = [100, self.profile.currencies, self.profile.kinds, 2, 1 << 55, 63]
                .map(|n| self.draw(n));
            self.sent.push((id, held as u64));
            (id, self.at - late, draws)
        }

        /// Applies the next entry to every book and checks that all verdicts agree.
        fn apply_to(&mut self, books: &mut [&mut Book]) -> Verdict {
            let (id, at, [what, currency, kind, direction, amount, shift]) = self.next();
            let currency = Currency::parse(format!("CUR{currency}").as_bytes()).unwrap();
            let direction = if direction == 0 { Direction::Credit } else { Direction::Debit };
            let amount = Amount::new(amount.cast_signed() << 8 >> shift).unwrap();
            let movement =
                Movement { currency, kind: &self.kinds[kind as usize], direction, amount };
            let hold = EntryId(self.sent[self.sent.last().unwrap().1 as usize].0);
            let action = match what {
                what if what < self.profile.holds => Action::Hold(movement),
                what if what < self.profile.holds * 3 / 2 => {
                    let amount = Amount::new(0).unwrap();
                    Action::Settle { hold, terms: None, amount, is_final: true }
                }
                what if what < self.profile.holds * 2 => {
                    Action::Void { hold, terms: None, amount: None }
                }
                _ => Action::Post(movement),
            };
            let entry = EntryRef {
                id: EntryId(id),
                user: if self.profile.seed.is_multiple_of(2) { TEXT_USER } else { USER },
                at: Millis(at),
                late_accepted: false,
                action,
            };
            let verdicts: Vec<_> =
                books.iter_mut().map(|book| book.apply(Millis(self.at), &entry).1).collect();
            assert!(
                verdicts.windows(2).all(|pair| pair[0] == pair[1]),
                "{:?}: {verdicts:?}",
                self.profile
            );
            verdicts[0]
        }
    }

    /// The id of the only user of a test's book.
    fn id_of(user: &User) -> UserId<'static> {
        if user.packed.has_text_id { TEXT_USER } else { USER }
    }

    fn user(book: &Book) -> &User {
        book.user(book.find(USER).or_else(|| book.find(TEXT_USER)).unwrap())
    }

    fn image(user: &User) -> Vec<u8> {
        image_as(id_of(user), user)
    }

    fn image_as(id: UserId<'_>, user: &User) -> Vec<u8> {
        let mut out = vec![0xaa; 3];
        user.store(id, &mut out);
        out.split_off(3)
    }

    fn canonical(user: &User) -> Vec<u8> {
        let mut out = Vec::new();
        user.write_canonical(&mut out);
        out
    }

    /// A book with the one user, loaded from its image.
    fn restored(book: &Book) -> Book {
        let mut other = Book::new(usize::MAX, SECRET);
        book.names().iter().for_each(|name| assert!(other.add_kind(name).is_ok()));
        let mut bytes = image(user(book));
        let len = bytes.len();
        bytes.extend_from_slice(b"the next user");
        let (user, used) = User::load(&bytes, book.names().len() as u32, SECRET).unwrap();
        assert_eq!(used, len);
        let slot = other.restore(user).unwrap();
        other.index(slot).unwrap();
        other
    }

    /// All answers that a user can give: balances, and statistics over many windows.
    fn answers(user: &User, names: &Names) -> Vec<String> {
        let mut answers = vec![format!("{} {:?}", user.version(), user.as_of())];
        user.visit_balances(|balance| answers.push(format!("{balance:?} {}", balance.available())));
        let windows = [15, 60, 24 * 60, 30 * 60, 8 * 24 * 60, 100 * 24 * 60, 400 * 24 * 60];
        for window in windows
            .map(|minutes| Window::Last(minutes * 60_000))
            .into_iter()
            .chain([Window::Lifetime])
        {
            for back in [0, HOUR_MS, 23 * HOUR_MS, 3 * DAY_MS, 50 * DAY_MS] {
                let at = Millis(user.as_of().0.saturating_sub(back));
                let range = user.range(window, at);
                let query = StatsQuery { window, currency: None, kind: None };
                let rows = &mut RowSource::Now { bytes_left: usize::MAX };
                user.visit_stats(names, &query, range, rows, |stat| {
                    answers.push(format!("{window:?} {range:?} {stat:?}"));
                });
            }
        }
        answers
    }

    /// The book of a user of this profile, and the feed to continue with.
    fn grown(profile: Profile) -> (Book, Feed) {
        let (mut book, mut feed) = (Book::new(usize::MAX, SECRET), Feed::new(profile));
        while feed.sent.len() < profile.entries {
            feed.apply_to(&mut [&mut book]);
        }
        (book, feed)
    }

    #[test]
    fn a_loaded_user_equals_the_stored_user() {
        for profile in PROFILES {
            for seed in 0..4 {
                let profile = Profile { seed: profile.seed + 100 * seed, ..profile };
                let (mut book, mut feed) = grown(profile);
                let mut other = restored(&book);
                assert_eq!(canonical(user(&book)), canonical(user(&other)), "{profile:?}");
                assert_eq!(other.entries(), book.entries(), "{profile:?}");
                for _ in 0..1_000 {
                    feed.apply_to(&mut [&mut book, &mut other]);
                }
                assert_eq!(canonical(user(&book)), canonical(user(&other)), "{profile:?}");
                assert_eq!(
                    answers(user(&book), book.names()),
                    answers(user(&other), other.names()),
                    "{profile:?}"
                );
                let (own, loaded) = (user(&book).heap_bytes(), user(&other).heap_bytes());
                assert!(
                    loaded.abs_diff(own) <= own / 2 + 256,
                    "{profile:?}: {own} and {loaded} bytes"
                );
                assert_eq!(other.entries(), book.entries(), "{profile:?}");
            }
        }
    }

    /// Appends the stored form with the kind numbers of another slice.
    fn store_for(user: &User, own: &Names, other: &mut Names, out: &mut Vec<u8>) {
        user.store_head_for(id_of(user), own, other, out);
        (0..user.pieces()).for_each(|piece| user.store_piece(piece, out));
    }

    /// A book with the one user, moved to a slice with other kind numbers. The slice knows the
    /// first `known` kinds of `order`; from 128 on, numbers take two bytes.
    fn moved(book: &Book, known: u64, order: impl Fn(u64) -> u64) -> Book {
        let mut names = Names::new(SECRET);
        (0..known).for_each(|n| _ = names.number(&format!("kind_{}", order(n))));
        let mut image = Vec::new();
        store_for(user(book), book.names(), &mut names, &mut image);
        let (user, used) = User::load(&image, names.len() as u32, SECRET).unwrap();
        assert_eq!(used, image.len());
        let mut other = Book::new(usize::MAX, SECRET);
        names.iter().for_each(|name| assert!(other.add_kind(name).is_ok()));
        let slot = other.restore(user).unwrap();
        other.index(slot).unwrap();
        other
    }

    #[test]
    fn a_user_moves_to_a_slice_with_other_kind_numbers() {
        for profile in PROFILES {
            let (mut book, mut feed) = grown(profile);
            let own = canonical(user(&book));
            let mut none = moved(&book, 0, |n| n);
            let mut few = moved(&book, profile.kinds / 2, |n| profile.kinds - 1 - n);
            let mut many = moved(&book, 200, |n| 199 - n);
            assert_eq!(
                canonical(user(&many)).len() > own.len(),
                !user(&book).packed.get(Section::Groups).is_empty(),
                "{profile:?}"
            );
            for other in [&none, &few, &many] {
                assert_eq!(
                    answers(user(&book), book.names()),
                    answers(user(other), other.names()),
                    "{profile:?}"
                );
                // Moving back gives the original image.
                let mut names = Names::new(SECRET);
                book.names().iter().for_each(|name| _ = names.number(name));
                let (kinds, mut back) = (names.len(), Vec::new());
                store_for(user(other), other.names(), &mut names, &mut back);
                let (back, _) = User::load(&back, kinds as u32, SECRET).unwrap();
                assert!(canonical(&back.user) == own && names.len() == kinds, "{profile:?}");
            }
            // The moved users behave like the original: holds are settled, kinds are added.
            for _ in 0..1_000 {
                feed.apply_to(&mut [&mut book, &mut none, &mut few, &mut many]);
            }
            for other in [&none, &few, &many] {
                assert_eq!(
                    answers(user(&book), book.names()),
                    answers(user(other), other.names()),
                    "{profile:?}"
                );
            }
        }
    }

    #[test]
    fn the_profiles_cover_every_user_shape() {
        let (mut runs, mut tables, mut holds, mut pieces, mut currencies) = (0, 0, 0, 0, 0);
        for profile in PROFILES {
            let (book, _) = grown(profile);
            let user = user(&book);
            currencies += usize::from(user.balances.len() == CURRENCIES_PER_USER);
            pieces += usize::from(user.pieces() > 0);
            if let Some(rare) = &user.rare {
                runs += usize::from(rare.runs.is_some());
                tables += usize::from(rare.recent.is_some());
                holds += usize::from(!rare.holds.is_empty());
            }
        }
        assert!(runs > 1 && tables > 1 && holds > 1 && pieces > 0 && currencies > 0);
    }

    /// Loads an arbitrary image. A user that loads must store the same image, answer queries, and
    /// take further entries.
    fn survives(bytes: &[u8], names: &mut Names, feed: &mut Feed) -> Result<(), Malformed> {
        let (Loaded { mut user, id: user_id }, used) =
            User::load(bytes, names.len() as u32, SECRET)?;
        if bytes[3] >> 7 == 0 {
            assert!(image_as(user_id, &user) == bytes[..used], "the image is canonical");
        }
        let _ = answers(&user, names);
        for n in 0..12 {
            let (id, at, [what, currency, kind, direction, amount, _]) = feed.next();
            let currency = user.balances[currency as usize % user.balances.len()].currency;
            let direction = if direction == 0 { Direction::Credit } else { Direction::Debit };
            let amount = Amount::new(amount.cast_signed()).unwrap();
            let kind = &feed.kinds[kind as usize];
            let hold =
                user.rare.as_ref().and_then(|m| m.holds.iter().next()).map_or(EntryId(5), |h| h.id);
            let action = match what % 4 {
                0 => Action::Settle { hold, terms: None, amount, is_final: n % 2 == 0 },
                1 => Action::Hold(Movement { currency, kind, direction, amount }),
                2 => Action::Void { hold, terms: None, amount: None },
                _ => Action::Post(Movement { currency, kind, direction, amount }),
            };
            let at =
                Millis(if n % 3 == 0 { at } else { user.as_of().0.saturating_sub(n * n * DAY_MS) });
            let late_accepted = n % 4 > 0;
            let entry = EntryRef { id: EntryId(id), user: user_id, at, late_accepted, action };
            if let Ok(effect) = user.judge(names, Millis(u64::MAX), &entry) {
                user.book(names, effect);
            }
        }
        let _ = answers(&user, names);
        let again = image_as(user_id, &user);
        let before = user;
        let (loaded, _) = User::load(&again, names.len() as u32, SECRET)
            .expect("the image of a user that has booked entries loads");
        let (loaded, user) = (canonical(&loaded.user), canonical(&before));
        assert!(loaded == user);
        Ok(())
    }

    #[test]
    fn corrupt_images_are_refused_or_load_as_valid_users() {
        let (mut taken, mut refused) = (0, std::collections::BTreeMap::<&str, u32>::new());
        for profile in PROFILES {
            let (book, mut feed) = grown(profile);
            let image = image(user(&book));
            let mut names = Names::new(SECRET);
            feed.kinds.iter().for_each(|kind| _ = names.number(kind));
            assert_eq!(survives(&image, &mut names, &mut feed), Ok(()), "{profile:?}");
            let mut count = |result| match result {
                Ok(()) => taken += 1,
                Err(Malformed(why)) => *refused.entry(why).or_default() += 1,
            };
            // Small images are changed at every byte, large ones at every `stride` bytes.
            let stride = (image.len() / 600 + 1).pow(2);
            for at in (0..image.len()).step_by(stride) {
                assert!(
                    survives(&image[..at], &mut names, &mut feed).is_err(),
                    "{profile:?} cut at {at}"
                );
                // A truncated image whose length prefix matches.
                let mut cut = image[..at].to_vec();
                if let Some(length) = cut.first_chunk_mut() {
                    *length = u32::to_le_bytes(at as u32 - 4);
                    count(survives(&cut, &mut names, &mut feed));
                }
            }
            // Flipped bits.
            let bits = (0..image.len()).flat_map(|at| (0..8).map(move |bit| (at, 1u8 << bit)));
            for (at, flip) in bits.step_by(stride * 2 - 1) {
                for change in [flip, 0xff, 0x80 | flip] {
                    let mut flipped = image.clone();
                    flipped[at] ^= change;
                    count(survives(&flipped, &mut names, &mut feed));
                }
            }
            // Inserted, removed and replaced bytes.
            for _ in 0..400 / stride {
                let mut changed = image.clone();
                let (at, to) =
                    (4 + feed.draw(image.len() as u64 - 4) as usize, feed.draw(256) as u8);
                match feed.draw(3) {
                    0 => changed.insert(at, to),
                    1 => _ = changed.remove(at),
                    _ => changed[at] = to,
                }
                let len = changed.len() as u32 - 4;
                changed[..4].copy_from_slice(&len.to_le_bytes());
                count(survives(&changed, &mut names, &mut feed));
            }
        }
        assert!(taken > 100 && refused.len() > 15, "{taken} taken, refused: {refused:#?}");
    }

    #[test]
    fn pieces_begin_where_one_table_ends() {
        for (ids, pieces) in [(3_584, 0), (3_585, 2)] {
            let book = with_ids(ids);
            let mut head = Vec::new();
            user(&book).store_head(id_of(user(&book)), &mut head);
            assert_eq!(user(&book).pieces(), pieces);
            let other = restored(&book);
            assert_eq!(user(&other).pieces(), pieces);
            assert_eq!(
                (head.len() > 50_000, head[3] >> 7),
                (pieces == 0, u8::from(pieces > 0)),
                "{ids} ids"
            );
        }
    }

    /// A posting, each with another id.
    fn apply(books: &mut [Book], id: u128, at: u64) {
        let movement = Movement {
            currency: Currency::parse(b"COIN").unwrap(),
            kind: "gift",
            direction: Direction::Credit,
            amount: Amount::new(1).unwrap(),
        };
        let (at, action) = (Millis(at), Action::Post(movement));
        let entry = EntryRef { id: EntryId(id), user: USER, at, late_accepted: false, action };
        for book in books {
            assert_eq!(book.apply(at, &entry).1, Verdict::Accepted);
        }
    }

    /// A user with this many remembered ids, of one millisecond each.
    fn with_ids(count: u64) -> Book {
        let mut book = Book::new(usize::MAX, SECRET);
        (0..count).for_each(|n| apply(std::slice::from_mut(&mut book), n.into(), START + n));
        book
    }

    /// Users who accepted the same entries are the same, also if one was loaded while the other's
    /// expired ids were not swept yet.
    #[test]
    fn users_do_not_differ_by_when_they_were_loaded() {
        let mut books = vec![with_ids(4_000)];
        // The first ids expire, and their tables are not swept at these times.
        apply(&mut books, 1 << 64, START + 40 * BUCKET_MS);
        for n in 0..4_200u64 {
            apply(&mut books, 1 << 65 | u128::from(n), START + 98 * BUCKET_MS + n);
            if n % 500 == 0 {
                let loaded = restored(&books[0]);
                books.push(loaded);
            }
            if n % 90 == 0 {
                let own = canonical(user(&books[0]));
                assert!(books.iter().all(|book| canonical(user(book)) == own), "entry {n}");
            }
        }
    }

    #[test]
    fn pieces_that_break_a_rule_are_refused() {
        let book = with_ids(4_200);
        let user = user(&book);
        let (mut head, mut first) = (Vec::new(), Vec::new());
        user.store_head(id_of(user), &mut head);
        user.store_piece(0, &mut first);
        assert_eq!(user.pieces(), 2);
        let ids: Vec<[u8; 16]> = first[4..].as_chunks().0.to_vec();
        let piece =
            |ids: &[[u8; 16]]| [&(ids.len() as u32).to_le_bytes()[..], &ids.concat()].concat();
        let load = |bytes: &[u8]| {
            let (mut loaded, _, pieces) = User::load_head(&head, 1, SECRET).unwrap();
            loaded.user.load_piece((0, pieces), bytes).map_err(|Malformed(why)| why)
        };
        assert_eq!(load(&[&piece(&ids)[..], b"more"].concat()), Ok(first.len()));
        assert_eq!(load(&piece(&[])), Ok(4));
        let changed = |change: &dyn Fn(&mut Vec<[u8; 16]>)| {
            let mut ids = ids.clone();
            change(&mut ids);
            load(&piece(&ids))
        };
        let unsorted = Err("remembered ids are sorted, one each");
        assert_eq!(changed(&|ids| ids.swap(3, 4)), unsorted);
        assert_eq!(changed(&|ids| ids.insert(3, ids[3])), unsorted);
        let old = changed(&|ids| ids[3][7] ^= 0x80);
        assert_eq!(old, Err("remembered ids lie within the dedup window"));
        for end in 0..first.len() {
            assert_eq!(load(&first[..end]), Err("every part is complete"), "{end}");
        }
        let too_many = [&3_585u32.to_le_bytes()[..], &first[4..]].concat();
        assert_eq!(load(&too_many), Err("a piece has no more remembered ids than a table holds"));
        // The version bounds the ids of all pieces together, and no two pieces share one.
        let mut other = User::load_head(&head, 1, SECRET).unwrap().0.user;
        other.version = 2 * ids.len() as u64 - 1;
        assert_eq!(other.load_piece((0, 2), &first), Ok(first.len()));
        assert_eq!(
            other.load_piece((1, 2), &first),
            Err(Malformed("a remembered id is stored once"))
        );
        let mut other = User::load_head(&head, 1, SECRET).unwrap().0.user;
        other.version = ids.len() as u64 - 1;
        assert_eq!(
            other.load_piece((1, 2), &first),
            Err(Malformed("remembered ids are at most the accepted entries"))
        );
        // More than the number of pieces in the head, and too many ids without pieces.
        let with_length = |mut bytes: Vec<u8>, flag: u32| {
            let length = bytes.len() as u32 - 4;
            bytes[..4].copy_from_slice(&(length | flag).to_le_bytes());
            bytes
        };
        let refused =
            |bytes: &[u8]| User::load_head(bytes, 1, SECRET).map(|_| ()).map_err(|why| why.0);
        let long = with_length([&head[..], &ids[0]].concat(), HAS_PIECES);
        assert_eq!(refused(&long), Err("the number of pieces ends an image"));
        let one = with_length([&head[..head.len() - 4], &[1, 0, 0, 0]].concat(), HAS_PIECES);
        assert_eq!(refused(&one), Err("a user has several pieces or none"));
        let mut all: Vec<[u8; 16]> = Vec::new();
        for piece in 0..user.pieces() {
            let mut bytes = Vec::new();
            user.store_piece(piece, &mut bytes);
            all.extend(bytes[4..].as_chunks().0);
        }
        all.sort_unstable_by_key(|&id| u128::from_le_bytes(id));
        for (count, result) in [
            (3_584, Ok(())),
            (3_585, Err("an image has no more remembered ids than one table holds")),
        ] {
            let bytes = [&head[..head.len() - 4], &all[..count].concat()].concat();
            assert_eq!(refused(&with_length(bytes, 0)), result);
        }
    }

    #[test]
    fn the_image_is_pinned() {
        let mut book = Book::new(usize::MAX, SECRET);
        let coin = |kind, direction, amount| {
            let currency = Currency::parse(b"COIN").unwrap();
            Movement { currency, kind, direction, amount: Amount::new(amount).unwrap() }
        };
        let usd = Movement {
            currency: Currency::parse(b"USD").unwrap(),
            ..coin("topup", Direction::Credit, 1_999)
        };
        for (id, at, action) in [
            (1, 0, Action::Post(coin("topup", Direction::Credit, 500))),
            (2, 1, Action::Post(coin("gift_sent", Direction::Debit, 20))),
            (3, BUCKET_MS, Action::Post(coin("gift_sent", Direction::Debit, 200))),
            (4, BUCKET_MS, Action::Hold(coin("payout", Direction::Debit, 300))),
            (5, BUCKET_MS, Action::Post(usd)),
        ] {
            let entry = EntryRef {
                id: EntryId(id),
                user: USER,
                at: Millis(START + at),
                late_accepted: false,
                action,
            };
            assert_eq!(book.apply(Millis(START + at), &entry).1, Verdict::Accepted);
        }
        let hex: String = image(user(&book)).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, PINNED);
    }

    const PINNED: &str = "\
        bf0000004d0000000000000005a0f784a7a532\
        02434f494e00000000b004ac020055534400000000009e1f0000\
        1505000001f40308010102dc0114b40105020001cf0f\
        0019004c1d000f00000001f40300010114010101c801010201cf0f\
        01040000000000000000000000000000008102ac02\
        8456be940080d3541120f58c14a1f226921bb398a03be154cbea45ca59e12f6e\
        dd7142f5a03be154f6a14115259ea96f\
        6ea65d450180d3545eb02f67e56acfcc0fca1b1aa03be1540d1d4ef1314b17f0";
}
