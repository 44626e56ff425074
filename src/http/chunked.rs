//! Decoder for chunked bodies that decodes them as they arrive (RFC 9112, 7.1).
//!
//! [`Decoder`] is a state machine over bytes: however the input is cut, the same body comes out and
//! the same fault is found at the same byte. Chunk data is passed on in place, not copied.
//! Extensions and trailers are skipped, but must obey their limits and their grammar: strict CRLF,
//! no control bytes, no folded lines, and white space only where an extension goes on.
//!
//! A body above its limit is refused at the size line of the chunk that exceeds it.

use super::grammar::{hex_digit, is_field_text, is_token};
use super::{CHUNK_LINE_BYTES, NotHttp, Refusal, TRAILER_BYTES};

/// Decoder of one body. It is not used again after a refusal.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    /// Size of the current chunk while it is parsed; then the number of its bytes still to come.
    chunk: u64,
    /// Bytes read so far of the current size line, or of the trailers.
    line: usize,
    body: u64,
    /// Limit of the body in bytes.
    limit: u64,
}

/// What the next byte is expected to be.
///
/// ```text
/// Size ─► (Space ─► ExtensionStart ─► …) SizeLf ─► Data ─► DataCr ─► DataLf ─► Size
///                                          │ size 0
///                                          ▼
///                   Done ◄─ EndLf ◄─ LineStart ─► Name ─► Value ─► ValueLf ─► LineStart
///
/// ExtensionStart ─► ExtensionName ─► (NameSpace) ─► ValueStart ─┬─► TokenValue ─► (Space)
///                                                               └─► Quoted ─► QuotedEnd ─► (Space)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A digit of the size, or what ends it.
    Size,
    /// White space after the size or the value of an extension, or the `;` after it.
    Space,
    /// White space before the name of an extension, or the first byte of the name.
    ExtensionStart,
    /// A byte of the name, or what ends it.
    ExtensionName,
    /// White space after the name, or the `=` or `;` after it.
    NameSpace,
    /// White space before the value, or the value's first byte.
    ValueStart,
    /// A byte of a value that is a token, or what ends it.
    TokenValue,
    /// A byte of a quoted value, or its closing quote.
    Quoted,
    /// The byte after a backslash in a quoted value.
    QuotedPair,
    /// The byte after the closing quote: white space, `;` or the CR of the line.
    QuotedEnd,
    /// The LF of the size line.
    SizeLf,
    /// Data of the chunk.
    Data,
    /// The CR after the data.
    DataCr,
    /// The LF after the data.
    DataLf,
    /// The first byte of a trailer line, or the CR of the empty line.
    LineStart,
    /// A byte of a trailer's name, or its colon.
    Name,
    /// A byte of a trailer's value, or its CR.
    Value,
    /// The LF of a trailer line.
    ValueLf,
    /// The LF of the empty line.
    EndLf,
    /// The end of the body: the next byte belongs to the next request.
    Done,
}

/// Result of one call of [`Decoder::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Input bytes that belong to this body: all of them, unless the body is complete.
    pub consumed: usize,
    /// Whether the body is complete.
    pub done: bool,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder::new()
    }
}

impl Decoder {
    /// A decoder that expects the first byte of a body of any size.
    pub fn new() -> Self {
        Self::with_limit(u64::MAX - 1)
    }

    /// A decoder that expects the first byte of a body of at most `limit` bytes.
    pub fn with_limit(limit: u64) -> Self {
        Decoder { state: State::Size, chunk: 0, line: 0, body: 0, limit }
    }

    /// Body bytes decoded so far.
    pub fn body_bytes(&self) -> u64 {
        self.body
    }

