use super::{Copyable, Date, DateTime, Decimal, Failure, Shared, Time, TimeDelta, UnjellyError, Value};
use super::{Size, jelly, unjelly, unjelly_tree};
use crate::banana::{Decoder, Dialect, Element, EncodeError};
use crate::limits::{LimitExceeded, Limits};
use crate::{LocalId, RemoteId};
use bytes::{Bytes, BytesMut};
use num_bigint::BigInt;
use proptest::prelude::*;

fn wire(value: &Value) -> BytesMut {
    let mut out = BytesMut::new();
    jelly(value, Dialect::Pb, &Limits::default(), &mut out).unwrap();
    out
}

fn element(mut wire: BytesMut) -> Element {
    let mut decoder = Decoder::new(&Limits::default());
    decoder.set_dialect(Dialect::Pb);
    decoder.next(&mut wire).unwrap().unwrap()
}

fn round(value: &Value) -> Value {
    unjelly(element(wire(value))).unwrap()
}

/// An expression as the peer might have written it; text stands for byte strings.
fn sexp<const N: usize>(items: [Element; N]) -> Element {
    Element::List(items.into())
}

fn word(word: &'static str) -> Element {
    Element::Bytes(Bytes::from_static(word.as_bytes()))
}

fn list(items: impl IntoIterator<Item = Element>) -> Element {
    Element::List([word("list")].into_iter().chain(items).collect())
}

fn reference(number: i64, contents: Element) -> Element {
    sexp([word("reference"), Element::Int(number), contents])
}

fn dereference(number: i64) -> Element {
    sexp([word("dereference"), Element::Int(number)])
}

#[test]
fn bytes_and_text_are_equal_for_lookups() {
    let dict = Value::Dict(vec![
        (Value::bytes("rc"), Value::Int(0)),
        (Value::text("stdout"), Value::bytes(&b"caf\xe9"[..])),
        (Value::Int(3), Value::None),
        (Value::text("rc"), Value::Int(1)),
    ]);
    assert_eq!(dict.get("rc").and_then(Value::as_int), Some(1), "the last of equal keys");
    assert_eq!(dict.get("stdout").unwrap().as_text_lossy().unwrap(), "caf\u{fffd}");
    assert_eq!(dict.get("stdout").unwrap().as_text(), None);
    assert_eq!(dict.get("none"), None);
    assert_eq!(Value::Int(1).get("rc"), None);
}

#[test]
fn a_container_that_occurs_twice_is_sent_once() {
    let shared = Value::from(Shared::new(Value::list([Value::text("x")])));
    let value = Value::list([shared.clone(), shared.clone(), shared]);
    let expected =
        list([reference(1, list([sexp([word("unicode"), word("x")])])), dereference(1), dereference(1)]);
    assert_eq!(element(wire(&value)), expected);

    let once = Value::list([Shared::new(Value::tuple([])).into()]);
    assert_eq!(element(wire(&once)), list([sexp([word("tuple")])]), "no reference where none is needed");
}

#[test]
fn containers_are_numbered_by_their_second_occurrence() {
    let [a, b] = ["a", "b"].map(|text| Value::from(Shared::new(Value::list([Value::bytes(text)]))));
    let value = Value::list([a.clone(), b.clone(), b, a]);
    let expected = list([
        reference(2, list([word("a")])),
        reference(1, list([word("b")])),
        dereference(1),
        dereference(2),
    ]);
    assert_eq!(element(wire(&value)), expected);
}

#[test]
fn occurrences_are_one_container() {
    let value = unjelly(list([reference(7, list([word("x")])), dereference(7)])).unwrap();
    let [first, second] = value.as_list().unwrap() else { panic!("{value:?}") };
    assert_eq!(first, second);
    assert_eq!(second.as_list().unwrap(), [Value::bytes("x")]);
    assert_eq!(second.clone().into_list().unwrap(), [Value::bytes("x")]);
    // Sent on, it is shared again, under a number of our own.
    assert_eq!(element(wire(&value)), list([reference(1, list([word("x")])), dereference(1)]));
}

#[test]
fn a_container_inside_itself_is_a_back_reference() {
    let cyclic = list([reference(1, list([dereference(1), Element::Int(5)]))]);
    let value = unjelly(cyclic.clone()).unwrap();
    let inner = &value.as_list().unwrap()[0];
    let [Value::Backref(backref), Value::Int(5)] = inner.as_list().unwrap() else { panic!("{inner:?}") };
    assert_eq!(Value::Shared(backref.upgrade().unwrap()), *inner);
    assert_eq!(element(wire(&value)), cyclic);
    assert!(format!("{value:?}").len() < 100, "printing comes to an end");

    let backref = backref.clone();
    drop(value);
    assert!(backref.upgrade().is_none(), "a cycle does not keep itself alive");
    let error = jelly(&Value::Backref(backref), Dialect::Pb, &Limits::default(), &mut BytesMut::new());
    assert_eq!(error, Err(EncodeError::Dangling));
}

