//! Index of one slice: user id to slot, by extendible hashing that grows one segment at a time.
//!
//! The top bits of a user's keyed hash ([`Secret`]) select a segment through a directory. The low
//! bits of the hash's upper half select a place (one cell of the hash table) in the segment;
//! collisions are resolved by linear probing. A segment that is four fifths full is split in two by
//! one more hash bit, so no insertion moves more than one segment (32 KiB), whatever the number of
//! users. Method: R. Fagin et al., *Extendible Hashing*, 1979.
//!
//! By hand for the pauses: on the way to two million users, the longest insertion into a
//! `hashbrown` map takes 14 ms, here 0.2 ms. A map of ids takes twice the memory. Places can be
//! prefetched, so 16 lookups together take two thirds of the time
//! (`benches/runs/2026-11-30-by-hand.md`).
//!
//! A place holds the hash's upper 32 bits and the slot. A match is confirmed by comparing the id of
//! the user in the slot.

use super::id::UserId;
use super::secret::Secret;

/// Number of a user's slot in its slice.
pub type UserSlot = u32;

/// Places of a segment.
const PLACES: usize = 4_096;
const PLACE_BITS: u32 = PLACES.trailing_zeros();
/// Users from which on a segment is split: a load factor of four fifths.
const SPLIT_USERS: usize = PLACES * 4 / 5;
/// Users per segment when the index is presized: four standard deviations below [`SPLIT_USERS`], so
/// that a segment is hardly ever split.
const PRESIZED_USERS: usize = SPLIT_USERS - 4 * SPLIT_USERS.isqrt();
/// Maximum depth of a segment: directory bits and place bits come from the same 32 bits.
const MAX_DEPTH: u32 = u32::BITS - PLACE_BITS;

#[derive(Debug)]
struct Segment {
    /// `hash << 32 | slot + 1`; 0 is free.
    places: Box<[u64; PLACES]>,
    used: usize,
    /// Number of leading hash bits that all users of the segment share.
    depth: u32,
}

/// The user is already in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownUser;

/// User id to slot, for one slice.
#[derive(Debug)]
pub struct Index {
    directory: Vec<u32>,
    segments: Vec<Segment>,
    depth: u32,
    secret: Secret,
}

impl Index {
    /// An empty index, whose places depend on `secret`.
    pub fn new(secret: Secret) -> Self {
        Self { directory: vec![0], segments: vec![Segment::new(0)], depth: 0, secret }
    }

    /// An empty index presized for `users` users, which avoids repeated splits while they are
    /// inserted.
    pub fn for_users(users: usize, secret: Secret) -> Self {
        let depth =
            (0..MAX_DEPTH).find(|depth| users >> depth <= PRESIZED_USERS).unwrap_or(MAX_DEPTH);
        let segments = 1 << depth;
        Self {
            directory: (0..segments).collect(),
            segments: (0..segments).map(|_| Segment::new(depth)).collect(),
            depth,
            secret,
        }
    }

    /// Finds the user's slot. Calls `is` with each candidate slot until it returns true.
    #[inline]
    pub fn find(&self, user: UserId<'_>, mut is: impl FnMut(UserSlot) -> bool) -> Option<UserSlot> {
        let hash = self.upper(user);
        let places = &self.segment(hash).places;
        let mut at = hash as usize % PLACES;
        loop {
            let place = places[at];
            if place == 0 {
                return None;
            }
            if (place >> 32) as u32 == hash {
                let slot = place as u32 - 1;
                if is(slot) {
                    return Some(slot);
                }
            }
            at = (at + 1) % PLACES;
        }
    }

    /// The first place of the user's probe sequence, to be prefetched.
    #[inline]
    pub fn place(&self, user: UserId<'_>) -> &u64 {
        let hash = self.upper(user);
        &self.segment(hash).places[hash as usize % PLACES]
    }

    /// Inserts a user. Fails if `is` confirms a candidate slot as the user's.
    pub fn insert(
        &mut self,
        user: UserId<'_>,
        slot: UserSlot,
        mut is: impl FnMut(UserSlot) -> bool,
    ) -> Result<(), KnownUser> {
        let hash = self.upper(user);
        let segment = loop {
            let number = self.directory[self.entry(hash)] as usize;
            let segment = &self.segments[number];
            if segment.used < SPLIT_USERS || segment.depth == MAX_DEPTH {
                break &mut self.segments[number];
            }
            self.split(hash);
        };
        // One place stays free, because every probe sequence ends at a free place.
        assert!(segment.used < PLACES - 1, "memory runs out long before a segment does");
        let mut at = hash as usize % PLACES;
        loop {
            match segment.places[at] {
                0 => break,
                place if (place >> 32) as u32 == hash && is(place as u32 - 1) => {
                    return Err(KnownUser);
                }
                _ => at = (at + 1) % PLACES,
            }
        }
        segment.places[at] = u64::from(hash) << 32 | u64::from(slot + 1);
        segment.used += 1;
        Ok(())
    }

    /// The bits that place a user: the upper half of the keyed hash.
    #[inline]
    fn upper(&self, user: UserId<'_>) -> u32 {
        let hash = match user {
            UserId::Number(number) => self.secret.mix(number),
            UserId::Text(text) => self.secret.hash(text),
        };
        (hash >> 32) as u32
    }

    fn entry(&self, hash: u32) -> usize {
        (u64::from(hash) >> (u32::BITS - self.depth)) as usize
    }

    #[inline]
    fn segment(&self, hash: u32) -> &Segment {
        &self.segments[self.directory[self.entry(hash)] as usize]
    }

