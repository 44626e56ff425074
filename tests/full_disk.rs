//! Full disks: they stop the feed and nothing else, and the feed resumes when there is space.
//!
//! - A limit on the size of files, and a full tmpfs, which need no privilege.
//! - Every kind of system call fails for want of space now and then, injected by strace.
//! - Volumes of ext4, XFS and btrfs on loop devices, out of blocks or out of inodes, with segments
//!   begun, snapshots and a restart meanwhile. Where this process may mount none, or a `mkfs` is
//!   missing, these tests say so and are skipped.

use crate::faults::{end, mounted, show};
use crate::server::TIMEOUT;
use crate::server::client::{feed, get};
use crate::server::expected::{self, balance, duplicate, fed, json, rejected};
use crate::server::{
    Client, Response, Scratch, Server, becomes_true, credit, entries, serve, slice_manifest,
};
use crate::verify::sound;
use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

const T: u64 = 1_700_000_100_000;
/// Size of a volume: what `mkfs.xfs` takes. The image is sparse.
const VOLUME_BYTES: u64 = 320 << 20;
/// Entries fed before a volume is full: enough log to begin a snapshot.
const ENTRIES: u64 = 20_000;
/// Entries fed after there is space again: several segments and a snapshot.
const MORE: u64 = 50_000;

/// Number of accepted lines of a feed whose remaining lines were all refused with
/// `insufficient_storage`.
fn accepted(response: &Response, first: u64, lines: u64) -> u64 {
    let accepted = (0..=lines).find(|&accepted| {
        let results: Vec<_> = (accepted..lines)
            .map(|index| {
                rejected(index as usize, &(first + index).to_string(), "insufficient_storage", "")
            })
            .collect();
        response.body == fed(accepted as usize, 0, &results)
    });
    let accepted = accepted.unwrap_or_else(|| {
        panic!("not a result of a full disk: {}", &response.body[..response.body.len().min(300)])
    });
    assert_eq!(response.status(), if accepted < lines { 507 } else { 200 });
    accepted
}

/// The balance of user 1, who has `count` credits of 1.
fn check_balance(client: &mut Client, count: u64) {
    let answer = client.ask(get("/v1/users/1/balance")).shown();
    let want = if count == 0 {
        expected::problem("user_not_found", "", "")
    } else {
        balance(1, count, T, count as i64)
    };
    assert_eq!(answer, want);
}

/// Feeds user 1, who has `count` credits of 1, further ones until the disk is full and stays full:
/// every line is refused, reads work, and accepted ids are known. Returns the number of credits.
pub fn feed_until_full(server: &Server, mut count: u64) -> u64 {
    const LINES: u64 = 500;
    let mut client = server.connect();
    let mut refused = 0;
    while refused < 3 {
        let lines: Vec<_> = (count..count + LINES).map(|n| credit(n, 1, 1, T)).collect();
        let taken = accepted(&client.ask(feed(entries(&lines))), count, LINES);
        count += taken;
        refused = if taken == 0 { refused + 1 } else { 0 };
        check_balance(&mut client, count);
        assert_eq!(client.ask(get("/readyz")).shown(), expected::text("ready"));
        assert!(count < 500_000, "the disk never gets full");
    }
    if count > 0 {
        let again = client.ask(feed(entries(&[credit(0, 1, 1, T)]))).shown();
        assert_eq!(again, json("", &fed(0, 1, &[duplicate(0, "0")])));
    }
    count
}

/// Checks that the feed resumes once there is space. Returns the number of credits.
pub fn check_resumes(server: &Server, count: u64) -> u64 {
    let mut client = server.connect();
    // One entry per request, because space may become free in the middle of a request.
    let resumed =
        becomes_true(|| client.ask(feed(entries(&[credit(count, 1, 1, T)]))).status() == 200);
    assert!(resumed, "the disk has space again and the feed does not resume");
    check_balance(&mut client, count + 1);
    count + 1
}

pub fn limit_file_size(server: &Server, bytes: &str) {
    let limit = format!("--fsize={bytes}:");
    let status = Command::new("prlimit").args(["--pid", &server.id().to_string(), &limit]).status();
    assert!(status.expect("util-linux is there").success());
}