    /// Decodes what has arrived and passes the body's bytes to `out`, in order, in pieces that lie
    /// in `input`.
    ///
    /// ```
    /// use purser::http::chunked::Decoder;
    ///
    /// let (mut decoder, mut body) = (Decoder::new(), Vec::new());
    /// let first = decoder.decode(b"5\r\nhel", |bytes| body.extend_from_slice(bytes));
    /// assert!(first.is_ok_and(|decoded| !decoded.done && decoded.consumed == 6));
    ///
    /// let rest = decoder.decode(b"lo\r\n0\r\n\r\nGET ", |bytes| body.extend_from_slice(bytes));
    /// assert!(rest.is_ok_and(|decoded| decoded.done && decoded.consumed == 9));
    /// assert_eq!(body, b"hello");
    /// ```
    pub fn decode(&mut self, input: &[u8], mut out: impl FnMut(&[u8])) -> Result<Decoded, Refusal> {
        let mut rest = input;
        while let [byte, after @ ..] = rest {
            (self.state, rest) = match (self.state, rest) {
                (State::Done, _) => break,
                (State::Data, _) => {
                    rest = self.data(rest, &mut out);
                    continue;
                }
                // Small chunks, whole: more than half of such a body is not data.
                (State::DataCr, [b'\r', b'\n', after @ ..]) => (State::Size, after),
                (State::Size, [digit, b'\r', b'\n', after @ ..])
                    if self.line == 0 && digit.is_ascii_hexdigit() =>
                {
                    self.size_digit(*digit)?;
                    (self.end_size_line()?, after)
                }
                _ => (self.step(*byte)?, after),
            };
        }
        Ok(Decoded { consumed: input.len() - rest.len(), done: self.state == State::Done })
    }

