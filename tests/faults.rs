//! Fault tests of the real server.
//!
//! A data directory that is damaged, incomplete, in use or not Purser's is refused with an error
//! that names the file, and is not changed.

use crate::import::{import, import_all};
use crate::server::client::get;
use crate::server::expected::balance;
use crate::server::{Scratch, Server, becomes_true, credit, run, serve, slice_manifest};
use crate::verify::{sound, verify};
use purser::journal::frame::ALIGN;
use purser::journal::{Place, manifest};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const T: u64 = 1_700_000_100_000;
const USERS: u64 = 100;
/// Entries fed first: enough log bytes to start a snapshot.
const ENTRIES: u64 = 20_000;
/// Entries fed one by one after that, in each of two further runs of the server.
const SINGLES: u64 = 5;

/// All files below a directory, with their bytes.
pub type Tree = BTreeMap<PathBuf, Vec<u8>>;

pub fn tree(path: &Path) -> Tree {
    let mut found = Tree::new();
    for entry in fs::read_dir(path).expect("a directory") {
        let path = entry.expect("a name").path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            let bytes = fs::read(&path).expect("a file");
            found.insert(path, bytes);
        }
    }
    found
}

/// Restores a directory to an earlier state.
pub fn restore(path: &Path, whole: &Tree) {
    fs::remove_dir_all(path).expect("the directory can be removed");
    for (file, bytes) in whole {
        fs::create_dir_all(file.parent().expect("it has a parent")).expect("it can be created");
        fs::write(file, bytes).expect("it can be written");
    }
}

pub fn flip(file: &Path, offset: u64) {
    let open = OpenOptions::new().read(true).write(true).open(file).expect("it is there");
    let mut byte = [0];
    open.read_exact_at(&mut byte, offset).expect("the file has that offset");
    open.write_all_at(&[byte[0] ^ 1], offset).expect("it can be written");
}

fn truncate(file: &Path, bytes: u64) {
    OpenOptions::new()
        .write(true)
        .open(file)
        .and_then(|file| file.set_len(bytes))
        .expect("the file can be truncated");
}

/// Line of entry `n`; users take turns.
fn line(n: u64) -> String {
    credit(n, 1 + n % USERS, 1 + n as i64, T + n)
}

/// A data directory with a snapshot and a log of three segments or more after it.
struct Data {
    scratch: Scratch,
    entries: u64,
}

impl Data {
    fn make() -> Self {
        let data = Self { scratch: Scratch::new("faults"), entries: ENTRIES + 2 * SINGLES };
        let mut server = Server::with_data(&data.path(), &["--snapshot-after-mib", "1"]);
        server.feed(&(0..ENTRIES).map(line).collect::<Vec<_>>());
        assert!(becomes_true(|| data.manifest().snapshot > 0), "a snapshot is taken");
        for life in 0..2 {
            end(&mut server);
            server = Server::with_data(&data.path(), &[]);
            (0..SINGLES).for_each(|n| server.feed(&[line(ENTRIES + life * SINGLES + n)]));
        }
        end(&mut server);
        let manifest::SliceManifest { first, last, .. } = data.manifest();
        assert!(last >= first + 2, "{:?}", data.manifest());
        data
    }

    fn path(&self) -> PathBuf {
        self.scratch.join("data")
    }

    fn slice(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join("generation-1/slice-0").join(name)
    }

    fn manifest(&self) -> manifest::SliceManifest {
        slice_manifest(&self.path(), 0)
    }

    fn segment(&self, number: u64) -> PathBuf {
        self.slice(format!("log-{number}"))
    }

    fn snapshot(&self) -> PathBuf {
        self.slice(format!("snapshot-{}", self.manifest().snapshot))
    }

    /// Checks that a server refuses the directory, with an error that contains each of `says`, and
    /// changes nothing in it.
    fn check_refused(&self, what: &str, says: &[&str]) {
        let before = tree(&self.path());
        let (code, out, err) = run(serve("127.0.0.1:0").arg("--data").arg(self.path()));
        assert_eq!(code, Some(1), "{what}: {out}{err}");
        assert!(err.starts_with("error: ") && !out.contains("listening on"), "{what}: {out}{err}");
        for part in says {
            assert!(err.contains(part), "{what}: no {part:?} in {err:?}");
        }
        assert!(tree(&self.path()) == before, "{what}: the directory was changed");
    }