#[test]
fn a_container_may_be_referred_to_before_it_is_given() {
    let value = unjelly(list([dereference(1), reference(1, list([word("x")]))])).unwrap();
    let [Value::Backref(backref), given] = value.as_list().unwrap() else { panic!("{value:?}") };
    assert_eq!(Value::Shared(backref.upgrade().unwrap()), *given);
}

#[test]
fn references_must_make_sense() {
    let refused = |element| unjelly(element).unwrap_err();
    assert_eq!(refused(list([dereference(9), dereference(4)])), UnjellyError::UnknownReference(4));
    let twice = list([reference(1, list([])), reference(1, list([]))]);
    assert_eq!(refused(twice), UnjellyError::DuplicateReference(1));
    let inside = reference(1, list([reference(1, list([]))]));
    assert_eq!(refused(inside), UnjellyError::DuplicateReference(1));
}

#[test]
fn only_containers_have_numbers() {
    // Anything else could be repeated without end by a few bytes, or make chains that take long to follow.
    let chained = list([reference(1, list([])), reference(2, dereference(1))]);
    let nested = reference(1, reference(2, list([])));
    let text = sexp([word("unicode"), word("a")]);
    for odd in [reference(1, dereference(1)), chained, nested, reference(1, text), reference(1, word("a"))] {
        let expected = "a number and a container";
        assert_eq!(unjelly(odd).unwrap_err(), UnjellyError::Malformed { form: "reference", expected });
    }
}

#[test]
fn a_value_is_as_large_as_it_is_without_back_references() {
    let size = |element| unjelly_tree(element).size;
    let nested = |number, contents: Element| reference(number, list([contents.clone(), contents]));
    let spelled = size(list([list([word("abc"), word("abc")]), list([word("abc"), word("abc")])]));
    let referred = size(list([nested(1, word("abc")), dereference(1)]));
    assert_eq!(referred.bytes, spelled.bytes);
    assert!(referred.nodes >= spelled.nodes);
    let doubled = |number| nested(number, dereference(number - 1));
    let items = [nested(1, word("abc"))].into_iter().chain((2..100).map(doubled));
    assert_eq!(size(list(items)), Size { nodes: usize::MAX, bytes: usize::MAX }, "a tree without end");
}

#[test]
fn many_failures_with_one_text_are_refused() {
    let long = Element::Bytes(vec![b'x'; 600 * 1024].into());
    let pair = |key, value| sexp([word(key), value]);
    let class = || Element::Bytes(Bytes::from_static(b"twisted.spread.pb.CopyableFailure"));
    let state = sexp([word("dictionary"), pair("value", word("v")), pair("parents", list([long]))]);
    let first = sexp([class(), reference(1, state)]);
    let alone = unjelly(first.clone()).unwrap();
    assert_eq!(alone.as_failure().unwrap().value, "v");
    let again = || sexp([class(), dereference(1)]);
    let many = list([first].into_iter().chain(std::iter::repeat_with(again).take(30_000)));
    // Each of them would be a copy of the text: 18 GB.
    let expected = "less text";
    assert_eq!(unjelly(many).unwrap_err(), UnjellyError::Malformed { form: "failure", expected });
}

#[test]
fn a_tree_of_many_leaves_is_never_expanded() {
    // Each list holds the one before twice: 2^4000 leaves.
    let doubled = |number| reference(number, list([dereference(number - 1), dereference(number - 1)]));
    let items = [reference(1, list([word("x")]))].into_iter().chain((2..4000).map(doubled));
    let value = unjelly(list(items)).unwrap();
    assert_eq!(value.remotes(), []);
    let again = round(&value);
    assert_eq!(again.as_list().unwrap().len(), 3999);
    let copy = value.clone();
    assert_eq!(copy, value, "equality looks at identity");

    // Its last element alone is too deep to be sent, and is dropped without a deep stack.
    let last = value.into_list().unwrap().pop().unwrap();
    let error = jelly(&last, Dialect::Pb, &Limits::default(), &mut BytesMut::new()).unwrap_err();
    assert!(matches!(error, EncodeError::Limit(LimitExceeded { limit: "depth", .. })), "{error:?}");
    drop((copy, again, last));
}

