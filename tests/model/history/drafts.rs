//! Feed lines as lists of members, written plainly, in another form of equal meaning, or malformed.
//!
//! A draft knows JSON's syntax, not the ledger's rules: the verdict on a malformed line is the
//! model's.

use super::Random;

/// A well-formed line as sent, and its draft.
#[derive(Clone, Debug)]
pub struct Sent {
    pub draft: Draft,
    pub line: Vec<u8>,
}

/// Values that break the grammar of numbers, or only look like it.
const BAD_NUMBERS: [&str; 20] = [
    "01", "+1", ".5", "1.", "1e", "-", "- 1", "0x10", "NaN", "Infinity", "1_000", "00", "-01",
    "1e+", "1.2.3", "1e5e", "5n", "-x", "1 2", "1:",
];

/// Values that break the grammar of strings and literals, by kind.
const BAD_TEXTS: [&[&str]; 4] = [
    &[
        r#""\ud800""#,
        r#""\udc00\ud800""#,
        r#""\ud800x""#,
        r#""\ud800\u0041""#,
        r#""\ud800\n""#,
        r#""\ud800\x""#,
    ],
    &[
        r#""\x41""#,
        r#""\u00g0""#,
        r#""\u12""#,
        r#""\'""#,
        "\"\\\u{e9}\"",
        r#""\U0041""#,
        r#""\ud800\u00g0""#,
    ],
    &["\"\t\"", "\"\u{1}\"", "\"12345678\0\""],
    &["\"open", r#""\"#, "'coin'", "tru", "nulL", "True", "null1"],
];

/// Lines that end early or whose encoding is wrong.
const CUT_OR_CODED: [&[u8]; 10] = [
    b"\xef\xbb\xbf",
    b"\xef\xbb\xbf\xff",
    b"[01,\xff",
    b"{} \xc2\xa0",
    b"{\"a\":tru",
    b"{\"a\":-",
    b"{\"a\":1.",
    b"{\"a\":\"\\u00",
    b"{\"a\":\"\\ud83d\\",
    b"{\"a\":\"\\ud83d\\u00",
];

/// Values that `metadata` may have.
const METADATA: [&str; 12] = [
    "null",
    "false",
    "-0",
    "1e400",
    "-12.50E-7",
    r#""""#,
    r#""\ud83d\ude00\u0000é""#,
    "[]",
    "{}",
    r#"[1, {"a":[true,"]"]}, "}"]"#,
    r#"{"a":1,"a":{"entry_id":"9","entry_id":9}}"#,
    r#"{"amount":-5,"metadata":{"metadata":"x"}}"#,
];

/// Texts that are no entry ids, or look as if they were none.
const ODD_IDS: [&str; 31] = [
    "",
    "00",
    "01",
    "-1",
    "+1",
    " 1",
    "1 ",
    "1.0",
    "0x1",
    "340282366920938463463374607431768211456",
    "340282366920938463463374607431768211455",
    "0192f0c1-0000-7000-8000-00000000000",
    "0192f0c1-0000-7000-8000-0000000000000",
    "0192f0c1000070008000000000000000",
    "{0192f0c1-0000-7000-8000-000000000000}",
    "0192f0c10-000-7000-8000-000000000000",
    "0192f0c1-0000-7000-8000-00000000000g",
    "0192f0c1_0000_7000_8000_000000000000",
    "00000000-0000-0000-0000-000000000000",
    "urn:uuid:0192f0c1-0000-7000-8000-000000000000",
    "99999999999999999999999999999999",
    "\u{660}",
    "1\0",
    "+192f0c1-0000-7000-8000-000000000000",
    "10000000000000000000000000000000000000000",
    "tx9:1",
    "a b",
    "a\"b",
    "a\\b",
    "~",
    "\u{7f}",
];

/// Lists or objects within each other, about as many as JSON may have here.
fn nested(random: &mut Random) -> String {
    let depth = 124 + random.below(7);
    let (open, close) = random.pick(&[("[", "]"), ("{\"a\":", "}")]);
    let inner = if open == "[" { "" } else { "0" };
    open.repeat(depth) + inner + &close.repeat(depth)
}

fn bad_text(random: &mut Random) -> &'static str {
    let kind = random.pick(&BAD_TEXTS);
    random.pick(kind)
}

/// A value that is mostly not JSON.
pub(super) fn bad_value(random: &mut Random) -> String {
    match random.below(6) {
        0 => random.pick(&BAD_NUMBERS).to_owned(),
        1 => nested(random),
        _ => bad_text(random).to_owned(),
    }
}

