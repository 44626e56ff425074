//! JSON parser after RFC 8259, slow and simple: one recursive descent over the bytes.
//!
//! The tree keeps everything that the contract depends on: members in order with repeats, numbers
//! as written, names and strings decoded. The parser refuses bad UTF-8, a BOM, lone surrogates, raw
//! control characters, more than `MAX_DEPTH` open brackets, and anything but white space after the
//! value. It does not refuse repeated members: its callers do. A refused text has one `Fault`: its
//! BOM, else its encoding, else the first fault from left to right.

/// Most objects and lists open at once, including the outermost: 128 are accepted, 129 are not.
pub const MAX_DEPTH: usize = 128;

/// Longest name that a problem's `field` repeats, in bytes.
const MAX_ECHO: usize = 64;

/// Reason why a text is not the expected object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    Bom,
    NotUtf8,
    EndsEarly,
    NotObject,
    Syntax,
    Number,
    ControlCharacter,
    Escape,
    LoneSurrogate,
    TooDeep,
    TrailingText,
    Repeated,
}

impl Fault {
    pub const ALL: [Self; 12] = [
        Self::Bom,
        Self::NotUtf8,
        Self::EndsEarly,
        Self::NotObject,
        Self::Syntax,
        Self::Number,
        Self::ControlCharacter,
        Self::Escape,
        Self::LoneSurrogate,
        Self::TooDeep,
        Self::TrailingText,
        Self::Repeated,
    ];

    pub fn detail(self) -> &'static str {
        match self {
            Self::Bom => "The text begins with a byte order mark: send UTF-8 without one.",
            Self::NotUtf8 => "The text is not valid UTF-8.",
            Self::EndsEarly => "The text ends before its JSON object is complete.",
            Self::NotObject => "The text is not a JSON object.",
            Self::Syntax => {
                "A name, a colon, a value, a comma or a closing bracket is missing or misplaced."
            }
            Self::Number => "A number breaks the grammar of JSON, as 01, 1. and 0x1 do.",
            Self::ControlCharacter => "A string has a control character that is not escaped.",
            Self::Escape => "A string has a backslash that begins no escape of JSON.",
            Self::LoneSurrogate => "A string has one half of a surrogate pair without the other.",
            Self::TooDeep => "Objects and arrays are nested deeper than 128.",
            Self::TrailingText => "More text follows the JSON object.",
            Self::Repeated => "The member is repeated.",
        }
    }
}

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

/// Parses a JSON text of one object: its members.
pub fn object(text: &[u8]) -> Result<Vec<(String, Value)>, Fault> {
    match parse_whole(text, |first| first == b'{')? {
        Value::Object(members) => Ok(members),
        _ => unreachable!("an opening brace begins an object"),
    }
}

/// Parses a JSON text of one value.
#[cfg(test)]
pub fn parse(text: &[u8]) -> Result<Value, Fault> {
    parse_whole(text, |_| true)
}

