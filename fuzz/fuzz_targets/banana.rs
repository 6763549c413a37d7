//! Bytes to expressions: nothing panics, the cut of the stream does not matter, and what was understood is encoded in a
//! form that means the same.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use perspective_broker::{Decoder, Dialect, Element, Limits, encode};

fuzz_target!(|data: &[u8]| {
    let whole = decode(&[data]);
    // The first byte chooses where the stream is cut.
    let cut = data.first().map_or(0, |byte| usize::from(*byte) % data.len());
    assert_eq!(text(&whole), text(&decode(&[&data[..cut], &data[cut..]])), "cut at {cut}");
    let mut out = BytesMut::new();
    for element in &whole.0 {
        encode(element, Dialect::Pb, &Limits::default(), &mut out)
            .expect("what was decoded is within the limits");
    }
    assert_eq!(text(&(whole.0, false)), text(&decode(&[&out])), "after a round trip");
});

/// The expressions, and whether an error followed.
fn decode(parts: &[&[u8]]) -> (Vec<Element>, bool) {
    let mut decoder = Decoder::new(&Limits::default());
    decoder.set_dialect(Dialect::Pb);
    let mut input = BytesMut::new();
    let mut found = Vec::new();
    for part in parts {
        input.extend_from_slice(part);
        loop {
            match decoder.next(&mut input) {
                Ok(Some(element)) => found.push(element),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

/// As text, because a float that is no number differs from itself.
fn text(decoded: &(Vec<Element>, bool)) -> String {
    format!("{decoded:?}")
}
