//! Body of `GET /v1/info`: program version, location of each slice, and the limits in force.
//!
//! A client that knows the hash ([`crate::ledger::id::UserId::slice`]) can send each request to the
//! port of the slice that owns its user, which saves the hop between cores: see
//! `examples/shard_aware.rs`.

use serde::{Serialize, Serializer};

/// Facts that do not change while a server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The program's version.
    pub version: &'static str,
    /// The commit that the program was built from.
    pub commit: &'static str,
    /// Start time of the server, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Version of the hash that distributes users over the slices.
    pub hash: u64,
    /// Location of each slice, in slice order.
    pub slices: Vec<SliceInfo>,
    /// The limits in force, by name.
    pub limits: Vec<(&'static str, u64)>,
}

/// Location of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SliceInfo {
    /// Number of the core that owns the slice.
    pub core: u32,
    /// The CPU that this core runs on.
    pub cpu: usize,
    /// The port of this slice, on which no other slice listens; the common port if it has none.
    pub port: u16,
}

/// Current figures of a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Number of users.
    pub users: u64,
    /// CPU time that the slice's core has spent spinning for replies of other cores, in
    /// microseconds. Slices of one core show the same value.
    pub spun_us: u64,
}

/// The body: members in the order of the wire.
#[derive(Serialize)]
struct Body<'a> {
    version: &'a str,
    commit: &'a str,
    started_ms: u64,
    hash: u64,
    slices: Vec<SliceBody<'a>>,
    #[serde(serialize_with = "object")]
    limits: &'a [(&'static str, u64)],
}

#[derive(Serialize)]
struct SliceBody<'a> {
    slice: usize,
    #[serde(flatten)]
    info: &'a SliceInfo,
    #[serde(flatten)]
    figures: &'a Figures,
}

fn object<S: Serializer>(members: &[(&str, u64)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(members.iter().copied())
}

impl Info {
    /// Appends the body. `figures` has one element for each slice, in slice order.
    pub fn write(&self, figures: &[Figures], out: &mut Vec<u8>) {
        let Self { version, commit, started_ms, hash, .. } = *self;
        let slices = self.slices.iter().zip(figures).enumerate();
        let slices = slices.map(|(slice, (info, figures))| SliceBody { slice, info, figures });
        let limits = &self.limits;
        let body = Body { version, commit, started_ms, hash, slices: slices.collect(), limits };
        sonic_rs::to_writer(out, &body).expect("a vector takes every byte");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores() {
        let info = Info {
            version: "1.2.3",
            commit: "abc",
            started_ms: 5,
            hash: 2,
            slices: vec![
                SliceInfo { core: 0, cpu: 0, port: 8_081 },
                SliceInfo { core: 1, cpu: 3, port: 8_082 },
            ],
            limits: vec![("connections", 10), ("batch_reads", 1_000)],
        };
        let mut out = Vec::new();
        info.write(&[70, 71].map(|users| Figures { users, spun_us: 9 }), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                r#"{"version":"1.2.3","commit":"abc","started_ms":5,"hash":2,"slices":["#,
                r#"{"slice":0,"core":0,"cpu":0,"port":8081,"users":70,"spun_us":9},"#,
                r#"{"slice":1,"core":1,"cpu":3,"port":8082,"users":71,"spun_us":9}],"#,
                r#""limits":{"connections":10,"batch_reads":1000}}"#
            )
        );
    }
}
