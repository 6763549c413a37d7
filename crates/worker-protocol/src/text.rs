//! Text on the wire: which of the two kinds of string a worker speaks, and bytes that become text piece by piece.

use bytes::Bytes;
use bytestring::ByteString;
use perspective_broker::Value;

/// The kind of string that a worker uses, and wants to be answered in.
///
/// Workers on Python 2 need byte strings: one unicode string among their arguments makes them hang on the first
/// non-ASCII byte. Workers on Python 3 need unicode strings before 0.9.12, and take both since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StringKind {
    /// Python 2: `str`, bytes.
    Bytes,
    /// Python 3: `str`, Unicode.
    Unicode,
}

impl StringKind {
    /// The text as a value of this kind; costs no copy when the text is a `ByteString`.
    pub(crate) fn text(self, text: impl Into<ByteString>) -> Value {
        let text = text.into();
        match self {
            Self::Bytes => Value::Bytes(text.into_bytes()),
            Self::Unicode => Value::Text(text),
        }
    }
}

/// Text of a value that may be of either kind; bytes that are not UTF-8 are replaced.
pub(crate) fn lossy(value: &Value) -> Option<ByteString> {
    match value.resolved() {
        Value::Text(text) => Some(text.clone()),
        Value::Bytes(bytes) => Some(match ByteString::try_from(bytes.clone()) {
            Ok(text) => text,
            Err(_) => String::from_utf8_lossy(bytes).into_owned().into(),
        }),
        _ => None,
    }
}

/// The end of a chunk that is the beginning of a character, kept until the next chunk of the same stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8Tail {
    bytes: [u8; 3],
    len: u8,
}

impl Utf8Tail {
    /// Nothing is kept.
    pub(crate) fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The text of the next chunk. A chunk that is valid UTF-8 is not copied; what can never become valid is
    /// replaced by U+FFFD; a character cut at the end waits for the next chunk.
    pub(crate) fn decode(&mut self, chunk: Bytes) -> ByteString {
        if self.is_empty() {
            let cut = match ByteString::try_from(chunk.clone()) {
                Ok(text) => return text,
                Err(_) => std::str::from_utf8(&chunk).err(),
            };
            return match cut {
                Some(error) if error.error_len().is_none() => {
                    let whole = chunk.slice(..error.valid_up_to());
                    self.keep(chunk.get(error.valid_up_to()..).unwrap_or_default());
                    ByteString::try_from(whole).unwrap_or_default()
                }
                _ => self.replace(&chunk),
            };
        }
        let mut joined = Vec::with_capacity(usize::from(self.len) + chunk.len());
        joined.extend_from_slice(self.kept());
        joined.extend_from_slice(&chunk);
        self.len = 0;
        self.replace(&joined)
    }

    /// What was waiting when the stream ended.
    pub(crate) fn flush(&mut self) -> Option<ByteString> {
        let text = (!self.is_empty()).then(|| String::from_utf8_lossy(self.kept()).into_owned().into());
        self.len = 0;
        text
    }

    fn kept(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn keep(&mut self, tail: &[u8]) {
        for (kept, byte) in self.bytes.iter_mut().zip(tail) {
            *kept = *byte;
        }
        // A cut character is at most three bytes long, so the cast keeps the value.
        self.len = tail.len().min(self.bytes.len()) as u8;
    }

    fn replace(&mut self, bytes: &[u8]) -> ByteString {
        let mut text = String::with_capacity(bytes.len());
        let mut rest = bytes;
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text.into();
                }
                Err(error) => {
                    let (valid, invalid) = rest.split_at(error.valid_up_to());
                    text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    let Some(len) = error.error_len() else {
                        self.keep(invalid);
                        return text.into();
                    };
                    text.push(char::REPLACEMENT_CHARACTER);
                    rest = invalid.get(len..).unwrap_or_default();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(chunks: &[&[u8]]) -> Vec<String> {
        let mut tail = Utf8Tail::default();
        let mut texts: Vec<String> =
            chunks.iter().map(|chunk| tail.decode(Bytes::copy_from_slice(chunk)).to_string()).collect();
        texts.extend(tail.flush().map(|text| text.to_string()));
        texts
    }

    #[test]
    fn a_valid_chunk_is_not_copied() {
        let chunk = Bytes::from_static("grüße".as_bytes());
        let text = Utf8Tail::default().decode(chunk.clone());
        assert_eq!(text.as_bytes().as_ptr(), chunk.as_ptr());
    }

    #[test]
    fn a_character_cut_anywhere_is_joined() {
        let whole = "a€😀z".as_bytes();
        for cut in 0..=whole.len() {
            let (left, right) = whole.split_at(cut);
            assert_eq!(decode(&[left, right]).concat(), "a€😀z", "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(decode(&bytes).concat(), "a€😀z");
    }

    #[test]
    fn what_cannot_be_text_is_replaced() {
        assert_eq!(decode(&[b"a\xffb"]), ["a\u{fffd}b"]);
        assert_eq!(decode(&[b"a\xe2\x82", b"b"]), ["a", "\u{fffd}b"]);
        assert_eq!(decode(&[b"a\xe2\x82"]), ["a", "\u{fffd}"]);
        assert_eq!(decode(&[b"\xff\xe2", b"\x82\xac"]), ["\u{fffd}", "€"]);
    }
}
