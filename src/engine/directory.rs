//! Data directory: lock, manifests, and the paths of each slice's files.
//!
//! One process at a time holds the lock. A manifest is replaced atomically, and files that it does
//! not name do not count. A directory that is neither empty nor ours is left as it is; what a fresh
//! volume holds does not count ([`is_of_volume`]).

use super::Failure;
use crate::journal::manifest::{self, ManifestError};
use crate::journal::{self, Fault, Place, generation_directory, parse_generation, slice_directory};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Time to wait for another process to release the lock: the kernel may hold files a moment past
/// the exit of the process that had them open.
const LOCK_TIMEOUT: Duration = Duration::from_secs(2);
/// File name of both kinds of manifest.
pub const MANIFEST: &str = "manifest";
/// File name under which a manifest is written, before it replaces the current one. In the
/// directory of a slice the file stays, and its disk space with it: see
/// [`SliceDirectory::publish`].
pub const NEW_MANIFEST: &str = "manifest.new";
/// File name of the lock of a data directory.
pub const LOCK: &str = "lock";
/// The directory of a relative path without one.
const CURRENT_DIRECTORY: &str = ".";
const FIRST_GENERATION: u64 = 1;

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operating system call failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// Another process uses the directory.
    #[error("{0} is in use by another process")]
    InUse(PathBuf),
    /// The directory holds files, but no manifest.
    #[error(
        "{0} holds files but no manifest: this is not a data directory, or its manifest was lost"
    )]
    NoManifest(PathBuf),
    /// The manifest at this path cannot be used.
    #[error("{} {}", .0.display(), what_is_wrong(*.1))]
    Manifest(PathBuf, ManifestError),
    /// A file that a manifest names, or the manifest itself, does not exist.
    #[error("{0} is missing")]
    Missing(PathBuf),
    /// The operation was cancelled on request. The directory is unchanged.
    #[error("stopped: {0} is unchanged")]
    Stopped(PathBuf),
}

/// Text of a manifest error, to follow the manifest's path.
fn what_is_wrong(why: ManifestError) -> String {
    match why {
        ManifestError::Malformed => "is damaged or was edited".to_owned(),
        ManifestError::Version(version) => {
            format!(
                "has format version {version}; this program reads version {}",
                manifest::VERSION
            )
        }
        ManifestError::Hash(version) => format!(
            "distributes users by hash version {version}; this program uses version {}",
            manifest::HASH_VERSION
        ),
        ManifestError::Elsewhere(generation, slice) => {
            format!("belongs to slice {slice} of generation {generation}")
        }
        ManifestError::Older(generation) => {
            format!("is outdated: files of the newer generation {generation} exist")
        }
    }
}

/// An open data directory, locked by this process until it is dropped.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    manifest: manifest::DataManifest,
    _lock: File,
}

/// The directory of one slice's files.
#[derive(Clone, Debug)]
pub struct SliceDirectory {
    /// The path of the directory.
    pub path: PathBuf,
    /// Generation and slice.
    pub place: Place,
    /// The number of slices of the generation.
    pub slices: u32,
}

impl Directory {
    /// Opens a data directory, or creates one with `slices` slices if there is none.
    pub fn open_or_create(path: &Path, slices: u32) -> Result<Self, Error> {
        make_all(path)?;
        if !path.join(MANIFEST).exists() {
            // Checked before the lock file is created: a foreign directory is left as it is.
            check_unused(path)?;
        }
        let lock = lock(path)?;
        // A process killed between a rename and its sync leaves the sync to this one. Nothing that
        // an earlier manifest names is removed before.
        sync(path)?;
        if !path.join(MANIFEST).exists() {
            create(path, slices)?;
        }
        Self::load(path, lock)
    }

