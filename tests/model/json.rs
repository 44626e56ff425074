//! JSON parser after RFC 8259, slow and simple: one recursive descent over the bytes.
//!
//! The tree keeps everything that the contract depends on: members in order with repeats, numbers
//! as written, names and strings decoded. The parser refuses bad UTF-8, a BOM, lone surrogates, raw
//! control characters, more than `MAX_DEPTH` open brackets, and anything but white space after the
//! value. It does not refuse repeated members: its callers do.

/// Most objects and lists open at once, including the outermost: 128 are accepted, 129 are not.
pub const MAX_DEPTH: usize = 128;

/// Longest name that a problem's `field` repeats, in bytes.
const MAX_ECHO: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Null,
    Bool(bool),
    /// The number's text, because `1.0`, `1e3` and `-0` do not count as integers.
    Number(String),
    Text(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

impl Value {
    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// An integer from 0 to 2^64 - 1, written without sign, fraction or exponent.
    pub fn unsigned(&self) -> Option<u64> {
        match self {
            Value::Number(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok()
            }
            _ => None,
        }
    }

    /// Whether it is a minus sign and a nonzero integer of any size.
    pub fn is_negative_integer(&self) -> bool {
        match self {
            Value::Number(text) => text.strip_prefix('-').is_some_and(|digits| {
                digits != "0" && digits.bytes().all(|byte| byte.is_ascii_digit())
            }),
            _ => false,
        }
    }
}

/// Parses a JSON text of one value.
pub fn parse(text: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(text).ok()?;
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.white_space();
    (reader.at == text.len()).then_some(value)
}

/// The first member of that name.
pub fn member<'a>(members: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    members.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

/// The name of the first member that repeats an earlier one.
pub fn repeated(members: &[(String, Value)]) -> Option<&str> {
    members
        .iter()
        .enumerate()
        .find(|(index, (name, _))| members[..*index].iter().any(|(earlier, _)| earlier == name))
        .map(|(_, (name, _))| name.as_str())
}

/// The name of the first member that is not among the known ones.
pub fn unknown<'a>(members: &'a [(String, Value)], known: &[&str]) -> Option<&'a str> {
    members.iter().map(|(name, _)| name.as_str()).find(|name| !known.contains(name))
}

/// A client's name as `field` may repeat it: 1 to 64 bytes of printable ASCII without `"` and `\`;
/// else an empty string.
pub fn echo(name: &[u8]) -> String {
    let plain = |byte: &u8| (0x20..=0x7e).contains(byte) && *byte != b'"' && *byte != b'\\';
    if name.len() <= MAX_ECHO && name.iter().all(plain) {
        String::from_utf8_lossy(name).into_owned()
    } else {
        String::new()
    }
}