#[test]
fn a_long_chain_is_dropped_by_a_loop() {
    let link = |number| reference(number, list([dereference(number - 1)]));
    let items = [reference(1, list([]))].into_iter().chain((2..300_000).map(link));
    let last = unjelly(list(items)).unwrap().into_list().unwrap().pop().unwrap();
    drop(last);
}

#[test]
fn the_deepest_nesting_fits_a_small_stack() {
    let deep = std::thread::Builder::new().stack_size(1024 * 1024).spawn(|| {
        let limits = Limits { depth: usize::MAX, ..Limits::default() };
        let mut value = Value::Int(1);
        let mut levels = 0;
        loop {
            let next = Value::list([value.clone()]);
            let mut out = BytesMut::new();
            if jelly(&next, Dialect::Pb, &limits, &mut out).is_err() {
                break;
            }
            let mut decoder = Decoder::new(&limits);
            decoder.set_dialect(Dialect::Pb);
            assert_eq!(unjelly(decoder.next(&mut out).unwrap().unwrap()).unwrap(), next);
            value = next;
            levels += 1;
        }
        levels
    });
    // One level is kept for the message around a value.
    assert_eq!(deep.unwrap().join().unwrap(), 255);
}

#[test]
fn a_failure_of_python_3_is_read() {
    let text = |text| sexp([word("unicode"), word(text)]);
    let state = Element::List(vec![
        word("dictionary"),
        sexp([text("type"), word("builtins.KeyError")]),
        sexp([text("value"), text("'x'")]),
        sexp([
            text("parents"),
            reference(2, list([text("builtins.KeyError"), text("builtins.LookupError")])),
        ]),
        sexp([text("traceback"), text("Traceback unavailable\n")]),
        sexp([text("frames"), list([])]),
        // Whatever the frames hold is of no interest, not even that it is not acceptable.
        sexp([text("_frames"), list([sexp([word("module"), word("os")]), dereference(1), sexp([])])]),
    ]);
    let value = unjelly(sexp([word("twisted.spread.pb.CopyableFailure"), state])).unwrap();
    let failure = value.as_failure().unwrap();
    assert!(failure.is("builtins.KeyError") && failure.is("builtins.LookupError"));
    assert!(!failure.is("builtins.ValueError"));
    assert_eq!(failure.to_string(), "builtins.KeyError: 'x'");
    assert_eq!(failure.traceback, "Traceback unavailable\n");
}

#[test]
fn a_failure_without_parents_is_its_own() {
    let state = sexp([word("dictionary"), sexp([word("type"), word("exceptions.KeyError")])]);
    let value = unjelly(sexp([word("twisted.spread.pb.CopyableFailure"), state])).unwrap();
    assert_eq!(value.as_failure().unwrap().parents, ["exceptions.KeyError"]);
}

#[test]
fn a_failure_comes_back_as_it_went() {
    for failure in [
        Failure::new("builtins.ValueError", "caf\u{e9}"),
        Failure::unauthorized_login(),
        Failure::no_such_method("fly"),
        Failure::invalid_object(),
    ] {
        assert_eq!(round(&failure.clone().into()), failure.into());
    }
    assert!(Failure::no_such_method("fly").is("builtins.AttributeError"));
}

#[test]
fn a_failures_texts_are_cut_to_what_a_peer_accepts() {
    let failure = Failure::new("builtins.ValueError", "\u{e9}".repeat(655_360));
    let arrived = round(&failure.into());
    assert_eq!(arrived.as_failure().unwrap().value.len(), 655_360);
    let too_long = Value::text("x".repeat(655_361));
    let error = jelly(&too_long, Dialect::Pb, &Limits::default(), &mut BytesMut::new()).unwrap_err();
    let expected = LimitExceeded { limit: "string", announced: 655_361, bound: 655_360 };
    assert_eq!(error, EncodeError::Limit(expected));
}

