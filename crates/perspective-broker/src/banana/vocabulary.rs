//! The words of dialect `pb` (`twisted.spread.banana.Banana.outgoingVocabulary`), and those that always travel in full
//! but are as common.

/// Index 0 is word 1.
const WORDS: [&str; 31] = [
    "None",
    "class",
    "dereference",
    "reference",
    "dictionary",
    "function",
    "instance",
    "list",
    "module",
    "persistent",
    "tuple",
    "unpersistable",
    "copy",
    "cache",
    "cached",
    "remote",
    "local",
    "lcache",
    "version",
    "login",
    "password",
    "challenge",
    "logged_in",
    "not_logged_in",
    "cachemessage",
    "message",
    "answer",
    "error",
    "decref",
    "decache",
    "uncache",
];

const LONGEST: usize = 13;

/// The word of a number.
pub(super) fn word(number: u64) -> Option<&'static [u8]> {
    let index = usize::try_from(number.checked_sub(1)?).ok()?;
    WORDS.get(index).map(|word| word.as_bytes())
}

/// The number of a word.
pub(super) fn number(word: &[u8]) -> Option<u8> {
    if word.len() > LONGEST {
        return None;
    }
    Some(match word {
        b"None" => 1,
        b"class" => 2,
        b"dereference" => 3,
        b"reference" => 4,
        b"dictionary" => 5,
        b"function" => 6,
        b"instance" => 7,
        b"list" => 8,
        b"module" => 9,
        b"persistent" => 10,
        b"tuple" => 11,
        b"unpersistable" => 12,
        b"copy" => 13,
        b"cache" => 14,
        b"cached" => 15,
        b"remote" => 16,
        b"local" => 17,
        b"lcache" => 18,
        b"version" => 19,
        b"login" => 20,
        b"password" => 21,
        b"challenge" => 22,
        b"logged_in" => 23,
        b"not_logged_in" => 24,
        b"cachemessage" => 25,
        b"message" => 26,
        b"answer" => 27,
        b"error" => 28,
        b"decref" => 29,
        b"decache" => 30,
        b"uncache" => 31,
        _ => return None,
    })
}

/// A string that need not be copied from the wire, because the program has it already.
pub(super) fn known(string: &[u8]) -> Option<&'static [u8]> {
    match string {
        b"unicode" => Some(b"unicode"),
        b"boolean" => Some(b"boolean"),
        b"true" => Some(b"true"),
        b"false" => Some(b"false"),
        _ => number(string).and_then(|number| word(number.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, WORDS, known, number, word};

    #[test]
    fn words_and_numbers_agree() {
        for (index, expected) in WORDS.iter().enumerate() {
            let n = index as u64 + 1;
            assert_eq!(word(n), Some(expected.as_bytes()));
            assert_eq!(number(expected.as_bytes()).map(u64::from), Some(n));
            assert_eq!(known(expected.as_bytes()), Some(expected.as_bytes()));
            assert!(expected.len() <= LONGEST);
        }
        assert_eq!(word(0), None);
        assert_eq!(word(32), None);
        assert_eq!(word(u64::MAX), None);
        assert_eq!(number(b"none"), None);
        assert_eq!(known(b"something"), None);
    }
}