/// A file size limit acts like a full disk and needs no privilege: a segment cannot be created.
#[test]
fn a_file_size_limit_stops_only_the_feed() {
    for first_bytes in [64 << 10, 1 << 20, 2 << 20] {
        let scratch = Scratch::new("full");
        let command = serve("127.0.0.1:0");
        let mut limited = Command::new("prlimit");
        limited
            .arg(format!("--fsize={first_bytes}:"))
            .arg(command.get_program())
            .args(command.get_args());
        limited.arg("--data").arg(scratch.join("data")).stderr(Stdio::null());
        let mut server = Server::spawn(&mut limited);
        let count = feed_until_full(&server, 0);
        limit_file_size(&server, "unlimited");
        let count = check_resumes(&server, count);
        assert_eq!(
            count > 10_000,
            first_bytes >= 1 << 20,
            "{count} entries in {first_bytes} bytes"
        );
        server.kill();
        let server = Server::with_data(&scratch.join("data"), &[]);
        let answer = server.ask(get("/v1/users/1/balance")).shown();
        assert_eq!(answer, balance(1, count, T, count as i64));
    }
}

/// A disk that gets full and then has space again.
#[test]
fn a_full_disk_stops_only_the_feed() {
    let scratch = Scratch::new("full");
    let path = show(&scratch.join(""));
    let mounts =
        format!("mount -t tmpfs -o size=8m none {path} && head -c 6m /dev/zero > {path}/ballast");
    let data = show(&scratch.join("data"));
    let Some(mut command) = mounted(&mounts, serve("127.0.0.1:0").args(["--data", &data])) else {
        return;
    };
    let mut server = Server::spawn(command.stderr(Stdio::null()));
    let ballast = PathBuf::from(format!("/proc/{}/root{path}/ballast", server.id()));
    let count = feed_until_full(&server, 0);
    fs::remove_file(&ballast).expect("it is there");
    let count = check_resumes(&server, count);
    assert!(count > 10_000, "{count} entries in the first segment");
    end(&mut server);
}

/// A snapshot that finds no disk space is given up and retried when there is some; reads and the
/// feed are not affected.
#[test]
fn a_snapshot_without_disk_space_is_retried() {
    let (scratch, aside) = (Scratch::new("full"), Scratch::new("aside"));
    let path = show(&scratch.join(""));
    let mounts = format!(
        "mount -t tmpfs -o size=8m none {path} && head -c 5090000 /dev/zero > {path}/ballast"
    );
    let data = show(&scratch.join("data"));
    let flags = ["--data", &data, "--snapshot-after-mib", "1"];
    let Some(mut command) = mounted(&mounts, serve("127.0.0.1:0").args(flags)) else { return };
    let said = fs::File::create(aside.join("stderr")).expect("it can be created");
    let mut server = Server::spawn(command.stderr(said));
    let inside = PathBuf::from(format!("/proc/{}/root{path}", server.id()));
    let snapshots = || slice_manifest(&inside.join("data"), 0).snapshot;
    // The disk has space for two segments and 150 kB: less than the image of this user, which has
    // 16 bytes for each entry.
    let lines: Vec<_> = (0..20_000).map(|n| credit(n, 1, 1, T)).collect();
    let mut fed = 0;
    for part in lines.chunks(1_000) {
        server.feed(part);
        fed += part.len() as u64;
        assert_eq!(server.ask(get("/v1/users/1/balance")).shown(), balance(1, fed, T, fed as i64));
    }
    let is_given_up = || {
        let said = fs::read_to_string(aside.join("stderr")).expect("text");
        said.contains("No space left on device")
            && said.contains("; the snapshot is abandoned and will be retried")
    };
    assert!(
        becomes_true(is_given_up),
        "{}",
        fs::read_to_string(aside.join("stderr")).expect("text")
    );
    server.check_all_cores_answer();
    let before = snapshots();
    fs::remove_file(inside.join("ballast")).expect("it is there");
    assert!(
        becomes_true(|| snapshots() > before),
        "the disk has space again and no snapshot is taken"
    );
    assert_eq!(server.ask(get("/v1/users/1/balance")).shown(), balance(1, fed, T, fed as i64));
    server.kill();
}

