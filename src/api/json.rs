//! JSON reader: strict RFC 8259, in one pass and in place.
//!
//! A [`Reader`] pulls members and elements; a value is a borrowed piece of the text whose syntax
//! was checked. The text must be valid UTF-8 (the caller checks the whole text once, with
//! [`check_encoding`]). Refused beyond the grammar: lone surrogates and nesting deeper than
//! [`DEPTH`]. Nothing is allocated, except by [`Text::to_vec`] and to name a repeated or unknown
//! member.
//!
//! A text that is refused has one reason, a [`NotJson`]. The first of these wins: a byte order
//! mark, the encoding of the whole text, the first fault from left to right, a repeated member.

/// Limit of nested objects and arrays.
pub const DEPTH: usize = 128;
/// Limit in bytes of a text with escapes, decoded; longer than any valid value of the contract.
pub const TEXT_BYTES: usize = 64;

/// Why a text is not the JSON object that it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotJson {
    /// It begins with a byte order mark.
    Bom,
    /// It is not UTF-8.
    NotUtf8,
    /// It ends where more is needed, be it inside a string, a number or a literal.
    EndsEarly,
    /// It does not begin with `{`.
    NotObject,
    /// A byte that the grammar does not allow there, unless another reason says more.
    Syntax,
    /// A byte that breaks a number, such as `1.` and `-` without a digit after them; also a digit,
    /// letter, `.`, `+`, `-` or `_` directly after a whole number, such as `01` and `0x1`.
    Number,
    /// A control character in a string, unescaped.
    ControlCharacter,
    /// A backslash without one of the escapes of JSON after it.
    Escape,
    /// One half of a surrogate pair, escaped.
    LoneSurrogate,
    /// Nesting deeper than [`DEPTH`].
    TooDeep,
    /// Something other than white space follows the object.
    TrailingText,
    /// A repeated member.
    Repeated,
}

/// Checks that a text is UTF-8 without a byte order mark.
pub fn check_encoding(text: &[u8]) -> Result<(), NotJson> {
    if text.starts_with("\u{feff}".as_bytes()) {
        Err(NotJson::Bom)
    } else if std::str::from_utf8(text).is_err() {
        Err(NotJson::NotUtf8)
    } else {
        Ok(())
    }
}

/// A value that borrows from the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A string.
    Text(Text<'a>),
    /// A number, undecoded.
    Number(&'a [u8]),
    /// `true` or `false`.
    Boolean(bool),
    /// `null`, an object or an array.
    Other,
}

/// A string: the bytes between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

/// Buffer that a string is decoded into.
pub type Scratch = [u8; TEXT_BYTES];

impl<'a> Text<'a> {
    /// The string's UTF-8 bytes; `None` if it has escapes and its decoded form exceeds
    /// [`TEXT_BYTES`].
    #[inline]
    pub fn get<'s>(&self, scratch: &'s mut [u8]) -> Option<&'s [u8]>
    where
        'a: 's,
    {
        if self.escaped { self.decode(scratch) } else { Some(self.raw) }
    }

    /// The string's UTF-8 bytes, of any length.
    pub fn to_vec(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.raw.len());
        unescape(self.raw, |piece| {
            bytes.extend_from_slice(piece);
            Some(())
        });
        bytes
    }

    #[cold]
    fn decode<'s>(&self, scratch: &'s mut [u8]) -> Option<&'s [u8]> {
        let mut len = 0;
        unescape(self.raw, |piece| {
            scratch.get_mut(len..len + piece.len())?.copy_from_slice(piece);
            len += piece.len();
            Some(())
        })?;
        Some(&scratch[..len])
    }
}

/// Passes the decoded pieces of a checked string to `push`, until it returns `None`.
fn unescape(raw: &[u8], mut push: impl FnMut(&[u8]) -> Option<()>) -> Option<()> {
    let mut at = 0;
    while at < raw.len() {
        if raw[at] != b'\\' {
            push(&raw[at..=at])?;
            at += 1;
            continue;
        }
        let plain = match raw[at + 1] {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let (c, len) =
                    unicode_escape(&raw[at..]).unwrap_or((char::REPLACEMENT_CHARACTER, 6));
                push(c.encode_utf8(&mut [0; 4]).as_bytes())?;
                at += len;
                continue;
            }
            other => other,
        };
        push(&[plain])?;
        at += 2;
    }
    Some(())
}