/// `at` is the first unread byte, from 0 to `text.len()`; between calls it is at the start of a
/// character.
struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, wanted: &str) -> Option<()> {
        if self.text.as_bytes()[self.at..].starts_with(wanted.as_bytes()) {
            self.at += wanted.len();
            Some(())
        } else {
            None
        }
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.white_space();
        match self.peek()? {
            b'n' => self.take("null").map(|()| Value::Null),
            b't' => self.take("true").map(|()| Value::Bool(true)),
            b'f' => self.take("false").map(|()| Value::Bool(false)),
            b'"' => self.string().map(Value::Text),
            b'[' if depth < MAX_DEPTH => self.list(depth + 1),
            b'{' if depth < MAX_DEPTH => self.object(depth + 1),
            _ => self.number(),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        self.take("[")?;
        let mut items = Vec::new();
        self.white_space();
        if self.take("]").is_some() {
            return Some(Value::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.white_space();
            if self.take("]").is_some() {
                return Some(Value::List(items));
            }
            self.take(",")?;
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.take("{")?;
        let mut members = Vec::new();
        self.white_space();
        if self.take("}").is_some() {
            return Some(Value::Object(members));
        }
        loop {
            self.white_space();
            let name = self.string()?;
            self.white_space();
            self.take(":")?;
            members.push((name, self.value(depth)?));
            self.white_space();
            if self.take("}").is_some() {
                return Some(Value::Object(members));
            }
            self.take(",")?;
        }
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn number(&mut self) -> Option<Value> {
        let start = self.at;
        let _sign = self.take("-");
        if self.take("0").is_none() {
            self.digits()?;
        }
        if self.take(".").is_some() {
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(Value::Number(self.text[start..self.at].to_owned()))
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut decoded = String::new();
        loop {
            let next = self.text[self.at..].chars().next()?;
            self.at += next.len_utf8();
            match next {
                '"' => return Some(decoded),
                '\\' => decoded.push(self.escape()?),
                '\0'..='\x1f' => return None,
                plain => decoded.push(plain),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let letter = self.peek()?;
        if !letter.is_ascii() {
            return None;
        }
        self.at += 1;
        Some(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return None,
        })
    }

    /// Reads after `\u`: four digits, or a high surrogate followed by `\u` and a low one.
    fn unicode(&mut self) -> Option<char> {
        let first = self.four()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        self.take("\\u")?;
        let second = self.four()?;
        if !(0xdc00..0xe000).contains(&second) {
            return None;
        }
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
    }

    fn four(&mut self) -> Option<u32> {
        let digits = self.text.as_bytes().get(self.at..self.at + 4)?;
        let mut code = 0;
        for digit in digits {
            code = code * 16 + char::from(*digit).to_digit(16)?;
        }
        self.at += 4;
        Some(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_json_text() {
        let refused: &[&[u8]] = &[
            b"",
            b" ",
            b"{",
            b"nul",
            b"truex",
            b"01",
            b"-01",
            b"+1",
            b".5",
            b"1.",
            b"1e",
            b"-",
            b"NaN",
            b"[1,]",
            b"{\"a\":1,}",
            b"{a:1}",
            b"{'a':1}",
            b"{\"a\" 1}",
            b"{} {}",
            b"{}x",
            b"\xef\xbb\xbf{}",
            b"\"\xff\"",
            b"\"\xed\xa0\x80\"",
            b"\"\xc0\x80\"",
            b"\"\t\"",
            b"\"\x00\"",
            b"\"\\x41\"",
            b"\"\\u12\"",
            b"\"\\u+123\"",
            b"\"\\ud800\"",
            b"\"\\udc00\"",
            b"\"\\ud800\\ud800\"",
            b"\"\\ud800x\"",
            b"\x0c1",
            b"\xc2\xa01",
            b"/**/1",
            b"\"",
            b"\"\\",
        ];
        for text in refused {
            assert_eq!(parse(text), None, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn keeps_numbers_as_written_and_strings_decoded() {
        for text in ["0", "-0", "1.0", "1e3", "1E+3", "-12.50e-7", "99999999999999999999999"] {
            assert_eq!(parse(text.as_bytes()), Some(Value::Number(text.to_owned())));
        }
        let text = br#" "a\u0062\/\"\\\ud83d\ude00\n" "#;
        assert_eq!(parse(text), Some(Value::Text("ab/\"\\\u{1f600}\n".to_owned())));
        assert_eq!(parse(b"\"\x7f\""), Some(Value::Text("\x7f".to_owned())));
        assert_eq!(parse(b"\r\n[ ]\t"), Some(Value::List(Vec::new())));
    }

    #[test]
    fn nests_to_the_limit() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(parse(&nested(MAX_DEPTH)).is_some());
        assert!(parse(&nested(MAX_DEPTH + 1)).is_none());
    }

    #[test]
    fn finds_the_first_repeated_and_the_first_unknown_member() {
        let Some(Value::Object(members)) = parse(br#"{"a":1,"b":2,"\u0062":3,"a":4,"c":5}"#) else {
            panic!("an object");
        };
        assert_eq!(repeated(&members), Some("b"));
        assert_eq!(unknown(&members, &["a", "b"]), Some("c"));
        assert_eq!(unknown(&members, &["a", "b", "c"]), None);
        assert_eq!(member(&members, "a"), Some(&Value::Number("1".to_owned())));
        assert_eq!(member(&members, "A"), None);
    }

    #[test]
    fn distinguishes_integers_from_other_numbers() {
        let number = |text: &str| Value::Number(text.to_owned());
        assert_eq!(number("18446744073709551615").unsigned(), Some(u64::MAX));
        assert_eq!(number("18446744073709551616").unsigned(), None);
        for text in ["-0", "1.0", "1e3", "-1"] {
            assert_eq!(number(text).unsigned(), None, "{text}");
        }
        assert!(number("-1").is_negative_integer());
        assert!(number("-99999999999999999999999").is_negative_integer());
        for text in ["-0", "-1.0", "-1e3", "1", "0"] {
            assert!(!number(text).is_negative_integer(), "{text}");
        }
    }

    #[test]
    fn echoes_only_plain_names() {
        assert_eq!(echo(b"Amount"), "Amount");
        assert_eq!(echo(b"a b~"), "a b~");
        assert_eq!(echo(&[b'x'; 64]), "x".repeat(64));
        for name in [&b""[..], &[b'x'; 65], b"a\"", b"a\\", b"\x7f", b"\n", "\u{e9}".as_bytes()] {
            assert_eq!(echo(name), "");
        }
    }
}