    /// Opens an existing data directory.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !path.join(MANIFEST).exists() {
            return Err(Error::Missing(path.join(MANIFEST)));
        }
        Self::load(path, lock(path)?)
    }

    fn load(path: &Path, lock: File) -> Result<Self, Error> {
        Ok(Self { path: path.to_owned(), manifest: Self::manifest_at(path)?, _lock: lock })
    }

    /// The contents of the directory's manifest.
    pub const fn manifest(&self) -> &manifest::DataManifest {
        &self.manifest
    }

    /// The directory of a slice of the current generation.
    pub fn slice(&self, slice: u32) -> SliceDirectory {
        self.slice_by(&self.manifest, slice)
    }

    /// The directory of a slice under the given manifest, which need not be published yet.
    pub(super) fn slice_by(&self, manifest: &manifest::DataManifest, slice: u32) -> SliceDirectory {
        let manifest::DataManifest { generation, slices } = *manifest;
        let path = self.path.join(slice_directory(generation, slice));
        SliceDirectory { path, place: Place { generation, slice, file: 0 }, slices }
    }

    /// The path of a generation, which need not exist.
    pub fn generation(&self, generation: u64) -> PathBuf {
        self.path.join(generation_directory(generation))
    }

    /// The path of the data directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The generations on disk that the manifest does not name: left by a crash, and removed by the
    /// next start. An error if one of them cannot come from a crash: the manifest is then not to be
    /// trusted.
    pub fn unnamed(&self) -> Result<Vec<u64>, Error> {
        let mut unnamed = Vec::new();
        for (name, path) in list(&self.path)? {
            let Some(generation) = parse_generation(&name).filter(|_| path.is_dir()) else {
                continue;
            };
            let is_named = self.manifest.names(generation, has_log(&path)?);
            if !is_named.map_err(|why| Error::Manifest(self.path.join(MANIFEST), why))? {
                unnamed.push(generation);
            }
        }
        unnamed.sort_unstable();
        Ok(unnamed)
    }

    /// Replaces the manifest. From then on only the files that the new one names count.
    pub(super) fn publish(&mut self, manifest: manifest::DataManifest) -> Result<(), Failure> {
        replace(&self.path, MANIFEST, &manifest.write())?;
        self.manifest = manifest;
        Ok(())
    }

    /// The number of the next generation.
    pub(super) fn next_generation(&self) -> Result<u64, Error> {
        let next = self.manifest.generation.checked_add(1);
        next.ok_or_else(|| Error::Manifest(self.path.join(MANIFEST), ManifestError::Malformed))
    }

    /// The manifest of the data directory at `path`, read from the disk.
    pub(super) fn manifest_at(path: &Path) -> Result<manifest::DataManifest, Error> {
        let file = path.join(MANIFEST);
        let text = fs::read(&file).map_err(Failure::at("read", &file))?;
        manifest::DataManifest::decode(&text).map_err(|why| Error::Manifest(file, why))
    }
}

impl SliceDirectory {
    /// Replaces a fault's file name by the file's full path.
    pub fn locate(&self, fault: Fault) -> Fault {
        Fault { file: self.path.join(fault.file).display().to_string(), ..fault }
    }

    /// The failure for a fault in a file of the slice.
    pub fn unloadable(&self, fault: Fault) -> Failure {
        let Fault { file, offset, what } = self.locate(fault);
        Failure::new(
            "load",
            file,
            io::Error::new(ErrorKind::InvalidData, format!("byte {offset}: {what}")),
        )
    }