/// Decodes `\uXXXX` or a surrogate pair: the character, and the number of bytes it took.
fn unicode_escape(raw: &[u8]) -> Result<(char, usize), NotJson> {
    let first = code_unit(&raw[2..])?;
    if !(0xd800..0xdc00).contains(&first) {
        return char::from_u32(first).map(|c| (c, 6)).ok_or(NotJson::LoneSurrogate);
    }
    let second = match &raw[6..] {
        [] | [b'\\'] => return Err(NotJson::EndsEarly),
        [b'\\', b'u', digits @ ..] => code_unit(digits)?,
        _ => return Err(NotJson::LoneSurrogate),
    };
    if !(0xdc00..0xe000).contains(&second) {
        return Err(NotJson::LoneSurrogate);
    }
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))
        .map(|c| (c, 12))
        .ok_or(NotJson::LoneSurrogate)
}

/// The value of four hexadecimal digits.
fn code_unit(text: &[u8]) -> Result<u32, NotJson> {
    (0..4).try_fold(0, |unit, at| {
        let digit = char::from(*text.get(at).ok_or(NotJson::EndsEarly)?).to_digit(16);
        Ok(unit * 16 + digit.ok_or(NotJson::Escape)?)
    })
}

/// The fault of a text at a byte that the grammar does not allow there.
#[cold]
fn unexpected(bytes: &[u8], at: usize) -> NotJson {
    let extends_number = |byte: u8| byte.is_ascii_alphanumeric() || b".+-_".contains(&byte);
    match bytes.get(at) {
        None => NotJson::EndsEarly,
        // Where a byte can be wrong, a digit directly before it ends a number.
        Some(&byte) if bytes[..at].last().is_some_and(u8::is_ascii_digit) => {
            if extends_number(byte) { NotJson::Number } else { NotJson::Syntax }
        }
        Some(_) => NotJson::Syntax,
    }
}

/// The fault of a text at its first byte that is not white space, which is not `{`.
#[cold]
fn not_object(first: Option<u8>) -> NotJson {
    if first.is_none() { NotJson::EndsEarly } else { NotJson::NotObject }
}

/// The fault of a number at a byte that is no digit where one is needed.
#[cold]
fn no_digit(next: Option<&u8>) -> NotJson {
    if next.is_none() { NotJson::EndsEarly } else { NotJson::Number }
}

/// The fault of a string at a byte that neither continues nor ends it.
#[cold]
fn not_text(next: Option<&u8>) -> NotJson {
    if next.is_none() { NotJson::EndsEarly } else { NotJson::ControlCharacter }
}