    /// Damages the directory, checks that it is refused, and undoes the damage.
    fn check(&self, what: &str, damage: impl FnOnce(), says: &[&str]) {
        let whole = tree(&self.path());
        damage();
        assert!(tree(&self.path()) != whole, "{what}: nothing is damaged");
        self.check_refused(what, says);
        restore(&self.path(), &whole);
    }

    /// Starts a server on the directory and checks that it has the first `count` entries.
    fn check_serves(&self, count: u64) -> Server {
        let server = Server::with_data(&self.path(), &[]);
        let mut client = server.connect();
        for user in 1..=USERS {
            let own: Vec<_> = (0..count).filter(|n| 1 + n % USERS == user).collect();
            let posted = own.iter().map(|&n| 1 + n as i64).sum();
            let answer = client.ask(get(&format!("/v1/users/{user}/balance"))).shown();
            assert_eq!(answer, balance(user, own.len() as u64, T + own[own.len() - 1], posted));
        }
        server
    }
}

pub fn end(server: &mut Server) {
    server.signal("TERM");
    assert!(server.ended().success());
}

pub fn show(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn damaged_directories_are_refused_by_file_name() {
    let data = Data::make();
    let manifest = data.manifest();
    let (root, slice, snapshot) =
        (data.path().join("manifest"), data.slice("manifest"), data.snapshot());
    let (first, last) = (data.segment(manifest.first), data.segment(manifest.last));
    let before_last = data.segment(manifest.last - 1);
    let align = ALIGN as u64;

    for (file, bytes) in [(&root, fs::read(&root)), (&slice, fs::read(&slice))] {
        for at in [16, bytes.expect("it is there").len() as u64 - 3] {
            data.check(
                "a manifest's byte",
                || flip(file, at),
                &[&show(file), "is damaged or was edited"],
            );
        }
        data.check(
            "an empty manifest",
            || truncate(file, 0),
            &[&show(file), "is damaged or was edited"],
        );
    }
    let broken = |file: &Path, at: u64| format!("cannot load {}: byte {at}: ", show(file));
    let flipped = |what: &str, file: &Path, at: u64, frame: u64, says: &str| {
        data.check(what, || flip(file, at), &[&broken(file, frame), says]);
    };
    flipped("a snapshot's first frame", &snapshot, 41, 0, "not the first frame of the snapshot");
    flipped("a snapshot's user", &snapshot, align + 100, align, "frame 1 is broken");
    flipped(
        "a snapshot's end",
        &snapshot,
        manifest.snapshot_end + 50,
        manifest.snapshot_end,
        "last frame",
    );
    flipped("the first segment's header", &first, 41, 0, "invalid segment header");
    flipped("another segment's header", &last, 20, 0, "invalid segment header");
    flipped("a write in the middle of the log", &before_last, align + 60, align, "is broken");
    flipped("a write's length", &before_last, 2 * align + 6, 2 * align, "is broken");
    flipped(
        "the last write of a segment before the last",
        &before_last,
        SINGLES * align + 60,
        SINGLES * align,
        "is broken",
    );
    flipped("a write that others follow", &last, align + 60, align, "follows at byte 8192");

    let missing = |what: &str, file: &Path, says: &[&str]| {
        let remove = || fs::remove_file(file).expect("it is there");
        data.check(what, remove, says);
    };
    missing("the manifest", &root, &[&show(&data.path()), "holds files but no manifest"]);
    missing("the slice's manifest", &slice, &[&show(&slice), "is missing"]);
    for file in [&snapshot, &first, &before_last, &last] {
        missing("a file that is named", file, &[&show(file), "is missing"]);
    }
    let both =
        || [&root, &slice].into_iter().for_each(|file| fs::remove_file(file).expect("it is there"));
    data.check("both manifests", both, &[&show(&data.path()), "holds files but no manifest"]);
    let all = || fs::remove_dir_all(data.path().join("generation-1")).expect("it is there");
    data.check("the generation", all, &[&show(&slice), "is missing"]);

    let size = fs::metadata(&snapshot).expect("it is there").len();
    data.check(
        "a snapshot's tail",
        || truncate(&snapshot, size / 2),
        &[&show(&snapshot), "last frame"],
    );
    data.check("a segment's tail", || truncate(&before_last, 2 * align), &[&show(&before_last)]);
    data.check("the last segment's tail", || truncate(&last, 3 * align), &[&show(&last), "bytes"]);
    data.check("the last segment's all", || truncate(&last, 0), &[&show(&last)]);
    let swap = || {
        let (a, b) =
            (fs::read(&last).expect("it is there"), fs::read(&before_last).expect("it is there"));
        fs::write(&last, b).and_then(|()| fs::write(&before_last, a)).expect("they can be written");
    };
    data.check("two segments, one for the other", swap, &["cannot load", "log-"]);

    let other = |file: &'static str, version: u32| {
        let path = if file == "data" { &root } else { &slice };
        let what =
            format!("{} has format version {version}; this program reads version 3", show(path));
        let text = format!("purser {file} {version}\nwhatever this may mean\n");
        data.check(
            "another version",
            || fs::write(path, text).expect("it can be written"),
            &[&what],
        );
    };
    for version in [1, 2, 4] {
        other("data", version);
        other("slice", version);
    }
    let other = slice_manifest(&data.path(), 0).write(Place { generation: 1, slice: 1, file: 0 });
    let what = format!("{} belongs to slice 1 of generation 1", show(&slice));
    data.check(
        "another slice's manifest",
        || fs::write(&slice, other).expect("it can be written"),
        &[&what],
    );
    let two = manifest::DataManifest { generation: 1, slices: 2 }.write();
    let second = data.path().join("generation-1/slice-1/manifest");
    data.check(
        "two slices",
        || fs::write(&root, &two).expect("it can be written"),
        &[&show(&second), "is missing"],
    );
    let both = || {
        let empty =
            manifest::SliceManifest::default().write(Place { generation: 1, slice: 1, file: 0 });
        fs::create_dir(second.parent().expect("it has a parent")).expect("it can be created");
        fs::write(&root, &two)
            .and_then(|()| fs::write(&second, empty))
            .expect("they can be written");
    };
    data.check(
        "a second slice",
        both,
        &["cannot load", &show(&snapshot), "is in slice 0 but belongs to slice 1 of 2"],
    );
    let newer = data.path().join("generation-2/slice-0/log-1");
    let older = || {
        fs::create_dir_all(newer.parent().expect("it has a parent")).expect("it can be created");
        fs::write(&newer, "").expect("it can be written");
    };
    data.check(
        "an older manifest",
        older,
        &[&show(&root), "is outdated: files of the newer generation 2 exist"],
    );

    drop(data.check_serves(data.entries));
}

