use super::{DecodeError, Decoder, Dialect, Element, EncodeError, encode};
use crate::limits::{LimitExceeded, Limits};
use bytes::{Bytes, BytesMut};
use num_bigint::BigInt;
use proptest::prelude::*;

fn encoded(element: &Element, dialect: Dialect) -> Vec<u8> {
    let mut out = BytesMut::new();
    encode(element, dialect, &Limits::default(), &mut out).unwrap();
    out.to_vec()
}

fn decoder(dialect: Dialect, limits: &Limits) -> Decoder {
    let mut decoder = Decoder::new(limits);
    decoder.set_dialect(dialect);
    decoder
}

/// Decodes a stream that arrives in pieces of `chunk` bytes.
fn decode_in_chunks(bytes: &[u8], chunk: usize, dialect: Dialect) -> Result<Vec<Element>, DecodeError> {
    let mut decoder = decoder(dialect, &Limits::default());
    let mut input = BytesMut::new();
    let mut found = Vec::new();
    for piece in bytes.chunks(chunk) {
        input.extend_from_slice(piece);
        while let Some(element) = decoder.next(&mut input)? {
            found.push(element);
        }
    }
    assert!(decoder.is_idle() && input.is_empty());
    Ok(found)
}

fn refused(bytes: &[u8], limits: &Limits) -> DecodeError {
    let mut decoder = decoder(Dialect::Pb, limits);
    let mut input = BytesMut::from(bytes);
    let error = decoder.next(&mut input).unwrap_err();
    assert_eq!(decoder.next(&mut BytesMut::new()), Err(error.clone()), "an error is final");
    error
}

fn exceeded(limit: &'static str, announced: u64, bound: u64) -> DecodeError {
    DecodeError::Limit(LimitExceeded { limit, announced, bound })
}

#[test]
fn the_widest_integers_keep_their_value() {
    let widest: BigInt = (BigInt::from(1) << 448) - 1;
    for int in [widest.clone(), -widest.clone(), BigInt::from(i64::MAX) + 1, BigInt::from(i64::MIN) - 1] {
        let element = Element::BigInt(Box::new(int));
        let wire = encoded(&element, Dialect::Pb);
        assert_eq!(decode_in_chunks(&wire, 1, Dialect::Pb).unwrap(), [element]);
    }
    for int in [i64::MAX, i64::MIN] {
        let wire = encoded(&Element::Int(int), Dialect::Pb);
        assert_eq!(decode_in_chunks(&wire, 1, Dialect::Pb).unwrap(), [Element::Int(int)]);
    }
    let mut out = BytesMut::from("before");
    let too_wide = Element::List(vec![Element::Int(1), Element::BigInt(Box::new(widest + 1))]);
    let error = encode(&too_wide, Dialect::Pb, &Limits::default(), &mut out).unwrap_err();
    assert_eq!(error, EncodeError::Limit(LimitExceeded { limit: "prefix", announced: 65, bound: 64 }));
    assert_eq!(out, "before");
}

#[test]
fn integers_may_come_in_any_type_and_with_leading_zeros() {
    for (wire, int) in [
        (&[0x81][..], 0),
        (&[0x83], 0),
        (&[5, 0x85], 5),
        (&[5, 0x86], -5),
        (&[5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x83], -5),
    ] {
        assert_eq!(decode_in_chunks(wire, 1, Dialect::None).unwrap(), [Element::Int(int)]);
    }
}

#[test]
fn what_was_announced_is_refused_before_it_comes() {
    let limits = Limits::default();
    // 655 361 is one more than Twisted takes.
    assert_eq!(refused(&[1, 0, 40, 0x82], &limits), exceeded("string", 655_361, 655_360));
    assert_eq!(refused(&[1, 0, 40, 0x80], &limits), exceeded("list", 655_361, 655_360));
    assert_eq!(refused(&[&[0x7f; 64][..], &[0x82]].concat(), &limits), exceeded("string", u64::MAX, 655_360));
    assert_eq!(refused(&[0; 65], &limits), exceeded("prefix", 65, 64));
    assert_eq!(refused(&[&[0; 65][..], &[0x81]].concat(), &limits), exceeded("prefix", 65, 64));
    assert_eq!(refused(&[0x88], &limits), DecodeError::UnknownType(0x88));
    assert_eq!(refused(&[0xff], &limits), DecodeError::UnknownType(0xff));
    assert_eq!(refused(&[32, 0x87], &limits), DecodeError::UnknownWord(32));
    assert_eq!(refused(&[0x87], &limits), DecodeError::UnknownWord(0));
    assert_eq!(decode_in_chunks(&[1, 0x87], 1, Dialect::None), Err(DecodeError::WordInDialectNone));
}