/// System calls that may need space, the files that they are watched on (all if none is given), and
/// every how many of them one fails. The names of calls vary with the machine.
const CALLS: [(&str, Option<&str>, u32); 7] = [
    ("pwrite64", Some(""), 5),
    // Rarely: a segment is prepared only if all of its writes, or opens, succeed.
    ("pwrite64", Some(".new"), 20),
    // A publication that is tried again takes three.
    ("fsync", None, 4),
    ("?ftruncate", None, 2),
    ("openat", None, 9),
    ("?rename,?renameat,?renameat2", None, 2),
    ("?unlink,?unlinkat", None, 2),
];

/// Whatever call finds no space or exceeds a quota, the server goes on, and keeps what it has
/// acknowledged.
#[test]
fn no_call_without_space_stops_the_server() {
    for (number, (calls, files, every)) in CALLS.into_iter().enumerate() {
        let error = ["ENOSPC", "EDQUOT"][number % 2];
        let inject = format!("--inject={calls}:error={error}:when=1+{every}");
        match injected(calls, &inject, files) {
            Some(count) => println!("{calls}: {count} calls failed with {error}"),
            None => {
                return eprintln!("SKIPPED: strace is missing, or may not trace a process here");
            }
        }
    }
}

/// Feeds a server whose system calls fail now and then. Returns how many failed; `None` where no
/// running process may be traced.
fn injected(calls: &str, inject: &str, files: Option<&str>) -> Option<usize> {
    const LINES: u64 = 2_000;
    let scratch = Scratch::new("injected");
    let (data, trace) = (scratch.join("data"), scratch.join("trace"));
    let log = fs::File::create(scratch.join("stderr")).expect("it can be created");
    let mut command = serve("127.0.0.1:0");
    command.args(["--snapshot-after-mib", "1", "--data"]).arg(&data);
    let mut server = Server::spawn(command.stderr(log));
    let slice = fs::canonicalize(data.join("generation-1/slice-0")).expect("it is there");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-p", &server.id().to_string(), "-o"]).arg(&trace);
    strace.args([&format!("--trace={calls}"), inject]);
    if let Some(end) = files {
        (1..30).for_each(|n| _ = strace.arg("-P").arg(slice.join(format!("log-{n}{end}"))));
    }
    let mut strace = strace.stderr(Stdio::piped()).spawn().ok()?;
    let mut said = String::new();
    let stderr = strace.stderr.take().expect("piped");
    BufReader::new(stderr).read_line(&mut said).expect("text");
    if !said.contains("attached") {
        return None;
    }
    // Enough for several segments and snapshots.
    let (mut count, until) = (0, Instant::now() + TIMEOUT);
    while count < 30 * LINES {
        assert!(Instant::now() < until, "{calls}: the feed makes no progress at {count}");
        let lines: Vec<_> = (count..count + LINES).map(|n| credit(n, n % 50, 1, T)).collect();
        let answer = server.ask(feed(entries(&lines)));
        assert!([200, 507].contains(&answer.status()), "{calls}: {}", answer.shown());
        // What a 507 leaves open is sent again.
        count += if answer.status() == 200 { LINES } else { 0 };
        assert_eq!(server.ask(get("/readyz")).shown(), expected::text("ready"), "{calls}");
    }
    assert!(server.is_running(), "{calls}");
    Command::new("kill").arg(strace.id().to_string()).status().expect("it is there");
    strace.wait().expect("it is a child of this process");
    server.kill();
    let injected = fs::read_to_string(&trace).expect("text").matches("(INJECTED)").count();
    assert!(injected > 0, "{calls}");
    let server = Server::with_data(&data, &[]);
    for user in 0..50 {
        let own = count / 50;
        let answer = server.ask(get(&format!("/v1/users/{user}/balance"))).shown();
        assert_eq!(answer, balance(user, own, T, own as i64), "{calls}");
    }
    drop(server);
    sound(&data);
    Some(injected)
}

/// A volume on a loop device, mounted in a mount namespace of its own, which lasts as long as the
/// process that keeps it.
struct Volume {
    keeper: Child,
    path: PathBuf,
    scratch: Scratch,
}