/// A text that is cut at one byte, or has a byte more or less.
pub(super) fn with_one_byte_wrong(mut text: Vec<u8>, random: &mut Random) -> Vec<u8> {
    let at = random.below(text.len());
    match random.below(4) {
        0 => text.truncate(at),
        1 => text.insert(at, random.pick(b"\x00\x01\x0b\x0c\x7f,:\"{}[]0-\\")),
        2 => text.insert(at, random.pick(b"\xff\x80\xc3")),
        _ => drop(text.remove(at)),
    }
    text
}

/// Members in order, each a decoded name and a value.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    members: Vec<(String, Value)>,
}

#[derive(Clone, Debug)]
enum Value {
    Text(String),
    /// JSON text, well-formed or not.
    Raw(String),
}

/// A 128-bit id as a UUID, in lower, upper or mixed case, or as a decimal.
pub fn id_text(id: u128, random: &mut Random) -> String {
    let hex = format!("{id:032x}");
    let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    match random.below(5) {
        0 | 1 => uuid,
        2 => uuid.to_uppercase(),
        3 => uuid
            .chars()
            .map(|letter| match random.percent(50) {
                true => letter.to_ascii_uppercase(),
                false => letter,
            })
            .collect(),
        _ => id.to_string(),
    }
}

/// The value of any valid id.
fn id_of(text: &str) -> Option<u128> {
    super::super::entry::id(text)
}

fn quoted(text: &str) -> String {
    let written: String = text.chars().map(written).collect();
    format!("\"{written}\"")
}

/// One character of a JSON string, escaped only if it must be.
fn written(letter: char) -> String {
    match letter {
        '"' | '\\' => format!("\\{letter}"),
        '\0'..='\x1f' => format!("\\u{:04x}", u32::from(letter)),
        _ => letter.to_string(),
    }
}