#[test]
fn a_prefix_that_never_ends_is_refused_byte_by_byte() {
    let mut decoder = Decoder::new(&Limits::default());
    let mut input = BytesMut::new();
    for sent in 1..=65 {
        input.extend_from_slice(&[1]);
        let step = decoder.next(&mut input);
        if sent <= 64 {
            assert_eq!(step, Ok(None));
            assert!(input.is_empty(), "digits are read once");
        } else {
            assert_eq!(step, Err(exceeded("prefix", 65, 64)));
        }
    }
}

#[test]
fn exactly_the_limit_is_fine() {
    let limits = Limits { string: 5, list: 2, depth: 3, nodes: 4, ..Limits::default() };
    let list = |items: Vec<Element>| Element::List(items);
    let string = Element::Bytes(Bytes::from_static(b"12345"));
    let fine = list(vec![list(vec![list(vec![Element::Int(1)])]), string.clone()]);
    let mut out = BytesMut::new();
    encode(&fine, Dialect::Pb, &limits, &mut out).unwrap();
    assert_eq!(decoder(Dialect::Pb, &limits).next(&mut out), Ok(Some(fine.clone())));

    let deeper = list(vec![fine]);
    assert!(encode(&deeper, Dialect::Pb, &limits, &mut BytesMut::new()).is_err());
    assert_eq!(refused(&encoded(&deeper, Dialect::Pb), &limits), exceeded("depth", 4, 3));
    let more = list(vec![list(vec![string.clone(), string.clone()]), list(vec![string])]);
    assert_eq!(refused(&encoded(&more, Dialect::Pb), &limits), exceeded("nodes", 5, 4));
}

#[test]
fn endless_nesting_ends_at_the_depth_limit() {
    let endless = [1, 0x80].repeat(1_000_000);
    assert_eq!(refused(&endless, &Limits::default()), exceeded("depth", 129, 128));
    let boundless = Limits { depth: usize::MAX, ..Limits::default() };
    assert_eq!(refused(&endless, &boundless), exceeded("depth", 257, 256));
}

#[test]
fn an_endless_list_ends_at_the_node_limit() {
    // Lists of the greatest length inside one another: each is allowed, all together are not.
    let endless = [0, 0, 40, 0x80].repeat(10);
    assert_eq!(refused(&endless, &Limits::default()), exceeded("nodes", 1_310_720, 1_000_000));
}

#[test]
fn a_message_of_many_strings_ends_at_the_message_limit() {
    let limits = Limits { message: 1000, ..Limits::default() };
    let mut decoder = Decoder::new(&limits);
    let mut input = BytesMut::from(&[100, 0x80][..]);
    // Two bytes of list, 102 for each string: the tenth one's announcement is too much.
    for _ in 0..9 {
        input.extend_from_slice(&[100, 0x82]);
        input.extend_from_slice(&[b'x'; 100]);
        assert_eq!(decoder.next(&mut input), Ok(None));
    }
    input.extend_from_slice(&[100, 0x82]);
    assert_eq!(decoder.next(&mut input), Err(exceeded("message", 1022, 1000)));
}

#[test]
fn the_message_limit_starts_anew_with_every_message() {
    let limits = Limits { message: 110, ..Limits::default() };
    let mut decoder = Decoder::new(&limits);
    let mut input = BytesMut::new();
    for _ in 0..100 {
        input.extend_from_slice(&[100, 0x82]);
        input.extend_from_slice(&[b'x'; 100]);
        assert!(decoder.next(&mut input).unwrap().is_some());
    }
}