    /// Passes on the bytes of the chunk that `rest` holds; returns the bytes after them.
    fn data<'i>(&mut self, rest: &'i [u8], out: &mut impl FnMut(&[u8])) -> &'i [u8] {
        let here = usize::try_from(self.chunk).map_or(rest.len(), |chunk| chunk.min(rest.len()));
        let (data, after) = rest.split_at(here);
        out(data);
        self.body += data.len() as u64;
        self.chunk -= data.len() as u64;
        if self.chunk == 0 {
            self.state = State::DataCr;
        }
        after
    }

    /// The state after `byte`, which is not chunk data.
    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match self.state {
            State::LineStart | State::Name | State::Value | State::ValueLf | State::EndLf => {
                self.trailer(byte)
            }
            State::SizeLf if byte == b'\n' => self.end_size_line(),
            State::DataCr if byte == b'\r' => Ok(State::DataLf),
            State::DataLf if byte == b'\n' => Ok(State::Size),
            State::SizeLf => Err(Refusal::Malformed(NotHttp::BareCr)),
            State::DataCr | State::DataLf => Err(Refusal::Malformed(NotHttp::ChunkEnd)),
            State::Data | State::Done => {
                unreachable!("chunk data and bytes after the body are not stepped through")
            }
            _ => self.size_line(byte),
        }
    }

    /// The state after a size line.
    fn end_size_line(&mut self) -> Result<State, Refusal> {
        self.line = 0;
        if self.chunk > self.limit - self.body {
            return Err(Refusal::BodyTooLarge);
        }
        Ok(if self.chunk == 0 { State::LineStart } else { State::Data })
    }

    /// Takes a byte of `size *( BWS ";" BWS name [ BWS "=" BWS value ] ) CR`; a value is a token or
    /// a quoted string. `BWS` is optional white space.
    fn size_line(&mut self, byte: u8) -> Result<State, Refusal> {
        let may_end = match self.state {
            State::Size => self.line > 0,
            State::ExtensionName | State::TokenValue | State::QuotedEnd => true,
            _ => false,
        };
        if byte == b'\r' && may_end {
            return Ok(State::SizeLf);
        }
        if byte == b'\n' {
            return Err(Refusal::Malformed(NotHttp::BareLf));
        }
        if self.line == CHUNK_LINE_BYTES {
            return Err(Refusal::Malformed(NotHttp::ChunkLineTooLong));
        }
        self.line += 1;
        let next = match (self.state, byte) {
            (State::Size, b';') if may_end => State::ExtensionStart,
            (State::Size, b' ' | b'\t') if may_end => State::Space,
            (State::Size, _) => return self.size_digit(byte),
            _ => self.extension(byte).map_err(Refusal::Malformed)?,
        };
        Ok(next)
    }

    /// Takes a byte of the extensions, which is no line end.
    fn extension(&self, byte: u8) -> Result<State, NotHttp> {
        let is_space = matches!(byte, b' ' | b'\t');
        match (self.state, byte) {
            (State::Space | State::ExtensionStart | State::NameSpace | State::ValueStart, _)
                if is_space =>
            {
                Ok(self.state)
            }
            (State::ExtensionName, _) if is_space => Ok(State::NameSpace),
            (State::TokenValue | State::QuotedEnd, _) if is_space => Ok(State::Space),
            (
                State::Space
                | State::ExtensionName
                | State::NameSpace
                | State::TokenValue
                | State::QuotedEnd,
                b';',
            ) => Ok(State::ExtensionStart),
            (State::ExtensionName | State::NameSpace, b'=') => Ok(State::ValueStart),
            (State::ExtensionStart | State::ExtensionName, _) if is_token(byte) => {
                Ok(State::ExtensionName)
            }
            (State::ValueStart, b'"') => Ok(State::Quoted),
            (State::ValueStart | State::TokenValue, _) if is_token(byte) => Ok(State::TokenValue),
            (State::Quoted, b'"') => Ok(State::QuotedEnd),
            (State::Quoted, b'\\') => Ok(State::QuotedPair),
            (State::Quoted | State::QuotedPair, _) if is_field_text(byte) => Ok(State::Quoted),
            (State::Space, _) => Err(NotHttp::ChunkSpace),
            _ => Err(NotHttp::ChunkExtension),
        }
    }

    /// Takes a digit of the size, which saturates: no limit is above.
    fn size_digit(&mut self, byte: u8) -> Result<State, Refusal> {
        let digit = hex_digit(byte).ok_or(Refusal::Malformed(NotHttp::ChunkSize))?;
        // The previous chunk left 0 here.
        self.chunk =
            if self.chunk >> 60 == 0 { self.chunk << 4 | u64::from(digit) } else { u64::MAX };
        Ok(State::Size)
    }

    /// Takes a byte of the trailer lines, or of the empty line that ends them.
    fn trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        if self.line == TRAILER_BYTES {
            return Err(Refusal::HeaderTooLarge);
        }
        self.line += 1;
        match (self.state, byte) {
            (State::LineStart, b'\r') => Ok(State::EndLf),
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::LineStart | State::Name, _) if is_token(byte) => Ok(State::Name),
            (State::Name, b':') => Ok(State::Value),
            (State::Value, b'\r') => Ok(State::ValueLf),
            (State::Value, _) if is_field_text(byte) => Ok(State::Value),
            (State::ValueLf, b'\n') => Ok(State::LineStart),
            (State::LineStart | State::Name | State::Value, b'\n') => {
                Err(Refusal::Malformed(NotHttp::BareLf))
            }
            (State::Value, _) => Err(Refusal::Malformed(NotHttp::TrailerValue)),
            (State::LineStart | State::Name, _) => Err(Refusal::Malformed(NotHttp::TrailerName)),
            _ => Err(Refusal::Malformed(NotHttp::BareCr)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The body, the number of input bytes consumed, and whether the body is complete.
    type Outcome = Result<(Vec<u8>, usize, bool), Refusal>;

    /// Decodes an input that arrives in `pieces`.
    fn decode_pieces<'i>(pieces: impl IntoIterator<Item = &'i [u8]>) -> Outcome {
        let (mut decoder, mut body, mut consumed, mut done) =
            (Decoder::new(), Vec::new(), 0, false);
        for piece in pieces {
            let progress = decoder.decode(piece, |data| body.extend_from_slice(data))?;
            assert!(
                progress.done || progress.consumed == piece.len(),
                "an unfinished body consumes all input"
            );
            assert_eq!(decoder.body_bytes(), body.len() as u64);
            consumed += progress.consumed;
            done = progress.done;
        }
        Ok((body, consumed, done))
    }

    /// Decodes an input whole, cut in two at every byte, and byte by byte: all must agree.
    fn decode_in_all_ways(input: &[u8]) -> Outcome {
        let whole = decode_pieces([input]);
        for cut in 0..=input.len() {
            let (left, right) = input.split_at(cut);
            assert_eq!(
                decode_pieces([left, right]),
                whole,
                "cut at {cut}: {}",
                input.escape_ascii()
            );
        }
        assert_eq!(decode_pieces(input.chunks(1)), whole, "byte by byte: {}", input.escape_ascii());
        whole
    }

    #[test]
    fn bodies() {
        let check = |input: &str, body: &str| {
            let done = Ok((body.as_bytes().to_vec(), input.len(), true));
            assert_eq!(decode_in_all_ways(input.as_bytes()), done, "{input:?}");
            assert_eq!(
                decode_in_all_ways(format!("{input}GET / ").as_bytes()),
                done,
                "{input:?} and more"
            );
            for end in 0..input.len() {
                let unfinished = decode_pieces([&input.as_bytes()[..end]])
                    .map(|(_, consumed, done)| (consumed, done));
                assert_eq!(unfinished, Ok((end, false)), "{input:?} up to {end}");
            }
        };
        check("0\r\n\r\n", "");
        check("5\r\nhello\r\n0\r\n\r\n", "hello");
        check("5\r\nhello\r\n6\r\n\r\n0\r\n\n\r\n0\r\n\r\n", "hello\r\n0\r\n\n");
        check("A\r\n0123456789\r\n00a\r\n0123456789\r\n000\r\n\r\n", "01234567890123456789");
        check("0000000000000001\r\nx\r\n0000000000000000\r\n\r\n", "x");
        check("1;a=b;c=\"d e\"\r\nx\r\n0;z\r\n\r\n", "x");
        for extensions in
            [" \t;\ta", ";a=b", "; a = b ;c;d=e", ";a=\"\"", ";a=\"b;c=\\\"\t\\\\\u{e9}\" ; d"]
        {
            check(&format!("1{extensions}\r\nx\r\n0{extensions}\r\n\r\n"), "x");
        }
        check(&format!("{}1\r\nx\r\n0\r\n\r\n", "0".repeat(CHUNK_LINE_BYTES - 1)), "x");
    }

    #[test]
    fn trailers() {
        let check = |input: &str| {
            assert_eq!(
                decode_in_all_ways(input.as_bytes()),
                Ok((vec![], input.len(), true)),
                "{input:?}"
            );
        };
        check("0\r\nX: y\r\n\r\n");
        check("0\r\nX:y\r\nZ:\r\nW: \ta \u{e9}:\r\n\r\n");
        // Skipped, not interpreted.
        check("0\r\nContent-Length: 5\r\nHost: b\r\n\r\n");
    }

    #[test]
    fn faults() {
        let check = |input: &str, reason| {
            assert_eq!(
                decode_in_all_ways(input.as_bytes()),
                Err(Refusal::Malformed(reason)),
                "{input:?}"
            );
        };
        for input in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "1g\r\n",
            " 1\r\n",
            ";a\r\n",
            "1,\r\n",
            "\u{661}\r\n",
        ] {
            check(input, NotHttp::ChunkSize);
        }
        for input in ["1 \r\nx\r\n", "1 2\r\n", "1;a=b \r\n", "1;a=\"b\"\t\"\r\n"] {
            check(input, NotHttp::ChunkSpace);
        }
        for input in ["1\rx\r\n", "1;a\r\r\n", "0\r\n\rX", "0\r\nX: y\rz\r\n"] {
            check(input, NotHttp::BareCr);
        }
        for input in
            ["\n", "1\n", "1;a\nx\r\n", "1;a=\"\n\"\r\n", "0\r\n\n", "0\r\nX\n", "0\r\nX: y\n\r\n"]
        {
            check(input, NotHttp::BareLf);
        }
        for input in [
            "1;\r\n",
            "1;;a\r\n",
            "1;=b\r\n",
            "1;a=\r\n",
            "1;a=;b\r\n",
            "1;a b\r\n",
            "1;a \r\n",
            "1;a/b\r\n",
            "1;a=b=c\r\n",
            "1;a=b\"c\"\r\n",
            "1;a=\"b\"c\r\n",
            "1;a=\"b\r\n",
            "1;a=\"b\\\"\r\n",
            "1;\"a\"=b\r\n",
            "1;a\0\r\n",
            "1;a=\"\u{7f}\"\r\n",
            "1;a=\"\\\0\"\r\n",
            "1;\u{e9}\r\n",
        ] {
            check(input, NotHttp::ChunkExtension);
        }
        for input in ["1\r\nxy\r\n", "1\r\nx\n", "1\r\nx\rx", "1\r\nx0\r\n\r\n"] {
            check(input, NotHttp::ChunkEnd);
        }
        for input in [
            "0\r\n X: y\r\n\r\n",
            "0\r\nX: y\r\n z\r\n\r\n",
            "0\r\nX : y\r\n\r\n",
            "0\r\n: y\r\n",
            "0\r\nX\r\n\r\n",
        ] {
            check(input, NotHttp::TrailerName);
        }
        for input in ["0\r\nX: \0\r\n\r\n", "0\r\nX: \u{7f}\r\n"] {
            check(input, NotHttp::TrailerValue);
        }
    }

    #[test]
    fn limits() {
        let line = |bytes: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(bytes - 2));
        let too_long = Err(Refusal::Malformed(NotHttp::ChunkLineTooLong));
        assert_eq!(
            decode_in_all_ways(line(CHUNK_LINE_BYTES).as_bytes()),
            Ok((b"x".to_vec(), line(CHUNK_LINE_BYTES).len(), true))
        );
        assert_eq!(decode_in_all_ways(line(CHUNK_LINE_BYTES + 1).as_bytes()), too_long);
        assert_eq!(
            decode_in_all_ways(format!("1{}", " ".repeat(CHUNK_LINE_BYTES)).as_bytes()),
            too_long
        );

        let trailers =
            |bytes: usize| format!("0\r\nX:{}\r\n\r\n", "a".repeat(bytes - "X:\r\n\r\n".len()));
        let fits = trailers(TRAILER_BYTES);
        assert_eq!(decode_in_all_ways(fits.as_bytes()), Ok((vec![], fits.len(), true)));
        assert_eq!(
            decode_in_all_ways(trailers(TRAILER_BYTES + 1).as_bytes()),
            Err(Refusal::HeaderTooLarge)
        );

        // The largest size is valid; the end of its chunk never arrives.
        let (body, _, done) = decode_in_all_ways(b"fffffffffffffffe\r\nabc")
            .expect("an unfinished chunk is not a fault");
        assert_eq!((&body[..], done), (&b"abc"[..], false));
        for size in ["ffffffffffffffff", "10000000000000000", "ffffffffffffffffffffffff0"] {
            let input = format!("{size}\r\n");
            assert_eq!(decode_in_all_ways(input.as_bytes()), Err(Refusal::BodyTooLarge), "{size}");
        }
    }

    #[test]
    fn a_body_above_its_limit_is_refused_at_the_size_line() {
        let decode = |limit, input: &[u8]| {
            let mut decoder = Decoder::with_limit(limit);
            decoder.decode(input, |_| {}).map(|decoded| decoded.done)
        };
        assert_eq!(decode(3, b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"), Ok(true));
        assert_eq!(decode(3, b"1\r\na\r\n3\r"), Ok(false));
        assert_eq!(decode(3, b"1\r\na\r\n3\r\n"), Err(Refusal::BodyTooLarge));
        assert_eq!(decode(0, b"0\r\n\r\n"), Ok(true));
        assert_eq!(decode(0, b"1;a=b\r\n"), Err(Refusal::BodyTooLarge));
        assert_eq!(decode(u64::MAX, b"ffffffffffffffff\r\n"), Ok(false));
    }

    fn one_of(bytes: &[u8]) -> impl Strategy<Value = u8> {
        prop::sample::select(bytes.to_vec())
    }

    proptest! {
        #[test]
        fn any_bytes(input in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode_in_all_ways(&input);
        }

        #[test]
        fn grammar_bytes(input in prop::collection::vec(one_of(b"\r\n\r\n012a; :X"), 0..40)) {
            let _ = decode_in_all_ways(&input);
        }

        #[test]
        fn encoded_chunks_decode(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..5)
        ) {
            let mut input = Vec::new();
            for chunk in &chunks {
                input.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                input.extend_from_slice(chunk);
                input.extend_from_slice(b"\r\n");
            }
            input.extend_from_slice(b"0\r\n\r\n");
            prop_assert_eq!(decode_in_all_ways(&input), Ok((chunks.concat(), input.len(), true)));
        }
    }
}