    /// The contents of the slice's manifest, read from the disk.
    pub fn manifest(&self) -> Result<manifest::SliceManifest, Error> {
        let file = self.path.join(MANIFEST);
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::Missing(file)),
            Err(error) => {
                return Err(Failure::new("read", file.display().to_string(), error).into());
            }
        };
        manifest::SliceManifest::decode(&text, self.place).map_err(|why| Error::Manifest(file, why))
    }

    /// The files on disk that the slice's manifest does not name: left by a crash, and removed by
    /// the next start. A failure if one of them cannot come from a crash.
    pub(super) fn unnamed(
        &self,
        manifest: &manifest::SliceManifest,
    ) -> Result<Vec<PathBuf>, Failure> {
        let mut unnamed = Vec::new();
        for (name, path) in list(&self.path)? {
            let is_named = match journal::File::parse(&name) {
                Some(file) => manifest.names(file).map_err(|fault| {
                    let error = io::Error::new(ErrorKind::InvalidData, fault.what);
                    Failure::new("load", path.display().to_string(), error)
                })?,
                None => name == NEW_MANIFEST || !name.ends_with(".new"),
            };
            if !is_named {
                unnamed.push(path);
            }
        }
        Ok(unnamed)
    }

    /// Replaces the slice's manifest atomically, by swapping it with a file that stays: the next
    /// manifest is written over the old one. So a publication needs neither a free block nor a free
    /// inode, except on a copy-on-write file system.
    pub fn publish(&self, text: &str) -> Result<(), Failure> {
        let (new, file) = (self.path.join(NEW_MANIFEST), self.path.join(MANIFEST));
        let swap = || -> io::Result<()> {
            overwrite(&new, text)?;
            match renameat_with(CWD, &new, CWD, &file, RenameFlags::EXCHANGE) {
                // There is no manifest yet, or the file system (NFS) cannot swap.
                Err(Errno::NOENT | Errno::INVAL | Errno::NOSYS) => fs::rename(&new, &file),
                swapped => Ok(swapped?),
            }
        };
        swap().map_err(Failure::at("replace", &file))?;
        sync(&self.path)
    }

    /// Reserves the disk space of publications: makes the file that the next one overwrites, if it
    /// is not there.
    pub(super) fn reserve_publication(
        &self,
        manifest: &manifest::SliceManifest,
    ) -> Result<(), Failure> {
        let new = self.path.join(NEW_MANIFEST);
        if fs::metadata(&new).is_ok_and(|found| found.len() > 0) {
            return Ok(());
        }
        overwrite(&new, &manifest.write(self.place)).map_err(Failure::at("reserve", &new))?;
        sync(&self.path)
    }
}

fn lock(path: &Path) -> Result<File, Error> {
    let file = path.join(LOCK);
    let failed = |operation| Failure::at(operation, &file);
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&file)
        .map_err(failed("open"))?;
    let until = Instant::now() + LOCK_TIMEOUT;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if Instant::now() < until => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => return Err(Error::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed("lock")(error).into()),
        }
    }
}

/// Whether an entry at the top of a data directory belongs to the volume that is mounted there,
/// rather than to another program's data. It does not count, and is left as it is.
///
/// - `lost+found`: `mkfs` makes this directory on every ext2 to ext4 volume.
/// - Hidden names: snapshot directories of file systems and file servers (`.snapshots`, `.zfs`),
///   files that an NFS client keeps while they are open (`.nfs…`), trash directories, and marks of
///   deployment tools (`.gitkeep`, `..data`). No file of a data directory is hidden, so nothing of
///   ours is overlooked.
pub fn is_of_volume(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let is_directory = || path.symlink_metadata().is_ok_and(|found| found.is_dir());
    name.starts_with(b".") || (name == b"lost+found" && is_directory())
}

/// Fails unless a directory without a manifest holds at most what belongs to its volume and the
/// remains of an interrupted [`create`]: slices that never had data.
fn check_unused(path: &Path) -> Result<(), Error> {
    for (name, entry) in list(path)?.into_iter().filter(|(_, entry)| !is_of_volume(entry)) {
        let is_left = match name.as_str() {
            LOCK | NEW_MANIFEST => true,
            "generation-1" => list(&entry)?
                .iter()
                .try_fold(true, |all, (_, slice)| Ok::<_, Failure>(all && is_unused(slice)?))?,
            _ => false,
        };
        if !is_left {
            return Err(Error::NoManifest(path.to_owned()));
        }
    }
    Ok(())
}

fn is_unused(slice: &Path) -> Result<bool, Failure> {
    let number =
        slice.file_name().and_then(|name| name.to_str()?.strip_prefix("slice-")?.parse().ok());
    let is_first = |file: &PathBuf| {
        let first = |slice| empty(Place { generation: FIRST_GENERATION, slice, file: 0 });
        fs::read(file).is_ok_and(|text| number.is_some_and(|slice| text == first(slice).as_bytes()))
    };
    Ok(list(slice)?
        .iter()
        .all(|(name, file)| name == NEW_MANIFEST || (name == MANIFEST && is_first(file))))
}

/// The manifest of a slice that never had data.
fn empty(place: Place) -> String {
    manifest::SliceManifest::default().write(place)
}