/// The JSON string with some characters as `\u` escapes.
fn escaped(text: &str, random: &mut Random) -> String {
    let mut line = String::from("\"");
    for letter in text.chars() {
        if !random.percent(25) {
            line += &written(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut [0; 2]) {
            line += &match random.percent(50) {
                true => format!("\\u{unit:04x}"),
                false => format!("\\u{unit:04X}"),
            };
        }
    }
    line + "\""
}

impl Draft {
    fn set(&mut self, name: &str, value: Value) {
        match self.members.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.members.push((name.to_owned(), value)),
        }
    }

    pub fn set_text(&mut self, name: &str, text: impl Into<String>) {
        self.set(name, Value::Text(text.into()));
    }

    pub fn set_number(&mut self, name: &str, number: impl ToString) {
        self.set_raw(name, number.to_string());
    }

    pub fn set_raw(&mut self, name: &str, text: impl Into<String>) {
        self.set(name, Value::Raw(text.into()));
    }

    fn remove(&mut self, name: &str) {
        self.members.retain(|(known, _)| known != name);
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.members.iter().find_map(|(known, value)| match value {
            Value::Text(text) if known == name => Some(text.as_str()),
            _ => None,
        })
    }

    fn number(&self, name: &str) -> i128 {
        let number = self.members.iter().find_map(|(known, value)| match value {
            Value::Raw(text) if known == name => text.parse().ok(),
            _ => None,
        });
        number.unwrap_or_default()
    }

    /// Plain form: no white space, members in order.
    pub fn plain(&self) -> String {
        let members: Vec<String> = self
            .members
            .iter()
            .map(|(name, value)| match value {
                Value::Text(text) => format!("{}:{}", quoted(name), quoted(text)),
                Value::Raw(raw) => format!("{}:{raw}", quoted(name)),
            })
            .collect();
        format!("{{{}}}", members.join(","))
    }

    /// Another form of equal meaning: other order, white space, escapes.
    pub fn restyled(&self, random: &mut Random) -> Vec<u8> {
        let mut members = self.members.clone();
        if random.percent(70) {
            random.shuffle(&mut members);
        }
        let escapes = random.percent(60);
        let spaces = random.percent(60);
        let space = |random: &mut Random| match spaces {
            true => random.pick(&["", "", " ", "  ", "\t", "\r"]),
            false => "",
        };
        let mut line = format!("{}{{", space(random));
        for (index, (name, value)) in members.iter().enumerate() {
            let write = |text: &str, random: &mut Random| match escapes && random.percent(30) {
                true => escaped(text, random),
                false => quoted(text),
            };
            line += if index > 0 { "," } else { "" };
            line += space(random);
            line += &write(name, random);
            line += space(random);
            line += ":";
            line += space(random);
            line += &match value {
                Value::Text(text) => write(text, random),
                Value::Raw(raw) => raw.clone(),
            };
            line += space(random);
        }
        line += "}";
        line += space(random);
        line.into_bytes()
    }

    /// Rewrites the ids in another form of equal value.
    pub fn spell_ids_otherwise(&mut self, random: &mut Random) {
        for name in ["entry_id", "pending_id"] {
            if let Some(id) = self.text(name).and_then(id_of) {
                self.set_text(name, id_text(id, random));
            }
        }
    }

    /// Adds or removes the optional state `posted`.
    pub fn spell_state_otherwise(&mut self) {
        match self.text("state") {
            None => self.set_text("state", "posted"),
            Some("posted") => self.remove("state"),
            Some(_) => {}
        }
    }

    /// Adds `metadata`, or gives it another value.
    pub fn add_metadata(&mut self, random: &mut Random) {
        let value = match random.below(8) {
            // As deep as may be, with the line's object.
            0 => "[".repeat(127) + &"]".repeat(127),
            1 => "1".repeat(random.below(400) + 1),
            _ => random.pick(&METADATA).to_owned(),
        };
        self.set_raw("metadata", value);
    }

    /// Adds or removes `metadata`, or gives it another value.
    pub fn spell_metadata_otherwise(&mut self, random: &mut Random) {
        match random.below(4) {
            0 => self.add_metadata(random),
            1 => self.remove("metadata"),
            _ => {}
        }
    }

    /// Changes one field. The entry mostly stays well-formed and is mostly no longer equal.
    pub fn change_one_field(&mut self, random: &mut Random) {
        match random.below(8) {
            0 => self.set_number("at_ms", self.number("at_ms") + 1),
            1 => self.set_number("at_ms", (self.number("at_ms") - 1).max(0)),
            2 => self.set_text("currency", "EUR"),
            3 => self.set_text("kind", "topup"),
            4 => self.set_text("direction", random.pick(&["credit", "debit"])),
            5 if random.percent(50) => self.set_raw("final", random.pick(&["true", "false"])),
            5 => self.set_text("state", random.pick(&["posted", "pending", "voided"])),
            6 => self.set_text("pending_id", random.below(120).to_string()),
            _ => self.set_number("amount", (self.number("amount") - 1).max(0)),
        }
    }

    /// Makes the line malformed: one fault, two, or something that only looks like one.
    pub fn malformed(mut self, random: &mut Random) -> Vec<u8> {
        match random.below(20) {
            0..4 => return self.not_json(random),
            4 | 5 => return self.repeating(random),
            6 | 7 => self.stranger(random),
            8 | 9 => self.missing(random),
            10 | 11 => self.wrong_type(random),
            12..16 => self.wrong_value(random),
            16 | 17 => self.wrong_shape(random),
            _ => {
                // Two faults: the order of checks decides which is reported.
                self.wrong_value(random);
                match random.below(4) {
                    0 => self.stranger(random),
                    1 => self.missing(random),
                    2 => self.wrong_type(random),
                    _ => self.wrong_shape(random),
                }
            }
        }
        match random.percent(20) {
            true => self.restyled(random),
            false => self.plain().into_bytes(),
        }
    }

    fn not_json(mut self, random: &mut Random) -> Vec<u8> {
        let wholes: [&[u8]; 29] = [
            b"\x0c",
            b"\x0b",
            b"{",
            b"}",
            b"{}",
            b"[]",
            b"[{}]",
            b"null",
            b"true",
            b"5",
            b"\"{}\"",
            b"{}{}",
            b"{} x",
            b"{,}",
            b"{\"a\"}",
            b"{\"a\":}",
            b"{\"a\":1,}",
            b"{a:1}",
            b"{'a':1}",
            b"{\"a\":1 \"b\":2}",
            b"\xff\xfe{}",
            b"\x00",
            b"{\"\\ud83d\":1}",
            b"{\"a\":\"\\ude00\\ud83d\"}",
            b"{\"a\":\"\xed\xa0\xbd\xed\xb8\x80\"}",
            b"{\"a\":\"\xc0\xaf\"}",
            b"{\"a\":\"\xf4\x90\x80\x80\"}",
            b"{\"a\":[{\"b\":\"\\uD800\"}]}",
            b"{\"\\u\":1}",
        ];
        let plain = self.plain();
        if random.percent(3) {
            // As long as a line may be, and one byte longer.
            let length = 65_536 + random.below(2);
            return [plain.as_bytes(), &b" ".repeat(length - plain.len())].concat();
        }
        match random.below(11) {
            0..3 => random.pick(&wholes).to_vec(),
            10 => random.pick(&CUT_OR_CODED).to_vec(),
            3 => [b"\xef\xbb\xbf", plain.as_bytes()].concat(),
            4 => with_one_byte_wrong(plain.into_bytes(), random),
            5 => [plain.as_bytes(), random.pick(&[&b"x"[..], b",", b"}", b"\x0c", b"{}", b"\x00"])]
                .concat(),
            6 => {
                let name = random.pick(&["amount", "at_ms", "currency", "metadata"]);
                self.set_raw(name, random.pick(&BAD_NUMBERS));
                self.plain().into_bytes()
            }
            7 => {
                let name = random.pick(&["kind", "currency", "entry_id", "note", "metadata"]);
                self.set_raw(name, bad_text(random));
                self.plain().into_bytes()
            }
            8 => {
                let text = self.plain();
                text.replacen(
                    "\"kind\"",
                    random.pick(&[
                        "\"kind\\ud800\"",
                        "\"\\udfffkind\"",
                        "\"ki\\nd\"",
                        "\"kin\x08d\"",
                    ]),
                    1,
                )
                .into_bytes()
            }
            _ => {
                let nested = nested(random);
                let name = random.pick(&["note", "amount", "entry_id", "metadata"]);
                self.set_raw(name, nested);
                self.plain().into_bytes()
            }
        }
    }

    fn repeating(mut self, random: &mut Random) -> Vec<u8> {
        if random.percent(25) {
            self.stranger(random);
        }
        let again = self.members[random.below(self.members.len())].clone();
        let at = random.below(self.members.len() + 1);
        self.members.insert(at, again);
        if random.percent(20) {
            let another = self.members[random.below(self.members.len())].clone();
            self.members.push(another);
        }
        match random.percent(50) {
            true => self.restyled(random),
            false => self.plain().into_bytes(),
        }
    }

    fn stranger(&mut self, random: &mut Random) {
        let long = ["n".repeat(63), "n".repeat(64), "n".repeat(65)];
        let names = [
            "note",
            "Amount",
            "amount ",
            "AMOUNT",
            "",
            " ",
            "user",
            "entry-id",
            "a\"b",
            "a\\b",
            "a/b",
            "\u{e9}",
            "\u{1f600}",
            "a\nb",
            "\0",
            "\x7f",
            "~",
            "kind\0",
            "\u{feff}kind",
            "pending_ids",
            "Metadata",
            &long[0],
            &long[1],
            &long[2],
        ];
        let values = [
            "1",
            "null",
            "\"x\"",
            "{}",
            "[]",
            "{\"a\":1,\"a\":2}",
            "[[],{\"b\":[1.5e3,-0,true]}]",
            "1e999",
            "-0.0",
            "\"\\ud83d\\ude00\"",
        ];
        let name = random.pick(&names).to_owned();
        let at = random.below(self.members.len() + 1);
        let value = Value::Raw(random.pick(&values).to_owned());
        self.members.insert(at, (name, value));
    }

    fn missing(&mut self, random: &mut Random) {
        let at = random.below(self.members.len());
        self.members.remove(at);
    }

    fn wrong_type(&mut self, random: &mut Random) {
        let values = [
            "null",
            "true",
            "false",
            "[]",
            "{}",
            "0",
            "5",
            "\"5\"",
            "\"\"",
            "[\"COIN\"]",
            "1.5",
            "{\"a\":{}}",
        ];
        let names = [
            "entry_id",
            "user_id",
            "currency",
            "kind",
            "direction",
            "amount",
            "at_ms",
            "state",
            "pending_id",
            "final",
        ];
        self.set_raw(random.pick(&names), random.pick(&values));
    }

    fn wrong_value(&mut self, random: &mut Random) {
        let long = ["!".repeat(128), "!".repeat(129)];
        let ids: Vec<&str> = ODD_IDS.into_iter().chain(long.iter().map(String::as_str)).collect();
        let texts = ["x".repeat(64), "x".repeat(65)];
        let users = [
            &texts[0],
            &texts[1],
            "",
            ".",
            "..",
            "...",
            "a/b",
            "a b",
            "a%41",
            "*",
            "A.-_~:@z",
            "042",
            "00",
            "-1",
            "+1",
            " 1",
            "1.0",
            "18446744073709551616",
            "a",
            "\u{661}",
            "1e3",
            "18446744073709551615",
            "0",
        ];
        let currencies = [
            "",
            "E",
            "EU",
            "E/",
            "/E",
            "E:2",
            "eur",
            "Eur",
            "1AB",
            "ABCDEFGHI",
            "ABCDEFGH",
            "A_B",
            "AB ",
            "EUR\0",
            "\u{c9}UR",
            "A12",
        ];
        let kinds = [
            "",
            "Gift",
            "1a",
            "_a",
            "a-b",
            ":a",
            "a/b",
            "a b",
            "a\0",
            "\u{e9}",
            "a9_",
            "abcdefghijklmnopqrstuvwxyz012345",
            "abcdefghijklmnopqrstuvwxyz0123456",
        ];
        let amounts = [
            "-1",
            "-0",
            "1.0",
            "0.0",
            "1e3",
            "1E0",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "-1.0",
            "-1e3",
            "-0.0",
            "-0e1",
            "1e-1",
            "99999999999999999999999999999999999999999",
            "-99999999999999999999999999999999999999999",
            "\"5\"",
            "\"-5\"",
            "0",
        ];
        let times = [
            "-1",
            "-0",
            "1.0",
            "1763900000000.0",
            "1.7639e12",
            "253402300800000",
            "253402300799999",
            "18446744073709551616",
            "9223372036854775808",
            "0",
            "\"0\"",
            "-9999999999999999999999",
        ];
        let states = [
            "",
            "Posted",
            "POSTED",
            "open",
            "void",
            "posted ",
            "voided",
            "pending",
            "posted",
            "pending\0",
        ];
        match random.below(10) {
            0 => self.set_text("entry_id", random.pick(&ids)),
            1 => self.set_text("user_id", random.pick(&users)),
            2 => self.set_text("currency", random.pick(&currencies)),
            3 => self.set_text("kind", random.pick(&kinds)),
            4 => self.set_text(
                "direction",
                random.pick(&["", "Credit", "both", "debit ", "CREDIT", "credit"]),
            ),
            5 | 6 => self.set_raw("amount", random.pick(&amounts)),
            7 => self.set_raw("at_ms", random.pick(&times)),
            8 => self.set_text("state", random.pick(&states)),
            _ => self.set_text("pending_id", random.pick(&ids)),
        }
    }

    fn wrong_shape(&mut self, random: &mut Random) {
        match random.below(12) {
            0 if random.percent(50) => self.set_raw("final", random.pick(&["true", "1", "null"])),
            0 => self.set_raw("pending_id", "5"),
            1 => self.set_raw("pending_id", "null"),
            2 => self.set_text("pending_id", "7"),
            3 => self.set_text("state", "voided"),
            4 => {
                self.remove("amount");
                self.set_text("state", "voided");
            }
            5 => {
                for name in ["currency", "kind", "direction"] {
                    self.remove(name);
                }
                self.set_text("pending_id", "7");
                self.set_text("state", random.pick(&["pending", "voided", "open"]));
            }
            6 => {
                for name in ["currency", "kind", "direction", "pending_id"] {
                    self.remove(name);
                }
            }
            7 => {
                for name in ["currency", "kind", "direction"] {
                    if random.percent(60) {
                        self.remove(name);
                    }
                }
                self.set_text("pending_id", "7");
                self.set_number("amount", -3);
            }
            8 => {
                for name in ["currency", "kind", "direction", "amount"] {
                    self.remove(name);
                }
                self.set_text("pending_id", "7");
            }
            9 | 10 => {
                // A void of nothing: only members with a value that is not allowed are blamed.
                self.set_text("state", "voided");
                self.remove("pending_id");
                for name in ["currency", "kind", "direction", "amount", "at_ms"] {
                    match random.below(6) {
                        0..3 => self.remove(name),
                        3 => self.set_raw(name, random.pick(&["null", "-5", "\"x\""])),
                        _ => {}
                    }
                }
            }
            _ => {
                self.set_text("state", "voided");
                self.remove("pending_id");
                self.set_raw("amount", random.pick(&["-5", "-0", "null"]));
            }
        }
    }
}
