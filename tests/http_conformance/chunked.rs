//! Chunked bodies: sizes, extensions, data, trailers, their limits. A fault is refused at the byte
//! at which it is seen, a size that is too large before its data comes.

use super::case::{
    BATCH, BATCH_OK, Case, OK, TOO_LARGE, Wanted, batch_head, feed_head, malformed, problem,
};
use crate::server::client::get;
use purser::http::NotHttp as Fault;

/// What may stand between the size of the only chunk and its CRLF.
const EXTENSIONS: &[(&str, Option<Fault>)] = &[
    ("", None),
    (";a", None),
    ("; a", None),
    (" ;a", None),
    ("\t;\t a", None),
    (";a=b", None),
    (";a = b", None),
    (";a\t=\tb", None),
    (";a=\"b\"", None),
    (";a=\"\"", None),
    (";a = \"b c;d=e\"", None),
    (";a=\"\\\"\"", None),
    (";a=\"\\\\\"", None),
    (";a=\"\t\u{fc}\"", None),
    (";a=\"\\\t\\\u{fc}\"", None),
    (";a;b;c", None),
    (";a=b;c=\"d\";e", None),
    (";a=b ; c", None),
    (";!#$%&'*+-.^_`|~09aZ=!#$%&'*+-.^_`|~09aZ", None),
    (";0=0", None),
    (";", Some(Fault::ChunkExtension)),
    ("; ", Some(Fault::ChunkExtension)),
    (";;", Some(Fault::ChunkExtension)),
    (";a;", Some(Fault::ChunkExtension)),
    (";;a", Some(Fault::ChunkExtension)),
    (";a;;b", Some(Fault::ChunkExtension)),
    (";=b", Some(Fault::ChunkExtension)),
    (";a=", Some(Fault::ChunkExtension)),
    (";a= ", Some(Fault::ChunkExtension)),
    (";a=;b", Some(Fault::ChunkExtension)),
    (";a==b", Some(Fault::ChunkExtension)),
    (";a=b=c", Some(Fault::ChunkExtension)),
    (";a b", Some(Fault::ChunkExtension)),
    (";a=b c", Some(Fault::ChunkSpace)),
    (";a ", Some(Fault::ChunkExtension)),
    (";a=b ", Some(Fault::ChunkSpace)),
    (";a=\"b\" ", Some(Fault::ChunkSpace)),
    (";a,b", Some(Fault::ChunkExtension)),
    (";a/b", Some(Fault::ChunkExtension)),
    (";a=b/c", Some(Fault::ChunkExtension)),
    (";a(b)", Some(Fault::ChunkExtension)),
    (";\"a\"=b", Some(Fault::ChunkExtension)),
    (";a='b c'", Some(Fault::ChunkSpace)),
    (";a=\"b", Some(Fault::ChunkExtension)),
    (";a=\"b\\\"", Some(Fault::ChunkExtension)),
    (";a=\"b\"c", Some(Fault::ChunkExtension)),
    (";a=\"b\"\"c\"", Some(Fault::ChunkExtension)),
    (";a=b\"c\"", Some(Fault::ChunkExtension)),
    (";a=\"\x01\"", Some(Fault::ChunkExtension)),
    (";a=\"\\\x01\"", Some(Fault::ChunkExtension)),
    (";a=\"\x7f\"", Some(Fault::ChunkExtension)),
    (";\x01", Some(Fault::ChunkExtension)),
    (";a\0", Some(Fault::ChunkExtension)),
    (";a=\0", Some(Fault::ChunkExtension)),
    (";\u{fc}", Some(Fault::ChunkExtension)),
    (";a=\u{fc}", Some(Fault::ChunkExtension)),
];

