//! Index of users compared with `hashbrown`: lookups, bytes per user, and the longest pause of
//! growth.
//!
//! The map has the user's id as its key; the table has only slots, and compares ids with the user.
//! Every lookup reads the user that it finds, as an answer does. All hash with [`UserId::hash`].

use super::common::is_timed;
use super::common::population::{mix, user_id};
use criterion::{BatchSize, Bencher, Criterion, Throughput};
use hashbrown::{HashMap, HashTable};
use purser::ledger::id::UserId;
use purser::ledger::index::Index;
use purser::ledger::secret::Secret;
use purser::prefetch;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

/// Lookups per iteration.
const TOGETHER: usize = 16;
/// Times that growth is measured.
const ROUNDS: usize = 9;

/// As large as a user of the ledger, and aligned as it is.
#[repr(align(64))]
struct User {
    id: u64,
    version: u64,
    _rest: [u64; 14],
}

fn users(count: u64) -> Vec<User> {
    (0..count).map(|n| User { id: user_id(n), version: n, _rest: [0; 14] }).collect()
}

/// User id to slot.
trait Slots {
    fn new() -> Self;
    fn insert(&mut self, users: &[User], slot: u32);
    fn find(&self, users: &[User], id: u64) -> Option<u32>;
    fn bytes(&self) -> usize;
    /// Starts the lookup of a user, if that is possible.
    fn prefetch(&self, _id: u64) {}
}

impl Slots for Index {
    fn new() -> Self {
        Self::new(Secret::default())
    }

    fn insert(&mut self, users: &[User], slot: u32) {
        let id = users[slot as usize].id;
        self.insert(UserId::Number(id), slot, |slot| users[slot as usize].id == id)
            .expect("a new user");
    }

    #[inline]
    fn find(&self, users: &[User], id: u64) -> Option<u32> {
        self.find(UserId::Number(id), |slot| users[slot as usize].id == id)
    }

    fn bytes(&self) -> usize {
        self.heap_bytes()
    }

    #[inline]
    fn prefetch(&self, id: u64) {
        prefetch::line(std::ptr::from_ref(self.place(UserId::Number(id))).cast());
    }
}

/// The hash of user ids.
#[derive(Default)]
struct UserHasher(u64);

impl Hasher for UserHasher {
    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("a user id is one integer");
    }

    #[inline]
    fn write_u64(&mut self, id: u64) {
        self.0 = UserId::Number(id).hash();
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }
}

type Map = HashMap<u64, u32, BuildHasherDefault<UserHasher>>;

impl Slots for Map {
    fn new() -> Self {
        Self::default()
    }

    fn insert(&mut self, users: &[User], slot: u32) {
        assert_eq!(self.insert(users[slot as usize].id, slot), None);
    }

    #[inline]
    fn find(&self, _users: &[User], id: u64) -> Option<u32> {
        self.get(&id).copied()
    }

    fn bytes(&self) -> usize {
        self.allocation_size()
    }
}

impl Slots for HashTable<u32> {
    fn new() -> Self {
        Self::default()
    }

    fn insert(&mut self, users: &[User], slot: u32) {
        let id = users[slot as usize].id;
        let (is, hash) = (
            |&slot: &u32| users[slot as usize].id == id,
            |&slot: &u32| UserId::Number(users[slot as usize].id).hash(),
        );
        self.entry(UserId::Number(id).hash(), is, hash).or_insert(slot);
    }

    #[inline]
    fn find(&self, users: &[User], id: u64) -> Option<u32> {
        self.find(UserId::Number(id).hash(), |&slot| users[slot as usize].id == id).copied()
    }

    fn bytes(&self) -> usize {
        self.allocation_size()
    }
}

fn build<S: Slots>(users: &[User]) -> S {
    let mut slots = S::new();
    (0..users.len() as u32).for_each(|slot| slots.insert(users, slot));
    slots
}

/// An index of all users, checked.
fn checked<S: Slots>(users: &[User]) -> S {
    let slots = build::<S>(users);
    for (user, slot) in users.iter().zip(0..) {
        assert_eq!(slots.find(users, user.id), Some(slot));
        assert_eq!(slots.find(users, user.id + 1), None);
    }
    slots
}

/// Looks up random users, one at a time or [`TOGETHER`] with all their lookups started first.
fn find<S: Slots>(b: &mut Bencher<'_>, slots: &S, users: &[User], together: usize) {
    let mut next = 0u64;
    let mut asked = vec![0; together];
    b.iter(|| {
        asked.fill_with(|| {
            next += 1;
            user_id(mix(next) % users.len() as u64)
        });
        if together > 1 {
            asked.iter().for_each(|&id| slots.prefetch(id));
        }
        let version =
            |&id: &u64| users[slots.find(users, id).expect("a known user") as usize].version;
        asked.iter().map(version).fold(0, u64::wrapping_add)
    });
}

pub fn look_ups(criterion: &mut Criterion) {
    if !super::is_asked("index/find") {
        return;
    }
    let users = users(if is_timed() { 1_000_000 } else { 10_000 });
    let (ours, map, table) =
        (checked::<Index>(&users), checked::<Map>(&users), checked::<HashTable<u32>>(&users));
    for (name, together) in [("index/find", 1), ("index/find_16", TOGETHER)] {
        let mut group = criterion.benchmark_group(name);
        group.bench_function("ours", |b| find(b, &ours, &users, together));
        group.bench_function("hashbrown_map", |b| find(b, &map, &users, together));
        group.bench_function("hashbrown_table", |b| find(b, &table, &users, together));
        group.finish();
    }
}

/// Prints bytes a user, from half of the users on, and the longest insertions of some rounds.
fn print_growth<S: Slots>(name: &str, users: &[User]) {
    let (mut least, mut greatest) = (f64::MAX, 0f64);
    let mut pauses = [Duration::ZERO; ROUNDS];
    for pause in &mut pauses {
        let mut slots = S::new();
        for slot in 0..users.len() {
            let start = Instant::now();
            slots.insert(users, slot as u32);
            *pause = start.elapsed().max(*pause);
            if slot >= users.len() / 2 {
                let bytes = slots.bytes() as f64 / (slot + 1) as f64;
                (least, greatest) = (bytes.min(least), bytes.max(greatest));
            }
        }
    }
    pauses.sort_unstable();
    let (shortest, median, longest) = (pauses[0], pauses[ROUNDS / 2], pauses[ROUNDS - 1]);
    println!(
        "index: {name}: {least:.1} to {greatest:.1} bytes a user from {} to {} users; \
         longest insertion {median:.1?} ({shortest:.1?}..{longest:.1?})",
        users.len() / 2,
        users.len()
    );
}

pub fn growth(criterion: &mut Criterion) {
    fn grow<S: Slots>(b: &mut Bencher<'_>, users: &[User]) {
        b.iter_batched(|| (), |()| build::<S>(users), BatchSize::PerIteration);
    }
    if !super::is_asked("index/insert_all") {
        return;
    }
    let users = users(if is_timed() { 1 << 21 } else { 10_000 });
    print_growth::<Index>("ours", &users);
    print_growth::<Map>("hashbrown_map", &users);
    print_growth::<HashTable<u32>>("hashbrown_table", &users);

    let mut group = criterion.benchmark_group("index/insert_all");
    group.sample_size(10).throughput(Throughput::Elements(users.len() as u64));
    group.bench_function("ours", |b| grow::<Index>(b, &users));
    group.bench_function("hashbrown_map", |b| grow::<Map>(b, &users));
    group.bench_function("hashbrown_table", |b| grow::<HashTable<u32>>(b, &users));
    group.finish();
}
