//! File of rejected lines: one JSON object per line.

use super::input::SHOWN_BYTES;
use crate::api::problem::{Code, Problem};
use crate::engine::Failure;
use crate::engine::directory::sync_name;
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writer of the rejected lines. The file is created with the first of them.
#[derive(Debug)]
pub struct Rejected {
    path: PathBuf,
    out: Option<BufWriter<File>>,
    by_code: BTreeMap<&'static str, u64>,
}

/// A rejected line.
#[derive(Debug)]
pub struct RejectedLine<'a> {
    /// Name of its file, as given on the command line.
    pub file: &'a str,
    /// Its number there, from 1.
    pub number: u64,
    /// The entry's id as it was sent; empty if it is not valid.
    pub entry_id: &'a [u8],
    /// Reason of the rejection.
    pub problem: Problem,
    /// Text of the line; at most [`SHOWN_BYTES`] of it are written.
    pub text: &'a [u8],
}

/// The members of a line of the file. Bytes that are not UTF-8 become U+FFFD.
#[derive(Serialize)]
struct Members<'a> {
    file: &'a str,
    line: u64,
    entry_id: Cow<'a, str>,
    code: &'static str,
    field: Cow<'a, str>,
    detail: &'a str,
    text: Cow<'a, str>,
}

impl Rejected {
    /// A writer without lines; no file is created yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, out: None, by_code: BTreeMap::new() }
    }

    pub fn add(&mut self, line: &RejectedLine<'_>) -> Result<(), Failure> {
        let failed = |operation| Failure::at(operation, &self.path);
        let out = match &mut self.out {
            Some(out) => out,
            none => {
                none.insert(BufWriter::new(File::create(&self.path).map_err(failed("create"))?))
            }
        };
        let code: Code = line.problem.code;
        let text = &line.text[..line.text.len().min(SHOWN_BYTES)];
        let members = Members {
            file: line.file,
            line: line.number,
            entry_id: String::from_utf8_lossy(line.entry_id),
            code: code.name(),
            field: String::from_utf8_lossy(line.problem.field.as_bytes()),
            detail: code.detail(),
            text: String::from_utf8_lossy(text),
        };
        let mut text = sonic_rs::to_vec(&members).expect("text and a number have a JSON form");
        text.push(b'\n');
        out.write_all(&text).map_err(failed("write"))?;
        *self.by_code.entry(code.name()).or_default() += 1;
        Ok(())
    }

    /// Brings the file and its name to stable storage.
    pub fn finish(&mut self) -> Result<(), Failure> {
        let Some(out) = &mut self.out else { return Ok(()) };
        out.flush()
            .and_then(|()| out.get_ref().sync_all())
            .map_err(Failure::at("write", &self.path))?;
        sync_name(&self.path)
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of lines by code.
    pub const fn by_code(&self) -> &BTreeMap<&'static str, u64> {
        &self.by_code
    }

    /// Number of lines.
    pub fn count(&self) -> u64 {
        self.by_code.values().sum()
    }
}
