//! Expressions to values: nothing panics or runs for ever, and a value that came over the wire can be sent on and means
//! the same when it arrives.
#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use perspective_broker::{Decoder, Dialect, Limits, Value, jelly, unjelly};

fuzz_target!(|data: &[u8]| {
    let mut decoder = Decoder::new(&Limits::default());
    decoder.set_dialect(Dialect::Pb);
    let mut input = BytesMut::from(data);
    while let Ok(Some(element)) = decoder.next(&mut input) {
        let Ok(value) = unjelly(element) else { continue };
        look_at(&value);
        let Some(first) = sent(&value) else { continue };
        // References turn round at each journey, so it takes two to be back.
        let second = sent(&decode_one(&first)).expect("as large as the first");
        let third = sent(&decode_one(&second)).expect("as large as the first");
        assert_eq!(third, first);
    }
});

/// Every accessor, as a program would use them.
fn look_at(value: &Value) {
    value.as_text_lossy();
    value.as_list().map(<[Value]>::len);
    value.get("type");
    value.as_failure().map(ToString::to_string);
    value.remotes();
    drop(value.clone().into_list());
    assert!(!format!("{value:?}").is_empty());
}

/// None when a limit forbids it: a failure is written with more nesting than it may have arrived with.
fn sent(value: &Value) -> Option<BytesMut> {
    let mut out = BytesMut::new();
    jelly(value, Dialect::Pb, &Limits::default(), &mut out).ok()?;
    Some(out)
}

fn decode_one(bytes: &BytesMut) -> Value {
    let mut decoder = Decoder::new(&Limits::default());
    decoder.set_dialect(Dialect::Pb);
    let mut input = bytes.clone();
    let element = decoder.next(&mut input).expect("our own bytes").expect("a whole expression");
    assert!(input.is_empty());
    unjelly(element).expect("our own value")
}
