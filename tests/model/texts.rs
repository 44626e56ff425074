//! Texts that are almost JSON: a good text cut at each byte, and with each byte replaced by others
//! or preceded by one. All implementations must agree on why such a text is refused.

/// Bytes that matter to JSON or to UTF-8. None is a line feed.
const BYTES: &[u8] = b"\x00\t \"\\/{}[]:,-+.019eEtnuxg_\x7f\x80\xc3\xed\xff";

/// A line with every kind of value, which is no entry.
const LINE: &str = concat!(
    r#"{"entry_id":"7","x\u0041":"\ud83d\ude00\/é","amount":-10.5e+3,"#,
    r#""y":[true,false,{"z":null}],"at_ms":0}"#
);

/// An entry with every kind of value in its `metadata`.
const ENTRY: &str = concat!(
    r#"{"entry_id":"7","user_id":"42","currency":"COIN","kind":"gift","direction":"debit","#,
    r#""metadata":{"a":["\ud83d\ude00\/é",-10.5e+3,true],"a":{"b":null}},"amount":5,"at_ms":0}"#
);

/// A batch with every kind of value, which is refused.
const BATCH: &str = concat!(
    r#"{"requests":[{"user_id":"\u0037","read":"stats","at_ms":-0.5E1},"#,
    r#"{"\ud83d\ude00":[{}, true]}],"x":null}"#
);

/// Feeds of the variants of the lines.
pub fn feeds() -> Vec<Vec<u8>> {
    let lines = [LINE, ENTRY].map(|line| variants(line.as_bytes())).concat();
    lines.chunks(8_000).map(|lines| lines.join(&b'\n')).collect()
}

/// A batch's variants.
pub fn batches() -> Vec<Vec<u8>> {
    variants(BATCH.as_bytes())
}

fn variants(text: &[u8]) -> Vec<Vec<u8>> {
    let mut all = vec![[b"\xef\xbb\xbf", text].concat(), text.to_vec()];
    for at in 0..text.len() {
        let (before, after) = text.split_at(at);
        all.extend((at > 0).then(|| before.to_vec()));
        for byte in BYTES.chunks(1) {
            all.push([before, byte, after].concat());
            all.push([before, byte, &after[1..]].concat());
        }
    }
    for byte in BYTES.chunks(1) {
        all.push([text, byte].concat());
    }
    all
}
