//! The hashes by which Buildbot finds names and source stamps.
//!
//! Source: `hash_columns` in `buildbot/util/sautils.py` (4.3.0): SHA-1 over the UTF-8 of the columns with a zero byte
//! between them; a null is the byte 0xf5, which UTF-8 never contains; a number is its decimal text.

use std::borrow::Cow;

use model::SourceStamp;
use sha1::{Digest, Sha1};

/// The `name_hash` of a builder, master, scheduler, tag or change source.
pub fn name_hash(name: &str) -> String {
    hash_columns(&[Some(name)])
}

/// The `ss_hash` of a source stamp; `patch` is the row of its patch, if it has one.
pub fn source_stamp_hash(stamp: &SourceStamp, patch: Option<i64>) -> String {
    let patch = patch.map(|id| id.to_string());
    hash_columns(&[
        stamp.branch.as_deref(),
        stamp.revision.as_deref(),
        Some(&stamp.repository),
        Some(&stamp.project),
        Some(&stamp.codebase),
        patch.as_deref(),
    ])
}

/// A text for a column of so many characters. One that is longer has its end replaced by a hash of the whole
/// (`ensureLength` in `buildbot/db/base.py`, 4.3.0).
pub(crate) fn fitting(text: &str, length: usize) -> Cow<'_, str> {
    if text.chars().nth(length).is_none() {
        return text.into();
    }
    let half = length / 2;
    text.chars().take(half).chain(hash_columns(&[Some(text)]).chars().take(half)).collect()
}

fn hash_columns(columns: &[Option<&str>]) -> String {
    let mut sha = Sha1::new();
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            sha.update([0]);
        }
        sha.update(column.map_or(&[0xf5][..], str::as_bytes));
    }
    let mut hex = String::with_capacity(40);
    for byte in sha.finalize() {
        for digit in [byte >> 4, byte & 15] {
            hex.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hash_as_a_buildbot_4_3_0_wrote_them() {
        assert_eq!(name_hash("b1"), "7e83ca2a65d6f90a809c8570c6c905a941b87732");
        assert_eq!(name_hash("nightly"), "d7900bba317ad99099d2eada13744f977b2966ea");
    }

    #[test]
    fn a_text_that_is_too_long_ends_in_its_hash() {
        assert_eq!(fitting("größe", 5), "größe");
        // sha1("größe1")
        assert_eq!(fitting("größe1", 5), "gr1f");
        assert_eq!(fitting(&"x".repeat(129), 128).len(), 64 + 40);
        assert_ne!(fitting(&("x".repeat(200) + "1"), 128), fitting(&("x".repeat(200) + "2"), 128));
    }

    #[test]
    fn source_stamps_hash_as_a_buildbot_4_3_0_wrote_them() {
        assert_eq!(
            source_stamp_hash(&SourceStamp::default(), None),
            "835fccf6db3694afb48c380997024542c0bc162d"
        );
        let stamp = SourceStamp {
            branch: Some("main".into()),
            revision: Some("abc2".into()),
            repository: "http://repo".into(),
            ..SourceStamp::default()
        };
        assert_eq!(source_stamp_hash(&stamp, None), "143cc67f77efe0e93acec91e70781d74d3b0719f");
        assert_ne!(source_stamp_hash(&stamp, Some(1)), source_stamp_hash(&stamp, None));
    }
}