/// Whether any slice of a generation has a segment.
fn has_log(generation: &Path) -> Result<bool, Failure> {
    for (_, slice) in list(generation)?.iter().filter(|(_, slice)| slice.is_dir()) {
        if list(slice)?
            .iter()
            .any(|(name, _)| matches!(journal::File::parse(name), Some(journal::File::Segment(_))))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The entries of a directory: names and paths.
fn list(path: &Path) -> Result<Vec<(String, PathBuf)>, Failure> {
    let entries = fs::read_dir(path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let entries = entries.map_err(Failure::at("list", path))?;
    Ok(entries
        .iter()
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .collect())
}

/// Creates a directory and those above it that are missing, from the top. The name of each is on
/// stable storage before the next one is made. So a process killed meanwhile leaves at most one
/// name that is not, that of the last directory made, which is synced first.
fn make_all(path: &Path) -> Result<(), Failure> {
    let above =
        path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new(CURRENT_DIRECTORY));
    sync_name(above)?;
    let is_missing = |path: &&Path| !path.as_os_str().is_empty() && !path.is_dir();
    let missing: Vec<_> = path.ancestors().take_while(is_missing).collect();
    for made in missing.into_iter().rev() {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        let make = || -> io::Result<()> {
            // Opened first: nothing is made whose name cannot be synced.
            let above = File::open(above.unwrap_or(Path::new(CURRENT_DIRECTORY)))?;
            match fs::create_dir(made) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists && made.is_dir() => {}
                done => done?,
            }
            above.sync_all()
        };
        make().map_err(Failure::at("create", path))?;
    }
    Ok(())
}

/// Makes an empty directory a data directory: the slices first, the manifest last. The remains of
/// an interrupted attempt, perhaps with more slices, are removed.
fn create(path: &Path, slices: u32) -> Result<(), Error> {
    check_unused(path)?;
    let generation = FIRST_GENERATION;
    remove(&path.join(generation_directory(generation)))?;
    for slice in 0..slices {
        let directory = path.join(slice_directory(generation, slice));
        fs::create_dir_all(&directory).map_err(Failure::at("create", &directory))?;
        replace(&directory, MANIFEST, &empty(Place { generation, slice, file: 0 }))?;
    }
    sync(&path.join(generation_directory(generation)))?;
    sync(path)?;
    Ok(replace(path, MANIFEST, &manifest::DataManifest { generation, slices }.write())?)
}

/// Writes a text over what a file holds, and syncs it. The file keeps the blocks that it has.
fn overwrite(path: &Path, text: &str) -> io::Result<()> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    file.write_all_at(text.as_bytes(), 0)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

/// Replaces a file atomically: after a crash there is either the old or the new one, and after the
/// call the new one.
fn replace(directory: &Path, name: &str, text: &str) -> Result<(), Failure> {
    let (new, file) = (directory.join(format!("{name}.new")), directory.join(name));
    let write = || -> io::Result<()> {
        let mut out = File::create(&new)?;
        out.write_all(text.as_bytes())?;
        out.sync_all()?;
        fs::rename(&new, &file)
    };
    write().map_err(Failure::at("replace", &file))?;
    sync(directory)
}

/// Removes a directory with its contents, if it exists.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Failure::new("remove", path.display().to_string(), error))
        }
        _ => Ok(()),
    }
}

/// Syncs the name of a file or directory that may have been made by somebody else. A directory
/// that this user may not read was not changed by them, and a file system that cannot sync its
/// directories (automounts, `/proc`) keeps none on disk: then there is nothing to do.
pub fn sync_name(path: &Path) -> Result<(), Failure> {
    let path = fs::canonicalize(path).map_err(Failure::at("find", path))?;
    let Some(above) = path.parent() else { return Ok(()) };
    match File::open(above).and_then(|above| above.sync_all()) {
        Err(error)
            if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::InvalidInput) =>
        {
            Ok(())
        }
        synced => synced.map_err(Failure::at("sync", above)),
    }
}

/// Syncs a directory: the names in it are then on stable storage.
pub(super) fn sync(directory: &Path) -> Result<(), Failure> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(Failure::at("sync", directory))
}
