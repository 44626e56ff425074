//! Input lines of an import, from plain or gzipped files (told apart by their first bytes) or from
//! standard input.

use crate::api::{LINE_BYTES, entry};
use crate::engine::Failure;
use flate2::bufread::MultiGzDecoder;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;

/// Bytes of a line that are shown, or kept to be shown: all of a line that can be an entry.
pub const SHOWN_BYTES: usize = LINE_BYTES;
/// Bytes of one read.
const READ_BYTES: usize = 256 << 10;
/// First bytes of a gzipped file.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// File name that means standard input.
pub const STANDARD: &str = "-";

/// Reader of one file's lines, in order.
pub struct Input {
    name: String,
    reader: Box<dyn BufRead>,
    taken: Rc<Cell<u64>>,
    offset: u64,
    can_be_read_again: bool,
}

/// A line that [`Input::line`] has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputLine {
    /// Offset of its first byte in the file, or in the unpacked text.
    pub offset: u64,
    /// Whether the line is complete. If not, it is longer than [`LINE_BYTES`], and only its
    /// beginning was kept.
    pub is_whole: bool,
    /// Whether the whole line is spaces, tabs and carriage returns.
    pub is_blank: bool,
}

/// Counts the bytes read through it.
struct Counted<R> {
    from: R,
    taken: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(into)?;
        self.taken.set(self.taken.get() + count as u64);
        Ok(count)
    }
}

impl Input {
    /// Opens a file; `-` is standard input. `taken` counts the bytes read from all files.
    pub fn open(name: &str, taken: Rc<Cell<u64>>) -> Result<Self, Failure> {
        let failed = |operation| Failure::of(operation, name);
        let (from, is_file): (Box<dyn Read>, bool) = if name == STANDARD {
            (Box::new(io::stdin()), false)
        } else {
            let file = File::open(name).map_err(failed("open"))?;
            let is_file = file.metadata().map_err(failed("stat"))?.is_file();
            (Box::new(file), is_file)
        };
        let mut from = Counted { from, taken: taken.clone() };
        let mut first = Vec::new();
        from.by_ref().take(GZIP.len() as u64).read_to_end(&mut first).map_err(failed("read"))?;
        let is_packed = first == GZIP;
        let whole = BufReader::with_capacity(READ_BYTES, Cursor::new(first).chain(from));
        let reader: Box<dyn BufRead> = if is_packed {
            Box::new(BufReader::with_capacity(READ_BYTES, MultiGzDecoder::new(whole)))
        } else {
            Box::new(whole)
        };
        Ok(Self {
            name: name.to_owned(),
            reader,
            taken,
            offset: 0,
            can_be_read_again: is_file && !is_packed,
        })
    }

    /// Reads the next line into `line`, without its line feed; `None` after the last.
    pub fn line(&mut self, line: &mut Vec<u8>) -> Result<Option<InputLine>, Failure> {
        line.clear();
        let (start, mut is_whole, mut is_blank) = (self.offset, true, true);
        loop {
            let ahead = match self.reader.fill_buf() {
                Ok(ahead) => ahead,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::new("read", self.name.as_str(), error)),
            };
            if ahead.is_empty() {
                let read = InputLine { offset: start, is_whole, is_blank };
                return Ok((self.offset > start).then_some(read));
            }
            let end = memchr::memchr(b'\n', ahead);
            let part = &ahead[..end.unwrap_or(ahead.len())];
            is_blank = is_blank && entry::is_blank(part);
            if is_whole && line.len() + part.len() <= LINE_BYTES {
                line.extend_from_slice(part);
            } else if is_whole {
                line.extend_from_slice(part);
                line.truncate(SHOWN_BYTES);
                is_whole = false;
            }
            let used = part.len() + usize::from(end.is_some());
            self.reader.consume(used);
            self.offset += used as u64;
            if end.is_some() {
                return Ok(Some(InputLine { offset: start, is_whole, is_blank }));
            }
        }
    }

    /// Bytes read from all files.
    pub fn taken(&self) -> u64 {
        self.taken.get()
    }

    /// Whether [`LineRereader`] can read this file's lines a second time.
    pub const fn can_be_read_again(&self) -> bool {
        self.can_be_read_again
    }
}

/// Reads single lines of plain files a second time.
#[derive(Default)]
pub struct LineRereader {
    open: Option<(PathBuf, File)>,
}

impl LineRereader {
    /// The line that begins at `offset`, up to [`SHOWN_BYTES`].
    pub fn line(&mut self, name: &str, offset: u64) -> Result<Vec<u8>, Failure> {
        if self.open.as_ref().is_none_or(|(path, _)| path.as_os_str() != name) {
            let file = File::open(name).map_err(Failure::of("open", name))?;
            self.open = Some((PathBuf::from(name), file));
        }
        let (_, file) = self.open.as_ref().expect("it was just opened");
        let (mut line, mut limit) = (Vec::new(), 1 << 10);
        loop {
            let before = line.len();
            line.resize(limit, 0);
            let count = match file.read_at(&mut line[before..], offset + before as u64) {
                Err(error) if error.kind() == ErrorKind::Interrupted => 0,
                read => read.map_err(Failure::of("read", name))?,
            };
            line.truncate(before + count);
            if let Some(end) = memchr::memchr(b'\n', &line) {
                line.truncate(end);
                return Ok(line);
            }
            if count == 0 || line.len() >= SHOWN_BYTES {
                return Ok(line);
            }
            limit = (line.len() * 2).min(SHOWN_BYTES);
        }
    }
}