/// A damaged newest write counts as a torn write: nothing in it was acknowledged. Recovery cuts it
/// off and the server prints that.
#[test]
fn a_damaged_newest_write_is_cut_off() {
    // A byte of its records, and one of its salt.
    for byte in [60, 42] {
        check_cut_off(byte);
    }
}

fn check_cut_off(byte: u64) {
    let data = Data::make();
    let last = data.manifest().last;
    let at = SINGLES * ALIGN as u64;
    flip(&data.segment(last), at + byte);
    let server = data.check_serves(data.entries - 1);
    let said = format!(
        "; cut an unfinished write from log-{last} at byte {at}: it was never acknowledged"
    );
    assert!(
        server.startup_lines.iter().any(|line| line.ends_with(&said)),
        "{:#?}",
        server.startup_lines
    );
    // The client resends the entry, as after any missing answer; the cut write does not come back.
    server.feed(&[line(data.entries - 1)]);
    drop(server);
    let server = data.check_serves(data.entries);
    assert!(
        !server.startup_lines.iter().any(|line| line.contains("; cut ")),
        "{:#?}",
        server.startup_lines
    );
}

#[test]
fn a_second_process_on_the_directory_is_refused() {
    let data = Data::make();
    let server = data.check_serves(data.entries);
    // The server creates its next segment in the background; after that the directory is stable.
    assert!(
        becomes_true(|| data.segment(data.manifest().last + 1).exists()),
        "the next segment is created"
    );
    data.check_refused("a second process", &[&show(&data.path()), "is in use by another process"]);
    server.check_all_cores_answer();
    server.feed(&[line(data.entries)]);
    drop(server);
    drop(data.check_serves(data.entries + 1));
}

#[test]
fn directories_without_a_manifest_are_refused_unchanged() {
    let scratch = Scratch::new("foreign");
    let check = |data: &Path, says: &[&str]| {
        let before = tree(&scratch.join(""));
        let (code, _, err) = run(serve("127.0.0.1:0").arg("--data").arg(data));
        assert_eq!(code, Some(1), "{err}");
        for part in says {
            assert!(err.starts_with("error: ") && err.contains(part), "no {part:?} in {err:?}");
        }
        assert_eq!(tree(&scratch.join("")), before, "{err}");
    };
    let photos = scratch.join("photos");
    fs::create_dir(&photos)
        .and_then(|()| fs::write(photos.join("1.jpg"), "a photo"))
        .expect("it can be written");
    check(&photos, &[&show(&photos), "holds files but no manifest"]);
    let below = photos.join("1.jpg/data");
    check(&below, &["cannot create", &show(&below)]);
    check(&photos.join("1.jpg"), &["cannot create", &show(&photos.join("1.jpg"))]);
    check(Path::new("/proc/purser-data"), &["cannot create /proc/purser-data"]);
}