/// Parses a JSON text of one value that begins with an allowed byte.
fn parse_whole(text: &[u8], may_begin: fn(u8) -> bool) -> Result<Value, Fault> {
    if text.starts_with(b"\xef\xbb\xbf") {
        return Err(Fault::Bom);
    }
    let text = std::str::from_utf8(text).map_err(|_| Fault::NotUtf8)?;
    let mut reader = Reader { text, at: 0 };
    reader.white_space();
    if reader.peek().is_some_and(|first| !may_begin(first)) {
        return Err(Fault::NotObject);
    }
    let value = reader.value(0)?;
    reader.white_space();
    if reader.at < text.len() { Err(Fault::TrailingText) } else { Ok(value) }
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

    /// The next byte, which the grammar needs.
    fn need(&self) -> Result<u8, Fault> {
        self.peek().ok_or(Fault::EndsEarly)
    }

    /// Takes a byte if it comes next.
    fn take(&mut self, wanted: u8) -> bool {
        let is_next = self.peek() == Some(wanted);
        self.at += usize::from(is_next);
        is_next
    }

    /// Takes a byte that must come next; any other is the fault `otherwise`.
    fn expect(&mut self, wanted: u8, otherwise: Fault) -> Result<(), Fault> {
        if self.need()? != wanted {
            return Err(otherwise);
        }
        self.at += 1;
        Ok(())
    }

    fn white_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Fault> {
        self.white_space();
        match self.need()? {
            b'n' => self.word("null", Value::Null),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'"' => self.string().map(Value::Text),
            b'[' | b'{' if depth == MAX_DEPTH => Err(Fault::TooDeep),
            b'[' => self.list(depth + 1),
            b'{' => self.members(depth + 1),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(Fault::Syntax),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, Fault> {
        for letter in word.bytes() {
            self.expect(letter, Fault::Syntax)?;
        }
        Ok(value)
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        self.white_space();
        if self.take(b']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth)?);
            self.white_space();
            if self.take(b']') {
                return Ok(Value::List(items));
            }
            self.expect(b',', Fault::Syntax)?;
        }
    }

    fn members(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut members = Vec::new();
        self.white_space();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.white_space();
            let name = self.string()?;
            self.white_space();
            self.expect(b':', Fault::Syntax)?;
            members.push((name, self.value(depth)?));
            self.white_space();
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            self.expect(b',', Fault::Syntax)?;
        }
    }

    fn digits(&mut self) -> Result<(), Fault> {
        if !self.need()?.is_ascii_digit() {
            return Err(Fault::Number);
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let _sign = self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        // What follows a number directly is taken for a part of it, if it looks like one.
        let looks_like_part = |byte: u8| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte);
        if self.peek().is_some_and(looks_like_part) {
            return Err(Fault::Number);
        }
        Ok(Value::Number(self.text[start..self.at].to_owned()))
    }

    fn string(&mut self) -> Result<String, Fault> {
        self.expect(b'"', Fault::Syntax)?;
        let mut decoded = String::new();
        loop {
            let next = self.text[self.at..].chars().next().ok_or(Fault::EndsEarly)?;
            self.at += next.len_utf8();
            match next {
                '"' => return Ok(decoded),
                '\\' => decoded.push(self.escape()?),
                '\0'..='\x1f' => return Err(Fault::ControlCharacter),
                plain => decoded.push(plain),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Fault> {
        let letter = self.need()?;
        if !letter.is_ascii() {
            return Err(Fault::Escape);
        }
        self.at += 1;
        Ok(match letter {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\x08',
            b'f' => '\x0c',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(Fault::Escape),
        })
    }

    /// Reads after `\u`: four digits, or a high surrogate followed by `\u` and a low one.
    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.four()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(Fault::LoneSurrogate);
        }
        self.expect(b'\\', Fault::LoneSurrogate)?;
        self.expect(b'u', Fault::LoneSurrogate)?;
        let second = self.four()?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(Fault::LoneSurrogate);
        }
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        Ok(char::from_u32(code).expect("a pair is a character"))
    }

    fn four(&mut self) -> Result<u32, Fault> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = char::from(self.need()?).to_digit(16).ok_or(Fault::Escape)?;
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_not_json_text() {
        use Fault::*;
        let refused: &[(&[u8], Fault)] = &[
            (b"", EndsEarly),
            (b" ", EndsEarly),
            (b"{", EndsEarly),
            (b"{\"a\":nul", EndsEarly),
            (b"{\"a\":-", EndsEarly),
            (b"{\"a\":1e", EndsEarly),
            (b"{\"", EndsEarly),
            (b"{\"\\", EndsEarly),
            (b"{\"\\ud800\\", EndsEarly),
            (b"[]", NotObject),
            (b"5", NotObject),
            (b"truex", NotObject),
            (b"NaN", NotObject),
            (b"\x0c1", NotObject),
            (b"\xc2\xa01", NotObject),
            (b"/**/{}", NotObject),
            (b"{\"a\":truex}", Syntax),
            (b"{\"a\":True}", Syntax),
            (b"{\"a\":+1}", Syntax),
            (b"{\"a\":.5}", Syntax),
            (b"{\"a\":[1,]}", Syntax),
            (b"{\"a\":1,}", Syntax),
            (b"{a:1}", Syntax),
            (b"{'a':1}", Syntax),
            (b"{\"a\" 1}", Syntax),
            (b"{\"a\":1 2}", Syntax),
            (b"{\"a\":1\"\"}", Syntax),
            (b"{\"a\":01}", Number),
            (b"{\"a\":-01}", Number),
            (b"{\"a\":1.}", Number),
            (b"{\"a\":1e}", Number),
            (b"{\"a\":-}", Number),
            (b"{\"a\":0x1}", Number),
            (b"{\"a\":[1.2.3", Number),
            (b"{} {}", TrailingText),
            (b"{}x", TrailingText),
            (b"\xef\xbb\xbf{}", Bom),
            (b"\xef\xbb\xbf\xff", Bom),
            (b"{\"\xff\"}", NotUtf8),
            (b"01,\xed\xa0\x80", NotUtf8),
            (b"{\"\xc0\x80\"", NotUtf8),
            (b"{\"\t\"", ControlCharacter),
            (b"{\"\x00\"", ControlCharacter),
            (b"{\"\\x41\"", Escape),
            (b"{\"\\u12\"", Escape),
            (b"{\"\\u+123\"", Escape),
            (b"{\"\\ud800\\u1\"", Escape),
            (b"{\"\\ud800\"", LoneSurrogate),
            (b"{\"\\udc00\"", LoneSurrogate),
            (b"{\"\\ud800\\ud800\"", LoneSurrogate),
            (b"{\"\\ud800\\n\"", LoneSurrogate),
            (b"{\"\\ud800x\"", LoneSurrogate),
        ];
        for (text, fault) in refused {
            assert_eq!(object(text), Err(*fault), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn keeps_numbers_as_written_and_strings_decoded() {
        for text in ["0", "-0", "1.0", "1e3", "1E+3", "-12.50e-7", "99999999999999999999999"] {
            assert_eq!(parse(text.as_bytes()), Ok(Value::Number(text.to_owned())));
        }
        let text = br#" "a\u0062\/\"\\\ud83d\ude00\n" "#;
        assert_eq!(parse(text), Ok(Value::Text("ab/\"\\\u{1f600}\n".to_owned())));
        assert_eq!(parse(b"\"\x7f\""), Ok(Value::Text("\x7f".to_owned())));
        assert_eq!(parse(b"\r\n[ ]\t"), Ok(Value::List(Vec::new())));
    }

    #[test]
    fn nests_to_the_limit() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&nested(MAX_DEPTH + 1)), Err(Fault::TooDeep));
    }

    #[test]
    fn finds_the_first_repeated_and_the_first_unknown_member() {
        let members = object(br#"{"a":1,"b":2,"\u0062":3,"a":4,"c":5}"#).expect("an object");
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