#[test]
fn malformed_forms_are_refused() {
    for malformed in [
        sexp([]),
        sexp([Element::Int(1)]),
        sexp([sexp([])]),
        sexp([word("unicode")]),
        sexp([word("unicode"), Element::Int(1)]),
        sexp([word("unicode"), word("a"), word("b")]),
        sexp([word("unicode"), Element::Bytes(Bytes::from_static(b"\xff"))]),
        sexp([word("boolean"), word("maybe")]),
        sexp([word("dictionary"), word("ab")]),
        sexp([word("dictionary"), sexp([word("a")])]),
        sexp([word("remote"), word("1")]),
        sexp([word("local")]),
        sexp([word("reference"), Element::Int(1)]),
        sexp([word("dereference"), word("x")]),
        sexp([word("decimal"), Element::Int(1)]),
        sexp([word("date"), word("2021 2 29")]),
        sexp([word("time"), word("24 0 0 0")]),
        sexp([word("timedelta"), word("1 2")]),
        sexp([word("datetime"), word("1 1")]),
        sexp([word("twisted.spread.pb.CopyableFailure")]),
        sexp([word("some.Class")]),
    ] {
        assert!(unjelly(malformed.clone()).is_err(), "{malformed:?}");
    }
    for refused in
        ["module", "class", "function", "method", "instance", "persistent", "cache", "cached", "lcache"]
    {
        let error = unjelly(sexp([word(refused), word("os")])).unwrap_err();
        assert_eq!(error, UnjellyError::Refused(refused.to_owned()));
    }
}

#[test]
fn objects_in_a_refused_value_are_known_all_the_same() {
    let remote = |number| sexp([word("remote"), Element::Int(number)]);
    let hidden = list([
        sexp([word("unicode"), Element::Int(1)]),
        remote(1),
        sexp([word("module"), remote(2)]),
        sexp([word("dictionary"), sexp([remote(3)])]),
        sexp([remote(4), remote(5)]),
        reference(1, list([])),
        reference(1, list([remote(6)])),
    ]);
    let unjellied = unjelly_tree(hidden);
    assert!(unjellied.value.is_err());
    assert_eq!(unjellied.remotes, [1, 2, 3, 4, 5, 6].map(RemoteId::new));
}

#[test]
fn what_is_in_a_shared_container_was_sent_once() {
    let shared = list([sexp([word("remote"), Element::Int(3)])]);
    let remote = sexp([word("remote"), Element::Int(3)]);
    let value = unjelly(list([reference(1, shared), dereference(1), remote])).unwrap();
    assert_eq!(value.remotes(), [RemoteId::new(3); 2]);
}

fn values() -> impl Strategy<Value = Value> {
    let time = (0u8..24, 0u8..60, 0u8..60, 0u32..1_000_000)
        .prop_map(|(hour, minute, second, microsecond)| Time { hour, minute, second, microsecond });
    let date = (1u16..10_000, 1u8..13, 1u8..29).prop_map(|(year, month, day)| Date { year, month, day });
    let leaf = prop_oneof![
        Just(Value::None),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("NaN is not equal to itself", |f| !f.is_nan()).prop_map(Value::Float),
        prop::collection::vec(any::<u8>(), 0..30).prop_map(Value::bytes),
        ".{0,20}".prop_map(Value::text),
        prop::sample::select(vec!["None", "list", "unicode", "remote"]).prop_map(Value::bytes),
        (date.clone(), time.clone()).prop_map(|(date, time)| Value::DateTime(DateTime { date, time })),
        date.prop_map(Value::Date),
        time.prop_map(Value::Time),
        any::<(i64, i64, i64)>().prop_map(|(days, seconds, microseconds)| {
            Value::TimeDelta(TimeDelta { days, seconds, microseconds })
        }),
        any::<(i128, i64)>().prop_map(|(digits, exponent)| {
            Value::Decimal(Box::new(Decimal { digits: BigInt::from(digits), exponent }))
        }),
        (".{0,9}", ".{0,9}").prop_map(|(kind, value)| Failure::new(kind, value).into()),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let items = prop::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            items.clone().prop_map(Value::List),
            items.clone().prop_map(Value::Tuple),
            items.clone().prop_map(Value::Set),
            items.prop_map(Value::FrozenSet),
            prop::collection::vec((inner.clone(), inner.clone()), 0..5).prop_map(Value::Dict),
            inner.prop_map(|state| Value::Copy(Box::new(Copyable { class: "some.Class".into(), state }))),
        ]
    })
}

proptest! {
    #[test]
    fn a_value_comes_back_as_it_went(value in values()) {
        prop_assert_eq!(round(&value), value);
    }

    #[test]
    fn a_shared_value_is_written_again_the_same(value in values(), twice in 1usize..4) {
        let shared = Value::from(Shared::new(Value::list([value])));
        let tree = Value::list(std::iter::repeat_n(shared, twice));
        prop_assert_eq!(wire(&round(&tree)), wire(&tree));
    }
}

#[test]
fn objects_turn_round() {
    assert_eq!(round(&Value::Local(LocalId::new(3))), Value::Remote(RemoteId::new(3)));
    assert_eq!(round(&Value::Remote(RemoteId::new(4))), Value::Local(LocalId::new(4)));
}