/// What a fresh volume holds: `mkfs` makes `lost+found`, and a file server shows its snapshots.
#[test]
fn a_fresh_volume_is_an_empty_directory() {
    let scratch = Scratch::new("volume");
    let volume = |name: &str| {
        let path = scratch.join(name);
        for name in ["lost+found", ".snapshot/hourly.0"] {
            fs::create_dir_all(path.join(name)).expect("it can be created");
        }
        fs::write(path.join("lost+found/#12"), "found").expect("it can be written");
        fs::write(path.join(".gitkeep"), "").expect("it can be written");
        path
    };
    let of_volume = |data: &Path| {
        let mut found = tree(data);
        found.retain(|path, _| !path.starts_with(data.join("generation-1")));
        found.retain(|path, _| !path.starts_with(data.join("generation-2")));
        let names = found.keys().map(|path| path.strip_prefix(data).expect("below it").to_owned());
        names.collect::<Vec<_>>()
    };
    let kept = [".gitkeep", "lock", "lost+found/#12", "manifest"].map(PathBuf::from);
    let served = volume("served");
    let (code, _, err) = verify(&served);
    assert!(code == Some(1) && err.contains("it has no manifest"), "{code:?} {err}");
    let lines = [credit(1, 7, 5, T)];
    for _ in 0..2 {
        Server::with_data(&served, &[]).feed(&[]);
        assert!(!sound(&served).contains("does not belong"), "a note on the volume's directories");
        assert_eq!(of_volume(&served), kept);
    }
    import_all(&served, &lines);
    let imported = volume("imported");
    import_all(&imported, &lines);
    for data in [&served, &imported] {
        assert_eq!(of_volume(data), kept);
        assert!(data.join(".snapshot/hourly.0").is_dir());
        assert!(sound(data).contains("  entries     1\n"));
    }
    // Not what mkfs makes: a file of that name, or anything beside it.
    let file = scratch.join("file");
    fs::create_dir(&file).expect("it can be created");
    fs::write(file.join("lost+found"), "a file").expect("it can be written");
    let beside = volume("beside");
    fs::write(beside.join("1.jpg"), "a photo").expect("it can be written");
    for data in [file, beside] {
        let before = tree(&data);
        for command in [serve("127.0.0.1:0").arg("--data").arg(&data), import(&data).arg("-")] {
            let (code, _, err) = run(command);
            assert!(code == Some(1) && err.contains("holds files but no manifest"), "{err}");
        }
        assert_eq!(tree(&data), before);
    }
}

/// `command` in its own mount namespace, run after the shell commands `mounts`; `None` where
/// mounts are not allowed.
pub fn mounted(mounts: &str, command: &Command) -> Option<Command> {
    let enter = |script: &str| {
        let mut unshare = Command::new("unshare");
        unshare.args(["--map-root-user", "--mount", "sh", "-c", script, "sh"]).stdin(Stdio::null());
        unshare
    };
    let is_allowed = enter("mount -t tmpfs none /mnt")
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !is_allowed {
        eprintln!("skipped: no mounts are allowed here");
        return None;
    }
    let mut whole = enter(&format!(r#"{mounts} && exec "$@""#));
    whole.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => whole.env(name, value),
            None => whole.env_remove(name),
        };
    }
    Some(whole)
}

#[test]
fn a_read_only_directory_is_refused() {
    let data = Data::make();
    let path = show(&data.path());
    let before = tree(&data.path());
    let mounts = format!("mount --bind {path} {path} && mount -o remount,bind,ro {path}");
    let Some(mut command) = mounted(&mounts, serve("127.0.0.1:0").args(["--data", &path])) else {
        return;
    };
    let (code, _, err) = run(&mut command);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        err.starts_with(&format!("error: cannot open {path}/lock: Read-only file system")),
        "{err}"
    );
    assert!(tree(&data.path()) == before, "the directory was changed");
    drop(data.check_serves(data.entries));
}
