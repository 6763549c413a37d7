//! Messages made by chance.

use proptest::prelude::*;

use super::*;

fn expressions() -> impl Strategy<Value = Element> {
    let words = [
        "message",
        "answer",
        "error",
        "decref",
        "version",
        "cachemessage",
        "uncache",
        "root",
        "login",
        "respond",
        "loginAnonymous",
        "tuple",
        "list",
        "dictionary",
        "None",
        "remote",
        "local",
        "reference",
        "dereference",
        "unicode",
        "twisted.spread.pb.CopyableFailure",
        "a.B",
    ];
    let leaf = prop_oneof![
        3 => prop::sample::select(words.to_vec()).prop_map(word),
        2 => (0i64..5).prop_map(Element::Int),
        1 => any::<i64>().prop_map(Element::Int),
        1 => prop::collection::vec(any::<u8>(), 0..4).prop_map(|bytes| Element::Bytes(bytes.into())),
    ];
    let any =
        leaf.prop_recursive(4, 30, 6, |inner| prop::collection::vec(inner, 0..6).prop_map(Element::List));
    let values = || prop::collection::vec(any.clone(), 0..4);
    let object = prop_oneof![Just(word("root")), (0i64..4).prop_map(Element::Int)];
    let method = prop::sample::select(vec!["login", "respond", "loginAnonymous", "x"]);
    prop_oneof![
        (0i64..4, object, method, values())
            .prop_map(|(number, object, method, args)| { message(number, object, method, args) }),
        (0i64..4, any.clone()).prop_map(|(number, value)| sexp([
            word("answer"),
            Element::Int(number),
            value
        ])),
        (0i64..4, any.clone()).prop_map(|(number, value)| sexp([word("error"), Element::Int(number), value])),
        (0i64..4).prop_map(|number| sexp([word("decref"), Element::Int(number)])),
        any.clone(),
    ]
}

proptest! {
    #[test]
    fn whatever_a_peer_says_does_no_harm(
        said in prop::collection::vec(expressions(), 0..20),
        root in any::<bool>(),
    ) {
        let limits = Limits { outgoing: 20_000, references: 8, pending_calls: 8, ..Limits::default() };
        let server = Broker::server(limits);
        let mut server = facing_us(if root { server.expose_root() } else { server });
        let mut exported = Vec::new();
        for expression in said {
            if hear(&mut server, expression).is_err() {
                break;
            }
            for event in events(&mut server) {
                // An owner that answers everything, in the ways that there are.
                match event {
                    Event::Call { args, reply, .. } => {
                        server.release_in(&args).unwrap();
                        let object = server.export();
                        exported.push(object);
                        if let Some(reply) = reply {
                            server.answer(reply, object.into()).unwrap();
                            server.call(crate::Callee::Root, "x", vec![object.into()], vec![]).ok();
                        }
                        if exported.len() % 3 == 0 {
                            server.retire(exported[0]);
                        }
                    }
                    Event::Login { login, .. } => server.refuse_login(login).unwrap(),
                    Event::LoginAnonymous { login, .. } => {
                        let object = server.export();
                        server.accept_login(login, object).unwrap();
                    }
                    _ => {}
                }
            }
            prop_assert!(server.buffered() <= 20_000);
            server.outgoing().clear();
        }
    }
}