/// What comes in place of a chunked batch, and is refused.
const FAULTS: &[(&str, &str, Fault)] = &[
    // Sizes.
    ("no size", "\r\n", Fault::ChunkSize),
    ("a word for a size", "x\r\n", Fault::ChunkSize),
    ("a plus before a size", "+1\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("a minus before a size", "-1\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("a minus before a zero", "-0\r\n\r\n", Fault::ChunkSize),
    ("0x before a size", "0x1\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("0X before a size", "0X1\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("h after a size", "1h\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("an underscore in a size", "0_1\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("a comma in a size", "0,1\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("a point in a size", "1.0\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("a space before a size", " 1\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("a tab before a size", "\t1\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("a quoted size", "\"1\"\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("a NUL after a size", "1\0\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("an extension without a size", ";a\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("a size in wide digits", "\u{ff11}\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("an equals sign after a size", "1=a\r\na\r\n0\r\n\r\n", Fault::ChunkSize),
    ("a second size", "1 1\r\na\r\n0\r\n\r\n", Fault::ChunkSpace),
    ("a space after a size", "1 \r\na\r\n0\r\n\r\n", Fault::ChunkSpace),
    ("a tab after a size", "1\t\r\na\r\n0\r\n\r\n", Fault::ChunkSpace),
    ("a space after the last size", "0 \r\n\r\n", Fault::ChunkSpace),
    ("a bare LF after a size", "1\na\r\n0\r\n\r\n", Fault::BareLf),
    ("a bare LF after an extension", "1;a\na\r\n0\r\n\r\n", Fault::BareLf),
    ("a bare LF in an extension", "1;a=b\n;c\r\na\r\n0\r\n\r\n", Fault::BareLf),
    ("a bare CR after a size", "1\ra\r\n0\r\n\r\n", Fault::BareCr),
    ("two CRs after a size", "1\r\r\na\r\n0\r\n\r\n", Fault::BareCr),
    ("a bare CR in an extension", "1;a\rb\r\na\r\n0\r\n\r\n", Fault::BareCr),
    // Data.
    ("data that is longer than its size", "1\r\nab\r\n0\r\n\r\n", Fault::ChunkEnd),
    ("data that is shorter than its size", "3\r\na\r\n0\r\n\r\n", Fault::ChunkEnd),
    ("no line end after data", "1\r\na0\r\n\r\n", Fault::ChunkEnd),
    ("a bare LF after data", "1\r\na\n0\r\n\r\n", Fault::ChunkEnd),
    ("a bare CR after data", "1\r\na\r0\r\n\r\n", Fault::ChunkEnd),
    ("two other bytes after data", "1\r\naXX0\r\n\r\n", Fault::ChunkEnd),
    ("a space after data", "1\r\na \r\n0\r\n\r\n", Fault::ChunkEnd),
    ("an empty line after a chunk", "1\r\na\r\n\r\n0\r\n\r\n", Fault::ChunkSize),
    // Trailers.
    ("a trailer without a colon", "0\r\nx\r\n\r\n", Fault::TrailerName),
    ("a trailer without a name", "0\r\n: a\r\n\r\n", Fault::TrailerName),
    ("a space before a trailer's colon", "0\r\nx : a\r\n\r\n", Fault::TrailerName),
    ("a space in a trailer's name", "0\r\nx y: a\r\n\r\n", Fault::TrailerName),
    ("a space before a trailer", "0\r\n x: a\r\n\r\n", Fault::TrailerName),
    ("a folded trailer", "0\r\nx: a\r\n b\r\n\r\n", Fault::TrailerName),
    ("a bare LF for the last line", "0\r\n\n", Fault::BareLf),
    ("a request line for a trailer", "0\r\nGET / HTTP/1.1\r\n\r\n", Fault::TrailerName),
    ("a NUL in a trailer", "0\r\nx: a\0\r\n\r\n", Fault::TrailerValue),
    ("a bare LF after a trailer", "0\r\nx: a\n\r\n", Fault::BareLf),
    ("a bare CR in a trailer", "0\r\nx: a\rb\r\n\r\n", Fault::BareCr),
    ("a bare CR for the last line", "0\r\n\rx", Fault::BareCr),
];

/// Sizes of a chunk of which no data comes.
const SIZES: &[(&str, Wanted)] = &[
    ("40001", TOO_LARGE),
    ("00000000000000000000000000000000000040001", TOO_LARGE),
    ("FFFFFFFF", TOO_LARGE),
    ("100000000", TOO_LARGE),
    ("100000005", TOO_LARGE),
    ("7fffffffffffffff", TOO_LARGE),
    ("8000000000000000", TOO_LARGE),
    ("ffffffffffffffff", TOO_LARGE),
    ("FFFFFFFFFFFFFFFE", TOO_LARGE),
    ("10000000000000000", TOO_LARGE),
    ("10000000000000005", TOO_LARGE),
    ("123456789abcdef0123456789abcdef0", TOO_LARGE),
    ("ffffffffffffffffffffffffffffffffffffffffffffffff", TOO_LARGE),
    ("40001;a=b", TOO_LARGE),
];

/// A chunk.
fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

/// The table.
pub fn cases() -> Vec<Case> {
    let head = batch_head("transfer-encoding: chunked\r\n");
    let mut cases = Vec::new();
    for &(extension, fault) in EXTENSIONS {
        let size = BATCH.len();
        let bytes = format!("{head}{size:x}{extension}\r\n{BATCH}\r\n0\r\n\r\n");
        let wanted = fault.map_or(BATCH_OK, malformed);
        cases.push(Case::new(&format!("size and {extension:?}"), bytes, &[wanted]));
        let bytes = format!("{head}{}0{extension}\r\n\r\n", chunk(BATCH));
        cases.push(Case::new(&format!("last size and {extension:?}"), bytes, &[wanted]));
    }
    for &(name, body, kind) in FAULTS {
        cases.push(Case::new(name, format!("{head}{body}"), &[malformed(kind)]));
    }
    for &(size, wanted) in SIZES {
        cases.push(Case::new(
            &format!("size {size} at once"),
            format!("{head}{size}\r\n"),
            &[wanted],
        ));
    }
    cases.extend(bodies(&head));
    cases.extend(limits(&head));
    cases
}

/// Bodies that are accepted.
fn bodies(head: &str) -> Vec<Case> {
    let good = |name: &str, body: String| Case::new(name, format!("{head}{body}"), &[BATCH_OK]);
    let size = BATCH.len();
    let (left, right) = BATCH.split_at(20);
    let bytes: String = BATCH.chars().map(|c| chunk(&c.to_string())).collect();
    let last = "0\r\n\r\n";
    vec![
        good("one chunk", chunk(BATCH) + last),
        good("two chunks", chunk(left) + &chunk(right) + last),
        good("a chunk for each byte", bytes + last),
        good(
            "an upper-case size",
            format!("{:X}\r\n{}\r\n{last}", size + 10, BATCH.to_owned() + "          "),
        ),
        good("a size with leading zeros", format!("0000{}{last}", chunk(BATCH))),
        good("a size with 200 leading zeros", "0".repeat(200) + &chunk(BATCH) + last),
        good("a last size of many zeros", chunk(BATCH) + &"0".repeat(200) + "\r\n\r\n"),
        good("a trailer", chunk(BATCH) + "0\r\nx: a\r\n\r\n"),
        good("trailers", chunk(BATCH) + "0\r\nx: a\r\ny:\r\nz:\t \u{fc} \r\n\r\n"),
        // Trailers change nothing.
        good("a length for a trailer", chunk(BATCH) + "0\r\ncontent-length: 99\r\n\r\n"),
        good(
            "a coding for a trailer",
            chunk(BATCH) + "0\r\ntransfer-encoding: chunked\r\nhost: b\r\n\r\n",
        ),
        good("a close for a trailer", chunk(BATCH) + "0\r\nconnection: close\r\n\r\n"),
        Case::new(
            "a request behind the last line",
            format!("{head}{}{last}{}", chunk(BATCH), get("/healthz")),
            &[BATCH_OK, OK],
        ),
        Case::new(
            "a request behind trailers",
            format!("{head}{}0\r\nx: a\r\n\r\n{}", chunk(BATCH), get("/healthz")),
            &[BATCH_OK, OK],
        ),
    ]
}

/// The limits of size lines, bodies and trailers.
fn limits(head: &str) -> Vec<Case> {
    let too_large = problem(431, "header_fields_too_large").closes();
    let line = |bytes: usize| {
        let size = format!("{:x};", BATCH.len());
        let name = "a".repeat(bytes - size.len());
        format!("{head}{size}{name}\r\n{BATCH}\r\n0\r\n\r\n")
    };
    let trailer = |bytes: usize| {
        let rest = "x: \r\n\r\n".len();
        format!("{head}{}0\r\nx: {}\r\n\r\n", chunk(BATCH), "a".repeat(bytes - rest))
    };
    let full = format!("{BATCH}{}", " ".repeat((256 << 10) - BATCH.len()));
    let feed = feed_head("transfer-encoding: chunked\r\n");
    vec![
        Case::new("a size line of 256 bytes", line(256), &[BATCH_OK]),
        Case::new("a longer size line", line(257), &[malformed(Fault::ChunkLineTooLong)]),
        Case::new(
            "a size of too many zeros",
            format!("{head}{}", "0".repeat(300)),
            &[malformed(Fault::ChunkLineTooLong)],
        ),
        Case::new("trailers of 4 KiB", trailer(4_096), &[BATCH_OK]),
        Case::new("longer trailers", trailer(4_097), &[too_large]),
        Case::new(
            "trailers that do not end",
            format!("{head}0\r\n{}", "x: a\r\n".repeat(900)),
            &[too_large],
        ),
        Case::new("a full body", format!("{head}{}0\r\n\r\n", chunk(&full)), &[BATCH_OK]),
        Case::new("a byte more at once", format!("{head}{}1\r\n", chunk(&full)), &[TOO_LARGE]),
        Case::new("a feed's size at once", format!("{feed}800001\r\n"), &[TOO_LARGE]),
    ]
}
