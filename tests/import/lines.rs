//! Blank lines of an import, and `metadata` in lines.

use super::{T, import, listed, run};
use crate::server::client::get;
use crate::server::expected::balance_body;
use crate::server::{Scratch, Server, credit, entries};
use std::fs;
use std::path::Path;

#[test]
fn metadata_is_dropped() {
    let scratch = Scratch::new("import-metadata");
    let with = |id: u64, value: &str| {
        credit(id, 7, 5, T).replace('}', &format!(r#","metadata":{value}}}"#))
    };
    let deep = "[".repeat(128) + &"]".repeat(128);
    let lines = [
        with(1, r#"{"amount":-5,"a":[1E400,-0],"a":"\ud83d\ude00"}"#),
        credit(1, 7, 5, T),
        with(1, "null"),
        with(2, &deep[1..255]),
        with(3, &deep),
        with(4, r#"1,"metadata":1"#),
    ];
    let (data, rejected) = (scratch.join("data"), scratch.join("r"));
    let (code, out, err) =
        run(import(&data).arg("--rejected").args([&rejected, Path::new("-")]), &entries(&lines));
    assert_eq!((code, err.as_str()), (Some(4), ""));
    assert!(out.starts_with("6 lines: 2 accepted, 2 duplicates, 2 rejected; 1 user\n"), "{out}");
    let want = [
        listed("-", 5, "", "invalid_json: too deep", "", &lines[4]),
        listed("-", 6, "", "invalid_json: repeated", "metadata", &lines[5]),
    ];
    assert_eq!(fs::read_to_string(&rejected).unwrap(), want.concat());
    let balance = balance_body(7, 2, T, 10);
    assert_eq!(Server::with_data(&data, &[]).ask(get("/v1/users/7/balance")).body, balance);
}

#[test]
fn blank_lines_are_skipped() {
    let scratch = Scratch::new("import-blank");
    let body = [
        "\n\r\n \t\n".as_bytes(),
        credit(1, 7, 5, T).as_bytes(),
        b"\r\n\r\n",
        &vec![b'\t'; 3 << 20],
        b"\n",
        credit(2, 7, -5, T).as_bytes(),
        b"\n\x0b\n \x0c\n\n \r",
    ]
    .concat();
    let (code, out, err) = run(
        import(&scratch.join("data")).args(["--rejected"]).args([scratch.join("r"), "-".into()]),
        &body,
    );
    assert_eq!((code, err.as_str()), (Some(4), ""));
    assert!(out.starts_with("4 lines: 1 accepted, 0 duplicates, 3 rejected; 1 user\n"), "{out}");
    let want = [
        listed("-", 7, "2", "amount_negative", "amount", &credit(2, 7, -5, T)),
        listed("-", 8, "", "invalid_json: no object", "", "\x0b"),
        listed("-", 9, "", "invalid_json: no object", "", " \x0c"),
    ];
    assert_eq!(fs::read_to_string(scratch.join("r")).unwrap(), want.concat());
    let (code, out, _) = run(import(&scratch.join("none")).arg("-"), b"\n \n");
    assert_eq!(code, Some(0));
    assert!(out.starts_with("0 lines: 0 accepted, 0 duplicates, 0 rejected; 0 users\n"), "{out}");
}
