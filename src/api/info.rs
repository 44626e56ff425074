//! What `GET /v1/info` says: which program this is, which users live where, and the limits in
//! force.
//!
//! A client that knows the hash ([`crate::ledger::id::UserId::slice`]) sends each request to the
//! port of the core that owns its user, and saves the way between cores: see
//! `examples/shard_aware.rs`.

use crate::decimal::number;

/// What does not change while a server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The program's version.
    pub version: &'static str,
    /// The commit that it was built from.
    pub commit: &'static str,
    /// When it was started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// The version of the hash by which users are spread over the cores.
    pub hash: u64,
    /// The cores, in order of their slices.
    pub cores: Vec<Place>,
    /// The limits in force, by name.
    pub limits: Vec<(&'static str, u64)>,
}

/// Where a core is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The CPU that it runs on.
    pub cpu: usize,
    /// The port that it alone listens on.
    pub port: u16,
}

/// What a core tells of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// How many users it has.
    pub users: u64,
    /// CPU time in which it looked out for answers of other cores, in microseconds.
    pub looked_out_us: u64,
}

impl Info {
    /// Appends it, with the figures of each slice, in their order.
    pub fn write(&self, figures: &[Figures], out: &mut Vec<u8>) {
        let mut first = true;
        let mut open = |out: &mut Vec<u8>, name: &str| {
            out.extend_from_slice(if std::mem::take(&mut first) { b"{\"" } else { b",\"" });
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
        };
        for (name, text) in [("version", self.version), ("commit", self.commit)] {
            open(out, name);
            out.push(b'"');
            out.extend_from_slice(text.as_bytes());
            out.push(b'"');
        }
        let slices = self.cores.len() as u64;
        for (name, figure) in
            [("started_ms", self.started_ms), ("hash", self.hash), ("slices", slices)]
        {
            open(out, name);
            number(out, figure);
        }
        open(out, "cores");
        for ((slice, core), figures) in (0u64..).zip(&self.cores).zip(figures) {
            out.push(if slice == 0 { b'[' } else { b',' });
            let Figures { users, looked_out_us } = *figures;
            let place = [("slice", slice), ("cpu", core.cpu as u64), ("port", core.port.into())];
            object(
                out,
                place.into_iter().chain([("users", users), ("looked_out_us", looked_out_us)]),
            );
        }
        out.push(b']');
        open(out, "limits");
        object(out, self.limits.iter().copied());
        out.push(b'}');
    }
}

fn object(out: &mut Vec<u8>, members: impl Iterator<Item = (&'static str, u64)>) {
    for (at, (name, value)) in members.enumerate() {
        out.extend_from_slice(if at == 0 { b"{\"" } else { b",\"" });
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        number(out, value);
    }
    out.push(b'}');
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
            hash: 1,
            cores: vec![Place { cpu: 0, port: 8_081 }, Place { cpu: 3, port: 8_082 }],
            limits: vec![("connections", 10), ("batch_reads", 1_000)],
        };
        let mut out = Vec::new();
        info.write(&[70, 71].map(|users| Figures { users, looked_out_us: 9 }), &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"version":"1.2.3","commit":"abc","started_ms":5,"hash":1,"slices":2,"cores":[{"slice":0,"cpu":0,"port":8081,"users":70,"looked_out_us":9},{"slice":1,"cpu":3,"port":8082,"users":71,"looked_out_us":9}],"limits":{"connections":10,"batch_reads":1000}}"#
        );
    }
}