/// A pull parser over a JSON text.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Number of open brackets around the next value.
    depth: usize,
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, which must be valid UTF-8.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// Skips white space and returns the next byte, which is not consumed.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Consumes `bracket` if it comes next, and returns whether it did. The caller then pulls the
    /// members or elements; [`Self::another`] consumes the closing bracket.
    #[inline]
    pub fn open(&mut self, bracket: u8) -> bool {
        let there = self.eat(bracket);
        self.depth += usize::from(there);
        there
    }

    /// Consumes `byte` if it comes next, and returns whether it did.
    #[inline]
    pub fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<(), NotJson> {
        if self.eat(byte) { Ok(()) } else { Err(unexpected(self.bytes, self.at)) }
    }

    /// Consumes the `{` of the text's object.
    #[inline]
    pub fn open_object(&mut self) -> Result<(), NotJson> {
        if self.open(b'{') { Ok(()) } else { Err(not_object(self.peek())) }
    }

    /// Checks that only white space is left.
    #[inline]
    pub fn end(&mut self) -> Result<(), NotJson> {
        if self.peek().is_none() { Ok(()) } else { Err(NotJson::TrailingText) }
    }

    /// Reads the next member's name, after a `{` or a member; `None` at the end of the object.
    /// `first` is true after the `{` only.
    #[inline]
    pub fn name(&mut self, first: &mut bool) -> Result<Option<Text<'a>>, NotJson> {
        if !self.another(first, b'}')? {
            return Ok(None);
        }
        self.expect(b'"')?;
        let name = self.text()?;
        self.expect(b':')?;
        Ok(Some(name))
    }

    /// Whether another member or element follows, after an opening bracket (`first`) or an item.
    /// Consumes the comma or the closing bracket.
    #[inline]
    pub fn another(&mut self, first: &mut bool, close: u8) -> Result<bool, NotJson> {
        if self.eat(close) {
            self.depth -= 1;
            return Ok(false);
        }
        if !std::mem::replace(first, false) {
            self.expect(b',')?;
        }
        Ok(true)
    }

    /// Reads the next value whole.
    #[inline(always)]
    pub fn value(&mut self) -> Result<Value<'a>, NotJson> {
        match self.peek().ok_or(NotJson::EndsEarly)? {
            b'"' => {
                self.at += 1;
                self.text().map(Value::Text)
            }
            b'-' | b'0'..=b'9' => self.number().map(Value::Number),
            b'{' | b'[' => self.skip_nested().map(|()| Value::Other),
            b't' => self.literal().map(|()| Value::Boolean(true)),
            b'f' => self.literal().map(|()| Value::Boolean(false)),
            _ => self.literal().map(|()| Value::Other),
        }
    }

    /// Reads a string, after its opening quote.
    #[inline(always)]
    fn text(&mut self) -> Result<Text<'a>, NotJson> {
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain_len(&self.bytes[self.at..]);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let raw = &self.bytes[start..self.at];
                    self.at += 1;
                    return Ok(Text { raw, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                next => return Err(not_text(next)),
            }
        }
    }

    #[cold]
    fn escape(&mut self) -> Result<(), NotJson> {
        let rest = &self.bytes[self.at..];
        self.at += match rest.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') => unicode_escape(rest)?.1,
            Some(_) => return Err(NotJson::Escape),
            None => return Err(NotJson::EndsEarly),
        };
        Ok(())
    }

    #[inline]
    fn number(&mut self) -> Result<&'a [u8], NotJson> {
        let start = self.at;
        self.at += usize::from(self.bytes[self.at] == b'-');
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            next => return Err(no_digit(next)),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.bytes.get(self.at), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(&self.bytes[start..self.at])
    }

    #[inline]
    fn digits(&mut self) -> Result<(), NotJson> {
        let start = self.at;
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        if self.at > start { Ok(()) } else { Err(no_digit(self.bytes.get(self.at))) }
    }

    #[cold]
    fn literal(&mut self) -> Result<(), NotJson> {
        let rest = &self.bytes[self.at..];
        let words = [&b"true"[..], b"false", b"null"];
        if let Some(word) = words.iter().find(|word| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(());
        }
        let is_cut = words.iter().any(|word| word.starts_with(rest));
        Err(if is_cut { NotJson::EndsEarly } else { NotJson::Syntax })
    }

    /// Checks and skips an object or array, without recursion: nothing reads the contents of such a
    /// value.
    #[cold]
    fn skip_nested(&mut self) -> Result<(), NotJson> {
        let (mut open, mut depth) = ([0u8; DEPTH], 0);
        let deepest = DEPTH - self.depth;
        loop {
            match self.peek().ok_or(NotJson::EndsEarly)? {
                bracket @ (b'{' | b'[') => {
                    *open[..deepest].get_mut(depth).ok_or(NotJson::TooDeep)? = bracket + 2;
                    depth += 1;
                    self.at += 1;
                    if !self.eat(bracket + 2) {
                        self.skip_name(bracket + 2)?;
                        continue;
                    }
                    depth -= 1;
                }
                _ => {
                    self.value()?;
                }
            }
            loop {
                if depth == 0 {
                    return Ok(());
                }
                if self.eat(b',') {
                    break self.skip_name(open[depth - 1])?;
                }
                self.expect(open[depth - 1])?;
                depth -= 1;
            }
        }
    }

    fn skip_name(&mut self, close: u8) -> Result<(), NotJson> {
        if close == b'}' {
            self.expect(b'"')?;
            self.text()?;
            self.expect(b':')?;
        }
        Ok(())
    }
}