    /// Splits the segment of `hash` in two. Doubles the directory first if it has no bit left to
    /// tell the halves apart.
    fn split(&mut self, hash: u32) {
        let number = self.directory[self.entry(hash)];
        let depth = self.segments[number as usize].depth;
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&n| [n, n]).collect();
            self.depth += 1;
        }
        let later = self.segments.len() as u32;
        let old = std::mem::replace(&mut self.segments[number as usize], Segment::new(depth + 1));
        self.segments.push(Segment::new(depth + 1));
        for &place in old.places.iter().filter(|&&p| p != 0) {
            let to = if bit(place, depth) { later } else { number };
            self.segments[to as usize].put(place);
        }
        // The directory entries of the old segment are contiguous; the upper half of them now
        // points to the new segment.
        let shared = 1usize << (self.depth - depth);
        let first = self.entry(hash) & !(shared - 1);
        self.directory[first + shared / 2..first + shared].fill(later);
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.segments.len() * (PLACES * size_of::<u64>() + size_of::<Segment>())
            + self.directory.len() * size_of::<u32>()
    }
}

impl Segment {
    #[expect(clippy::large_stack_arrays, reason = "optimised builds make it in its box")]
    fn new(depth: u32) -> Self {
        Self { places: Box::new([0; PLACES]), used: 0, depth }
    }

    fn put(&mut self, place: u64) {
        let mut at = (place >> 32) as usize % PLACES;
        while self.places[at] != 0 {
            at = (at + 1) % PLACES;
        }
        self.places[at] = place;
        self.used += 1;
    }
}

/// Bit `depth` of a place's hash, counted from the top.
fn bit(place: u64, depth: u32) -> bool {
    place >> (u64::BITS - 1 - depth) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_user_is_found_and_no_other() {
        let users = 50_000u32;
        let id = |n: u32| UserId::Number(u64::from(n) * 7_919);
        let mut index = Index::new(Secret::default());
        let mut presized = Index::for_users(users as usize, Secret::default());
        for n in 0..users {
            assert_eq!(presized.insert(id(n), n, |slot| slot == n), Ok(()));
            assert_eq!(index.find(id(n), |slot| slot == n), None);
            assert_eq!(index.insert(id(n), n, |slot| slot == n), Ok(()));
        }
        for n in 0..users {
            assert_eq!(index.find(id(n), |slot| id(slot) == id(n)), Some(n));
            assert_eq!(index.insert(id(n), users, |slot| id(slot) == id(n)), Err(KnownUser));
            assert_eq!(index.find(id(n + users), |slot| id(slot) == id(n + users)), None);
        }
        assert_eq!(index.segments.iter().map(|s| s.used).sum::<usize>(), users as usize);
        assert!(index.segments.iter().all(|s| s.used <= SPLIT_USERS));
        assert_eq!((&presized.directory, presized.depth), (&(0..32).collect(), 5));
        assert!((0..users).all(|n| presized.find(id(n), |slot| id(slot) == id(n)) == Some(n)));
    }

    /// The number with this user hash: the inverse of [`UserId::hash`], which is a bijection.
    fn number_with_hash(hash: u64) -> u64 {
        let mut x = hash;
        x ^= x >> 31 ^ x >> 62;
        x = x.wrapping_mul(0x3196_42b2_d24d_8ec3);
        x ^= x >> 27 ^ x >> 54;
        x = x.wrapping_mul(0x96de_1b17_3f11_9089);
        x ^= x >> 30 ^ x >> 60;
        x.wrapping_sub(0x9e37_79b9_7f4a_7c15)
    }

    /// Places that lookups of these users visit on average.
    fn probes<'a>(ids: impl Iterator<Item = UserId<'a>> + Clone) -> f64 {
        let mut index = Index::new(Secret::of([0x1234_5678_9abc_def0, 0x0fed_cba9_8765_4321]));
        let mut users = 0u32;
        for (slot, id) in (0..).zip(ids.clone()) {
            index.insert(id, slot, |_| false).expect("a new user");
            users += 1;
        }
        let visited = |id| {
            let hash = index.upper(id);
            let (places, start) = (&index.segment(hash).places, hash as usize % PLACES);
            (0..PLACES).take_while(|n| places[(start + n) % PLACES] != 0).count() as u64
        };
        ids.map(visited).sum::<u64>() as f64 / f64::from(users)
    }

    /// Ids that share the upper half of the hash which selects their slice, or all of their bits
    /// but a few, are spread like others. So are texts.
    #[test]
    fn chosen_users_are_found_as_fast_as_others() {
        let random = probes((0..100_000).map(|n| UserId::Number(number_with_hash(n) ^ n)));
        let shared_hash =
            probes((0..100_000).map(|n| UserId::Number(number_with_hash(n | 7 << 40))));
        let strides =
            [0, 20, 32, 40, 47].map(|bits| probes((0..100_000).map(|n| UserId::Number(n << bits))));
        let texts: Vec<_> = (0..).map(|n| format!("users:{n}")).take(1_600_000).collect();
        let ids = texts.iter().map(|text| UserId::Text(text.as_bytes()));
        let chosen = ids.clone().filter(|id| id.hash() >> 60 == 7).take(99_000);
        let (plain, chosen) = (probes(ids.take(100_000)), probes(chosen));
        for chosen in [shared_hash, plain, chosen].iter().chain(&strides) {
            assert!(*chosen < 1.25 * random, "{chosen} places instead of {random}");
        }
    }
}