impl Volume {
    /// Makes a volume by `mkfs`, a command whose last argument is the device; `None` where that is
    /// not possible.
    fn make(mkfs: &str) -> Option<Self> {
        let scratch = Scratch::new("volume");
        let (image, path) = (scratch.join("image"), scratch.join("mounted"));
        fs::create_dir(&path).expect("it can be created");
        let sized = fs::File::create(&image).and_then(|file| file.set_len(VOLUME_BYTES));
        sized.expect("a sparse file can be made");
        let script = format!(
            "{mkfs} {image} >/dev/null && mount -o loop {image} {path} && echo mounted && exec cat",
            image = show(&image),
            path = show(&path)
        );
        let keeper = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut volume = Self { keeper: keeper.ok()?, path, scratch };
        let mut line = String::new();
        let out = volume.keeper.stdout.take().expect("piped");
        let is_mounted =
            BufReader::new(out).read_line(&mut line).is_ok_and(|_| line == "mounted\n");
        if !is_mounted {
            eprintln!("SKIPPED: this process may not mount a volume made by: {mkfs}");
            return None;
        }
        Some(volume)
    }

    /// A path in the volume, as the server sees it.
    fn inside(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The same path, as this process sees it.
    fn outside(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{}", self.keeper.id(), show(&self.inside(name))))
    }

    /// A server on the volume's data directory.
    fn serve(&self) -> Server {
        let command = serve("127.0.0.1:0");
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--mount=/proc/{}/ns/mnt", self.keeper.id()));
        inside.arg(command.get_program()).args(command.get_args());
        inside.args(["--snapshot-after-mib", "1", "--data"]).arg(self.inside("data"));
        let log = OpenOptions::new().create(true).append(true).open(self.scratch.join("stderr"));
        Server::spawn(inside.stderr(log.expect("it can be opened")))
    }

    fn stderr(&self) -> String {
        fs::read_to_string(self.scratch.join("stderr")).expect("text")
    }

    /// Takes all free blocks.
    fn fill_blocks(&self) {
        let ballast = fs::File::create(self.outside("ballast")).expect("it can be created");
        let zeros = vec![0; 4 << 20];
        let (mut at, mut bytes) = (0, zeros.len());
        while bytes > 0 {
            match ballast.write_at(&zeros[..bytes], at) {
                Ok(written) => at += written as u64,
                Err(error) if error.kind() == ErrorKind::StorageFull => bytes /= 2,
                Err(error) => panic!("{error}"),
            }
        }
        // What the file system put off may fail now, and give blocks back.
        let _ = ballast.sync_all();
    }

    /// Takes all free inodes.
    fn fill_inodes(&self) {
        let directory = self.outside("ballast");
        fs::create_dir(&directory).expect("it can be created");
        for number in 0.. {
            match fs::File::create(directory.join(number.to_string())) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn make_room(&self) {
        let ballast = self.outside("ballast");
        let removed =
            if ballast.is_dir() { fs::remove_dir_all(&ballast) } else { fs::remove_file(&ballast) };
        removed.expect("it is there");
    }

    /// Fills the volume with `fill` while a server runs, and checks that only the feed stops, also
    /// after a restart, and resumes.
    fn check(self, fill: impl Fn(&Self)) {
        let data = self.outside("data");
        let last = || slice_manifest(&data, 0).last;
        let mut server = self.serve();
        server.feed(&(0..ENTRIES).map(|n| credit(n, 2, 1, T)).collect::<Vec<_>>());
        let has_next = || {
            let next = format!("generation-1/slice-0/log-{}", last() + 1);
            slice_manifest(&data, 0).snapshot > 0 && data.join(next).exists()
        };
        assert!(becomes_true(has_next), "a snapshot is taken, and the next segment prepared");
        let before = last();
        fill(&self);
        let mut count = feed_until_full(&server, 0);
        assert!(last() > before, "a segment was begun on the full volume");
        server.kill();
        let server = self.serve();
        check_balance(&mut server.connect(), count);
        count = feed_until_full(&server, count);
        self.make_room();
        count = check_resumes(&server, count);
        // Enough for further segments and snapshots.
        server.feed(&(count..count + MORE).map(|n| credit(n, 1, 1, T)).collect::<Vec<_>>());
        count += MORE;
        drop(server);
        let server = self.serve();
        check_balance(&mut server.connect(), count);
        let other = server.ask(get("/v1/users/2/balance")).shown();
        assert_eq!(other, balance(2, ENTRIES, T, ENTRIES as i64));
        drop(server);
        sound(&data);
        assert!(self.stderr().contains("No space left on device"), "{}", self.stderr());
    }

    /// The same on a file system that copies on write: there the log itself can be out of space, so
    /// that the outcome of the last entries is unknown until there is some.
    fn check_copy_on_write(self, name: &str) {
        let data = self.outside("data");
        let server = self.serve();
        let is_said = |line: &String| line.contains(&format!("{name} is a copy-on-write"));
        assert!(server.startup_lines.iter().any(is_said), "{:?}", server.startup_lines);
        server.feed(&(0..ENTRIES).map(|n| credit(n, 2, 1, T)).collect::<Vec<_>>());
        self.fill_blocks();
        let check_others = |server: &Server| {
            let other = server.ask(get("/v1/users/2/balance")).shown();
            assert_eq!(other, balance(2, ENTRIES, T, ENTRIES as i64));
            assert_eq!(server.ask(get("/readyz")).shown(), expected::text("ready"));
        };
        let part = |first: u64| {
            let lines: Vec<_> = (first..first + 500).map(|n| credit(n, 1, 1, T)).collect();
            feed(entries(&lines))
        };
        let mut count = 0;
        while server.ask(part(count)).status() == 200 {
            count += 500;
            assert!(count < 500_000, "the disk never gets full");
        }
        let mut refused_heads = 0;
        for _ in 0..20 {
            check_others(&server);
            let own = server.ask(get("/v1/users/1/balance"));
            let is_refused = own.body.contains("\"code\":\"insufficient_storage\"");
            assert_eq!(own.status(), if is_refused { 507 } else { 200 }, "{}", own.shown());
            let mut client = server.connect();
            let head = client.ask("HEAD /v1/users/1/balance HTTP/1.1\r\nHost: x\r\n\r\n");
            if head.status() == 507 {
                // No body follows the head.
                client.is_closed();
                refused_heads += 1;
            }
            assert_eq!(server.ask(part(count)).status(), 507);
            thread::sleep(Duration::from_millis(100));
        }
        assert!(refused_heads > 0, "a read that would show the last entries is refused");
        drop(server);
        let server = self.serve();
        check_others(&server);
        self.make_room();
        // What was acknowledged is there; what was not may be.
        for first in (0..count).step_by(500) {
            let again = server.ask(part(first)).shown();
            assert!(again.contains("\"duplicates\":500,"), "from {first}: {again}");
        }
        assert!(becomes_true(|| server.ask(part(count)).status() == 200), "the feed resumes");
        count += 500;
        server.feed(&(count..count + MORE).map(|n| credit(n, 1, 1, T)).collect::<Vec<_>>());
        count += MORE;
        drop(server);
        let server = self.serve();
        check_balance(&mut server.connect(), count);
        check_others(&server);
        drop(server);
        sound(&data);
        assert!(self.stderr().contains("No space left on device"), "{}", self.stderr());
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // Its mount namespace ends with it, and so does the mount.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

/// Declares a test of a volume for each `mkfs` and each way to fill it.
macro_rules! volumes {
    ($($name:ident $mkfs:literal $fill:ident,)+) => {$(
        #[test]
        fn $name() {
            if let Some(volume) = Volume::make($mkfs) {
                volume.check(Volume::$fill);
            }
        }
    )+};
}

volumes! {
    ext4_out_of_blocks "mkfs.ext4 -q -m 0" fill_blocks,
    ext4_out_of_inodes "mkfs.ext4 -q -N 64" fill_inodes,
    xfs_out_of_blocks "mkfs.xfs -q" fill_blocks,
    xfs_out_of_inodes "mkfs.xfs -q -i maxpct=1" fill_inodes,
}

#[test]
fn btrfs_out_of_blocks() {
    if let Some(volume) = Volume::make("mkfs.btrfs -q") {
        volume.check_copy_on_write("btrfs");
    }
}
