//! File of rejected lines: one JSON object per line.

use super::input::SHOWN_BYTES;
use crate::api::problem::{Code, Problem};
use crate::engine::Failure;
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
    /// The reason as one sentence.
    pub detail: &'a str,
    /// Text of the line; at most [`SHOWN_BYTES`] of it are written.
    pub text: &'a [u8],
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
        let mut text = Vec::with_capacity(256 + line.text.len());
        text.extend_from_slice(b"{\"file\":");
        quote(&mut text, line.file.as_bytes());
        text.extend_from_slice(format!(",\"line\":{},\"entry_id\":", line.number).as_bytes());
        quote(&mut text, line.entry_id);
        text.extend_from_slice(format!(",\"code\":\"{}\",\"field\":", code.name()).as_bytes());
        quote(&mut text, line.problem.field.as_bytes());
        text.extend_from_slice(b",\"detail\":");
        quote(&mut text, line.detail.as_bytes());
        text.extend_from_slice(b",\"text\":");
        quote(&mut text, &line.text[..line.text.len().min(SHOWN_BYTES)]);
        text.extend_from_slice(b"}\n");
        out.write_all(&text).map_err(failed("write"))?;
        *self.by_code.entry(code.name()).or_default() += 1;
        Ok(())
    }

    /// Brings the file to stable storage.
    pub fn finish(&mut self) -> Result<(), Failure> {
        let Some(out) = &mut self.out else { return Ok(()) };
        out.flush()
            .and_then(|()| out.get_ref().sync_all())
            .map_err(Failure::at("write", &self.path))
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

/// Appends a JSON string. Bytes that are not UTF-8 become U+FFFD.
fn quote(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    for byte in String::from_utf8_lossy(text).bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_quoted_as_valid_json() {
        for (text, quoted) in [
            (&b""[..], r#""""#),
            (br#"{"a":"\n"}"#, r#""{\"a\":\"\\n\"}""#),
            (b"a\tb\r\x00\x1f\x7f", "\"a\\u0009b\\u000d\\u0000\\u001f\x7f\""),
            ("é".as_bytes(), "\"é\""),
            (b"a\xff\xc3", "\"a\u{fffd}\u{fffd}\""),
        ] {
            let mut out = Vec::new();
            quote(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), quoted);
        }
    }
}