/// Number of leading bytes that are neither quote, backslash nor control, found eight at a time.
#[inline]
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGHS: u64 = ONES << 7;
    // The classic test of word-wise strlen: a byte below `limit` borrows into its own high bit. The
    // xor makes the searched byte zero.
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..at + 8).and_then(|c| <[u8; 8]>::try_from(c).ok()) {
        let word = u64::from_le_bytes(chunk);
        let special = below(word, 0x20)
            | below(word ^ (ONES * u64::from(b'"')), 1)
            | below(word ^ (ONES * u64::from(b'\\')), 1);
        if special & HIGHS != 0 {
            // The lowest marked byte is exact: a false mark can only follow a true one.
            return at + (special & HIGHS).trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + bytes[at..].iter().take_while(|&&b| b >= 0x20 && b != b'"' && b != b'\\').count()
}

/// Member names, in the order in which they usually come.
#[derive(Debug)]
pub struct MemberNames<const N: usize> {
    texts: [&'static str; N],
    /// Patterns that match each name, unescaped and with its quotes and colon, in one 16-byte load.
    heads: [Head; N],
}

/// Pattern of `"name":`: its bytes, the first the lowest, and the mask of the bits they occupy.
#[derive(Clone, Copy, Debug)]
struct Head {
    bits: u128,
    mask: u128,
    len: usize,
}

impl<const N: usize> MemberNames<N> {
    /// A list of names of at most 13 bytes each.
    pub const fn new(texts: [&'static str; N]) -> Self {
        let mut heads = [Head { bits: 0, mask: 0, len: 0 }; N];
        let mut place = 0;
        while place < N {
            heads[place] = Head::new(texts[place].as_bytes());
            place += 1;
        }
        Self { texts, heads }
    }

    fn find(&self, name: Text<'_>) -> Option<usize> {
        let mut scratch = [0; TEXT_BYTES];
        let name = name.get(&mut scratch)?;
        self.texts.iter().position(|known| known.as_bytes() == name)
    }
}

impl Head {
    const fn new(name: &[u8]) -> Self {
        let mut bytes = [0; 16];
        bytes[0] = b'"';
        let mut at = 0;
        while at < name.len() {
            bytes[at + 1] = name[at];
            at += 1;
        }
        (bytes[at + 1], bytes[at + 2]) = (b'"', b':');
        let len = at + 3;
        Self { bits: u128::from_le_bytes(bytes), mask: u128::MAX >> (128 - 8 * len), len }
    }

    /// Whether `text` begins with the pattern. May be false for a match in fewer than 16 bytes of
    /// text.
    #[inline]
    fn begins(&self, text: &[u8]) -> bool {
        text.first_chunk()
            .is_some_and(|&first| (u128::from_le_bytes(first) ^ self.bits) & self.mask == 0)
    }
}

/// Members of one object, indexed by the place of their names in a list.
#[derive(Debug)]
pub struct Members<'a, const N: usize> {
    /// The values; for a repeated name, the first one.
    pub values: [Option<Value<'a>>; N],
    /// Whether a name is repeated or is missing from the list: [`first_repeated`] and
    /// [`first_unknown`] return which.
    pub has_repeated_or_unknown: bool,
}

impl<const N: usize> Default for Members<'_, N> {
    fn default() -> Self {
        Self { values: [None; N], has_repeated_or_unknown: false }
    }
}

impl<'a> Reader<'a> {
    /// Reads an object, whose `{` comes next, into `members`, which must be empty. Members that
    /// come in the order of `names` are found without a search.
    #[inline]
    pub fn members<const N: usize>(
        &mut self,
        names: &MemberNames<N>,
        members: &mut Members<'a, N>,
    ) -> Result<(), NotJson> {
        self.open_object()?;
        let (mut first, mut next) = (true, 0);
        loop {
            let place = if next < N && self.take_name(first, &names.heads[next]) {
                first = false;
                Some(next)
            } else {
                let Some(name) = self.name(&mut first)? else { return Ok(()) };
                names.find(name)
            };
            let value = self.value()?;
            match place {
                Some(place) if members.values[place].is_none() => {
                    members.values[place] = Some(value);
                    next = place + 1;
                }
                _ => members.has_repeated_or_unknown = true,
            }
        }
    }

    /// Consumes a member's name with its comma and colon, if it is the expected name without
    /// escapes and white space; otherwise consumes nothing.
    #[inline]
    fn take_name(&mut self, first: bool, expected: &Head) -> bool {
        let rest = &self.bytes[self.at..];
        let rest = if first { rest } else { rest.strip_prefix(b",").unwrap_or_default() };
        let begins = expected.begins(rest);
        if begins {
            self.at = self.bytes.len() - rest.len() + expected.len;
        }
        begins
    }
}

/// Names of an object that are compared. An object of more has unknown ones.
const COMPARED_NAMES: usize = 256;

/// The first repeated name of an object whose syntax was checked, among its first 256 names.
#[cold]
pub fn first_repeated(mut object: Reader<'_>) -> Option<Vec<u8>> {
    let mut seen = std::collections::BTreeSet::new();
    let found = walk_names(&mut object, |name| {
        let is_repeated = !seen.insert(name.clone());
        (is_repeated || seen.len() == COMPARED_NAMES).then_some((name, is_repeated))
    });
    found.filter(|(_, is_repeated)| *is_repeated).map(|(name, _)| name)
}

/// The first unknown name of an object whose syntax was checked.
#[cold]
pub fn first_unknown(mut object: Reader<'_>, known: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    walk_names(&mut object, |name| (!known(&name)).then_some(name))
}

fn walk_names<R>(
    object: &mut Reader<'_>,
    mut visit: impl FnMut(Vec<u8>) -> Option<R>,
) -> Option<R> {
    object.open(b'{').then_some(())?;
    let mut first = true;
    while let Ok(Some(name)) = object.name(&mut first) {
        if let Some(found) = visit(name.to_vec()) {
            return Some(found);
        }
        object.value().ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Result<Value<'_>, NotJson> {
        let mut reader = Reader::new(text.as_bytes());
        let value = reader.value()?;
        reader.end()?;
        Ok(value)
    }

    #[test]
    fn exactly_the_grammar_is_accepted() {
        for good in [
            "0",
            "-0",
            "1",
            "-12.5e+3",
            "1E9",
            "\"\"",
            "\"a b\"",
            "\"\\u00e9\\ud83d\\ude00\\/\\\"\"",
            " true ",
            "null",
            "[]",
            "{}",
            "[1,[2,{\"a\":[]}],{}]",
            "{\"a\":1,\"b\":{\"c\":[1,2,\"x\"]}}",
            "\"0123456789abcdefé…\"",
            "\t[ 1 , 2 ]\r\n",
        ] {
            assert!(whole(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            " ",
            "01",
            "-",
            "+1",
            "1.",
            ".5",
            "1e",
            "0x1",
            "\"",
            "\"a",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\ud800\"",
            "\"\\ud800\\u0041\"",
            "\"\\udc00\"",
            "\"a\nb\"",
            "\"12345678\u{1}\"",
            "tru",
            "True",
            "nulll",
            "[",
            "[1",
            "[1,]",
            "[,1]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "[1 2]",
            "1 2",
            "{}{}",
            "[}",
            "{]",
            "\u{feff}1",
            "[1,{\"a\":1,]}",
            "\"\u{7}\"",
        ] {
            assert!(whole(bad).is_err(), "{bad}");
        }
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(whole(&nested(DEPTH)).is_ok());
        assert!(whole(&nested(DEPTH + 1)).is_err());
    }

    /// Lines with their first fault.
    #[rustfmt::skip]
    const FAULTS: [(NotJson, &[&str]); 8] = [
        (NotJson::EndsEarly, &[
            "", " ", "{", "{\"", "{\"a", "{\"a\"", "{\"a\" :", "{\"a\":1", "{\"a\":1,",
            "{\"a\":\"", "{\"a\":\"\\", "{\"a\":\"\\u", "{\"a\":\"\\u12", "{\"a\":\"\\ud83d",
            "{\"a\":\"\\ud83d\\", "{\"a\":\"\\ud83d\\u", "{\"a\":\"\\ud83d\\ude0", "{\"a\":t",
            "{\"a\":fals", "{\"a\":nul", "{\"a\":true", "{\"a\":-", "{\"a\":1.", "{\"a\":1e",
            "{\"a\":1e+", "{\"a\":0", "{\"a\":[", "{\"a\":[1", "{\"a\":[1,", "{\"a\":{\"b\"",
        ]),
        (NotJson::NotObject, &[
            "[]", "5", "-", "\"{}\"", "true", "nul", "x", "}", ",", "'", "\0", "<a>", "é",
            "//{}", "[01", "NaN",
        ]),
        (NotJson::Number, &[
            "{\"a\":01}", "{\"a\":00", "{\"a\":-01}", "{\"a\":1.}", "{\"a\":1.e5}", "{\"a\":1e}",
            "{\"a\":1e+}", "{\"a\":-}", "{\"a\":- 1}", "{\"a\":-x}", "{\"a\":0x10}",
            "{\"a\":1_000}", "{\"a\":1.2.3}", "{\"a\":1e5e}",
            "{\"a\":1-", "{\"a\":1+1}", "{\"a\":5n}",
            "{\"c\":[01]}", "{\"c\":[{\"d\":1.}]}", "{\"c\":[1a", "{\"b\":1.,", "{\"a\":-\"\"}",
        ]),
        (NotJson::ControlCharacter, &[
            "{\"\t\":1}", "{\"a\":\"\n\"}", "{\"a\":\"12345678\0", "{\"c\":[\"\u{1f}",
            "{\"c\":{\"\r\"",
        ]),
        (NotJson::Escape, &[
            "{\"a\":\"\\x\"}", "{\"a\":\"\\'\"}", "{\"a\":\"\\U0041\"}", "{\"a\":\"\\u12\"}",
            "{\"a\":\"\\u+123\"}", "{\"a\":\"\\u00g", "{\"\\ \"", "{\"a\":\"\\é\"}",
            "{\"a\":\"\\ud83d\\u12\"", "{\"c\":[\"\\0\"]}", "{\"a\":\"\\\n\"}",
        ]),
        (NotJson::LoneSurrogate, &[
            "{\"a\":\"\\ud800\"}", "{\"a\":\"\\udc00\"}", "{\"a\":\"\\ud800x",
            "{\"a\":\"\\ud800\\n", "{\"a\":\"\\ud800\\x", "{\"a\":\"\\ud800\\u0041",
            "{\"a\":\"\\ud800\\ud800\"}",
            "{\"a\":\"\\ude00\\ud83d\"}", "{\"\\uDFFF", "{\"c\":{\"a\":\"\\uDBFF\"}}",
        ]),
        (NotJson::TrailingText, &[
            "{}{}", "{} x", "{}}", "{},", "{\"a\":1}01", "{}\0", "{}/**/", "{}\u{feff}",
        ]),
        (NotJson::Syntax, &[
            "{,}", "{a:1}", "{'a':1}", "{1:1}", "{\"a\"}", "{\"a\" 1}", "{\"a\"=1}", "{\"a\":}",
            "{\"a\":,", "{\"a\":1,}", "{\"a\":1 \"b\":2}", "{\"a\":1\"b\":2}", "{\"a\":1]",
            "{\"a\":1:", "{\"a\":1 5}", "{\"a\":[1 2]}", "{\"a\":[,1]}", "{\"a\":[1,]}",
            "{\"a\":[1}", "{\"a\":{]", "{\"a\":True}", "{\"a\":tru}", "{\"a\":truex",
            "{\"a\":null1}", "{\"a\":NaN}", "{\"a\":+1}", "{\"a\":.5}", "{\"a\":\"\"\"",
            "{\"a\":'x'}", "{\0}", "{\u{a0}}", "{\"a\":1é}", "{\"c\":[tru ", "{\"a\":1;",
        ]),
    ];

    #[test]
    fn the_first_fault_is_the_reason() {
        let object = |text: &str| {
            let mut reader = Reader::new(text.as_bytes());
            let mut members = Members::default();
            reader.members(&MemberNames::new(["a", "b"]), &mut members)?;
            reader.end()
        };
        for (want, texts) in FAULTS {
            for text in texts {
                assert_eq!(object(text), Err(want), "{}", text.escape_debug());
            }
        }
        let nested = |open: &str, depth: usize| format!("{{\"c\":{}", open.repeat(depth));
        for open in ["[", "{\"a\":"] {
            assert_eq!(object(&nested(open, DEPTH)), Err(NotJson::TooDeep));
            assert_eq!(object(&nested(open, DEPTH - 1)), Err(NotJson::EndsEarly));
        }
    }

    #[test]
    fn escapes_are_decoded() {
        let check = |text: &str, want: &str| {
            let Ok(Value::Text(text)) = whole(text) else { panic!("{text}") };
            assert_eq!(text.get(&mut [0; TEXT_BYTES]), Some(want.as_bytes()));
            assert_eq!(text.to_vec(), want.as_bytes());
        };
        check(r#""plain""#, "plain");
        check(r#""\u0034\u00e9\ud83d\ude00\n\/\\""#, "4é😀\n/\\");
        let long = format!("\"\\n{}\"", "x".repeat(64));
        let Ok(Value::Text(long)) = whole(&long) else { panic!() };
        assert_eq!(long.get(&mut [0; TEXT_BYTES]), None);
    }

    #[test]
    fn an_expected_name_matches_exactly() {
        let names = ["a", "a_name", "thirteen_long"];
        let list = MemberNames::new(names);
        for (place, name) in names.into_iter().enumerate() {
            for (written, want) in [
                (format!("\"{name}\":"), Some(place)),
                (format!("\"{name}\" :"), Some(place)),
                (format!("\"\\u0061{}\":", &name[1..]), name.starts_with('a').then_some(place)),
                (format!("\"{name}_\":"), None),
                (format!("\"{}\":", &name[..name.len() - 1]), None),
                (format!("\"{}\":", name.to_uppercase()), None),
            ] {
                for value in ["1", "\"a value as long as a line\""] {
                    let text = format!("{{{written}{value}}}");
                    let mut members = Members::default();
                    Reader::new(text.as_bytes()).members(&list, &mut members).unwrap();
                    let found = members.values.iter().position(Option::is_some);
                    assert_eq!(
                        (found, members.has_repeated_or_unknown),
                        (want, want.is_none()),
                        "{text}"
                    );
                }
            }
        }
    }

    #[test]
    fn members_come_in_any_order_and_odd_ones_are_found() {
        let read = |text: &'static str| {
            let mut m = Members::default();
            Reader::new(text.as_bytes())
                .members(&MemberNames::new(["a", "b"]), &mut m)
                .map(|()| (m.values.map(|v| v.is_some()), m.has_repeated_or_unknown))
        };
        assert_eq!(read(r#"{"b":1,"\u0061":[]}"#), Ok(([true, true], false)));
        assert_eq!(read(r#"{"b":1,"b":2}"#), Ok(([false, true], true)));
        assert_eq!(read(r#"{"c":1}"#), Ok(([false, false], true)));
        let irregular = Reader::new(br#"{"c":{"a":1,"a":2},"a":1,"\u0063":2,"a":3}"#);
        assert_eq!(first_repeated(irregular.clone()).as_deref(), Some(&b"c"[..]));
        assert_eq!(first_unknown(irregular, |n| n == b"a").as_deref(), Some(&b"c"[..]));
    }
}
