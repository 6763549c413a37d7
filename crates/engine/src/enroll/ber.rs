//! From BER to DER: EC2's signatures are written as a stream, with lengths that only their ends tell.

/// How deep values may be nested. A signature has ten levels.
const DEPTH: usize = 16;

const CONSTRUCTED: u8 = 0x20;
const OCTET_STRING: u8 = 0x04;
const INDEFINITE: u8 = 0x80;

/// One value in DER: lengths in front, octet strings in one piece. `None` when it is damaged. Values of other types stay as
/// they are, and so does the order of sets.
pub(super) fn to_der(ber: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(ber.len());
    let rest = value(ber, &mut out, DEPTH)?;
    rest.is_empty().then_some(out)
}

/// Writes the first value, and gives what follows it.
fn value<'a>(ber: &'a [u8], out: &mut Vec<u8>, depth: usize) -> Option<&'a [u8]> {
    let depth = depth.checked_sub(1)?;
    let (&tag, rest) = ber.split_first()?;
    // Numbers above 30 take more bytes; nothing here has one.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (length, rest) = length(rest)?;
    let mut inner = Vec::new();
    let after = match length {
        Some(length) => {
            let (content, after) = rest.split_at_checked(length)?;
            if tag & CONSTRUCTED == 0 {
                inner.extend_from_slice(content);
            } else {
                let mut content = content;
                while !content.is_empty() {
                    content = value(content, &mut inner, depth)?;
                }
            }
            after
        }
        None if tag & CONSTRUCTED == 0 => return None,
        None => {
            let mut content = rest;
            loop {
                match content.strip_prefix(&[0, 0]) {
                    Some(after) => break after,
                    None => content = value(content, &mut inner, depth)?,
                }
            }
        }
    };
    if tag == OCTET_STRING | CONSTRUCTED {
        write(OCTET_STRING, &joined(&inner)?, out);
    } else {
        write(tag, &inner, out);
    }
    Some(after)
}

/// The pieces of an octet string, which are in DER already, in one.
fn joined(mut pieces: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::with_capacity(pieces.len());
    while let Some((&tag, rest)) = pieces.split_first() {
        let (length, rest) = length(rest)?;
        let (piece, after) = rest.split_at_checked(length?)?;
        if tag != OCTET_STRING {
            return None;
        }
        whole.extend_from_slice(piece);
        pieces = after;
    }
    Some(whole)
}

/// A length (`None`: not said in front), and what follows it.
fn length(ber: &[u8]) -> Option<(Option<usize>, &[u8])> {
    let (&first, rest) = ber.split_first()?;
    match first {
        0..INDEFINITE => Some((Some(usize::from(first)), rest)),
        INDEFINITE => Some((None, rest)),
        // Four bytes are more than any text that is taken.
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            Some((Some(length), rest))
        }
        _ => None,
    }
}

fn write(tag: u8, content: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    let bytes = content.len().to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[zeros..];
    match content.len() {
        0..0x80 => out.extend(content.len().to_le_bytes().first()),
        _ => {
            out.extend(bytes.len().to_le_bytes().first().map(|count| INDEFINITE | count));
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(content);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lengths_come_to_the_front_and_pieces_together() {
        // SEQUENCE (indefinite) { OCTET STRING (constructed, indefinite) { 'a', 'b' }, INTEGER 5 }
        let ber = [0x30, 0x80, 0x24, 0x80, 4, 1, b'a', 4, 1, b'b', 0, 0, 2, 1, 5, 0, 0];
        assert_eq!(to_der(&ber).unwrap(), [0x30, 7, 4, 2, b'a', b'b', 2, 1, 5]);
        let long = [&[0x30, 0x82, 0, 0x84, 4, 0x81, 0x81][..], &[7; 0x81]].concat();
        assert_eq!(to_der(&long).unwrap(), [&[0x30, 0x81, 0x84, 4, 0x81, 0x81][..], &[7; 0x81]].concat());
    }

    #[test]
    fn what_is_damaged_or_too_deep_is_none() {
        for ber in [
            &[][..],
            &[0x30],
            &[0x30, 2, 5],
            &[0x30, 0x80, 5, 0],
            &[4, 0x80, 0, 0],
            &[5, 0, 0],
            &[0x24, 2, 5, 0],
        ] {
            assert_eq!(to_der(ber), None, "{ber:?}");
        }
        assert_eq!(to_der(&[0x30, 0x80].repeat(30_000)), None);
        assert_eq!(to_der(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
    }

    proptest! {
        #[test]
        fn anything_is_taken_and_der_stays(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(der) = to_der(&bytes) {
                prop_assert_eq!(to_der(&der), Some(der.clone()));
            }
        }
    }
}