#[test]
fn long_strings_are_slices_of_the_input() {
    let mut input = BytesMut::new();
    encode(&Element::Bytes(vec![b'x'; 60 * 1024].into()), Dialect::Pb, &Limits::default(), &mut input)
        .unwrap();
    let payload = input.as_ptr().addr() + 4;
    let Some(Element::Bytes(bytes)) = Decoder::new(&Limits::default()).next(&mut input).unwrap() else {
        panic!("not a string");
    };
    assert_eq!(bytes.as_ptr().addr(), payload);
}

#[test]
fn short_strings_do_not_keep_the_input_alive() {
    let mut input = BytesMut::with_capacity(64 * 1024);
    encode(&Element::Bytes(vec![b'x'; 100].into()), Dialect::Pb, &Limits::default(), &mut input).unwrap();
    let buffer = input.as_ptr().addr()..input.as_ptr().addr() + input.capacity();
    let Some(Element::Bytes(bytes)) = Decoder::new(&Limits::default()).next(&mut input).unwrap() else {
        panic!("not a string");
    };
    assert!(!buffer.contains(&bytes.as_ptr().addr()));
}

#[test]
fn a_header_is_read_once_while_its_string_arrives() {
    let mut decoder = Decoder::new(&Limits::default());
    let mut input = BytesMut::from(&[10, 0x82, b'a'][..]);
    assert_eq!(decoder.next(&mut input), Ok(None));
    assert_eq!(input, "a");
    assert_eq!(decoder.missing(input.len()), 9);
    assert!(!decoder.is_idle());
}

fn elements() -> impl Strategy<Value = Element> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Element::Int),
        any::<f64>().prop_filter("NaN is not equal to itself", |f| !f.is_nan()).prop_map(Element::Float),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| Element::Bytes(bytes.into())),
        prop::sample::select(vec!["None", "list", "tuple", "reference", "unicode", "root"])
            .prop_map(|word| Element::Bytes(Bytes::from_static(word.as_bytes()))),
        (prop::collection::vec(any::<u8>(), 9..55), any::<bool>()).prop_map(|(bytes, negative)| {
            // One more than 2^64 keeps it out of reach of 64 bits.
            let int: BigInt = BigInt::from_bytes_le(num_bigint::Sign::Plus, &bytes) + (BigInt::from(1) << 64);
            Element::BigInt(Box::new(if negative { -int } else { int }))
        }),
    ];
    leaf.prop_recursive(5, 60, 8, |inner| prop::collection::vec(inner, 0..8).prop_map(Element::List))
}

proptest! {
    #[test]
    fn decoding_undoes_encoding_however_the_stream_is_cut(
        expressions in prop::collection::vec(elements(), 1..4),
        pb in any::<bool>(),
    ) {
        let dialect = if pb { Dialect::Pb } else { Dialect::None };
        let wire: Vec<u8> = expressions.iter().flat_map(|element| encoded(element, dialect)).collect();
        for chunk in 1..=wire.len().min(64) {
            prop_assert_eq!(&decode_in_chunks(&wire, chunk, dialect).unwrap(), &expressions);
        }
        prop_assert_eq!(&decode_in_chunks(&wire, wire.len(), dialect).unwrap(), &expressions);
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut whole = decoder(Dialect::Pb, &Limits::default());
        let mut input = BytesMut::from(&bytes[..]);
        let mut found = Vec::new();
        let end = loop {
            match whole.next(&mut input) {
                Ok(Some(element)) => found.push(element),
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        // The same bytes one at a time come to the same.
        let mut piecemeal = decoder(Dialect::Pb, &Limits::default());
        let mut input = BytesMut::new();
        let mut again = Vec::new();
        let mut end_again = Ok(());
        'bytes: for byte in bytes {
            input.extend_from_slice(&[byte]);
            loop {
                match piecemeal.next(&mut input) {
                    Ok(Some(element)) => again.push(element),
                    Ok(None) => break,
                    Err(error) => {
                        end_again = Err(error);
                        break 'bytes;
                    }
                }
            }
        }
        prop_assert_eq!(format!("{found:?}"), format!("{again:?}"));
        // A prefix that is too long may be seen before the type byte that makes it worse.
        prop_assert_eq!(end, end_again);
    }
}
