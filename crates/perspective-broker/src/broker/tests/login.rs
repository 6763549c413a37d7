//! Logins, in both roles.

use super::*;

#[test]
fn a_login_with_the_right_password() {
    let mut pair = Pair::login();
    assert!(pair.server.awaits_peer() && !pair.client.awaits_peer());
    let mind = pair.client.export();
    let request = pair.client.login("w1", b"sekrit", Some(mind)).unwrap();
    let Event::Login { login, user, proof, mind: Some(mind_there) } = pair.settle().0.remove(0) else {
        panic!("no login")
    };
    assert_eq!(user, "w1");
    assert!(proof.verify(b"sekrit") && !proof.verify(b"secret") && !proof.verify(b""));
    assert_eq!(format!("{proof:?}"), "Proof(..)");
    assert!(!pair.server.awaits_peer(), "it is for the owner to decide");

    // The mind can be called before the login is decided.
    pair.server.call(mind_there, "info", vec![], vec![]).unwrap();
    assert!(matches!(pair.settle().1[..], [Event::Call { target: Target::Local(id), .. }] if id == mind));

    let nobody = LocalId::new(99);
    assert_eq!(pair.server.accept_login(login, nobody), Err(SendError::NotExported(nobody)));
    let perspective = pair.server.export();
    pair.server.accept_login(login, perspective).unwrap();
    assert_eq!(pair.server.refuse_login(login), Err(SendError::AlreadyAnswered));
    let Event::LoggedIn { request: answered, perspective: there } = pair.settle().1.remove(0) else {
        panic!("not logged in")
    };
    assert_eq!(answered, request);
    assert!(!pair.server.awaits_peer());
    pair.client.call(there, "keepalive", vec![], vec![]).unwrap();
    assert!(
        matches!(pair.settle().0[..], [Event::Call { target: Target::Local(id), .. }] if id == perspective)
    );
}

#[test]
fn a_login_with_the_wrong_password() {
    let mut pair = Pair::login();
    for attempt in 1..=2 {
        let request = pair.client.login("w1", b"wrong", None).unwrap();
        let Event::Login { login, proof, mind: None, .. } = pair.settle().0.remove(0) else {
            panic!("no login")
        };
        assert!(!proof.verify(b"sekrit"));
        pair.server.refuse_login(login).unwrap();
        let Event::Failed { request: failed, failure } = pair.settle().1.remove(0) else {
            panic!("no failure")
        };
        assert_eq!(failed, request);
        assert!(failure.is("twisted.cred.error.UnauthorizedLogin"));
        assert!(pair.server.awaits_peer() && pair.server.refusals() == attempt, "it may try again");
    }
}

#[test]
fn a_login_without_a_name() {
    let mut pair = Pair::login();
    let mind = pair.client.export();
    let request = pair.client.login_anonymous(Some(mind)).unwrap();
    let Event::LoginAnonymous { login, mind: Some(_) } = pair.settle().0.remove(0) else {
        panic!("no login")
    };
    let perspective = pair.server.export();
    pair.server.accept_login(login, perspective).unwrap();
    assert!(
        matches!(pair.settle().1[..], [Event::LoggedIn { request: answered, .. }] if answered == request)
    );
}

#[test]
fn the_response_is_twisteds() {
    // Made by `twisted.spread.pb.respond`.
    let proof = crate::Proof {
        challenge: Bytes::from_static(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]),
        response: Bytes::from_static(b"\x65\xc7\xa9\xde\xb2\x30\xd5\xce\x6b\x9e\xaf\x8e\xad\xfc\x46\x74"),
    };
    assert!(proof.verify(b"sekrit"));
    // The MD5 of "sekrit".
    let digest: [u8; 16] = <md5::Md5 as md5::Digest>::digest(b"sekrit").into();
    assert!(proof.verify_digest(&digest));
    assert!(!crate::Proof { response: proof.response.slice(..15), ..proof }.verify(b"sekrit"));
}

#[test]
fn a_challenge_takes_one_response() {
    let mut server = facing_us(Broker::server(Limits::default()));
    server.set_next_challenge([7; 16]);
    hear(&mut server, message(1, word("root"), "login", vec![word("w1")])).unwrap();
    let challenge = Element::Bytes(vec![7; 16].into());
    let answer = sexp([word("tuple"), challenge, remote(1)]);
    assert_eq!(said(&mut server), [sexp([word("answer"), Element::Int(1), answer])]);

    let none = || sexp([word("None")]);
    let respond = |request| message(request, Element::Int(1), "respond", vec![word("x"), none()]);
    hear(&mut server, message(2, Element::Int(1), "guess", vec![])).unwrap();
    assert!(error_in(&said(&mut server)[0]).1.is("twisted.spread.flavors.NoSuchMethod"));
    hear(&mut server, message(3, Element::Int(1), "respond", vec![remote(3)])).unwrap();
    assert!(error_in(&said(&mut server)[1]).1.is("builtins.TypeError"));
    hear(&mut server, respond(4)).unwrap();
    assert!(matches!(server.poll_event(), Some(Event::Login { .. })));
    hear(&mut server, respond(5)).unwrap();
    assert!(error_in(&said(&mut server)[0]).1.is("twisted.cred.error.UnauthorizedLogin"));
    hear(&mut server, sexp([word("decref"), Element::Int(1)])).unwrap();
    assert!(events(&mut server).is_empty(), "the broker's own object is no business of the owner's");
}

#[test]
fn before_a_login_there_is_nothing_else() {
    let limits = Limits { login_message: 200, logins: 3, ..Limits::default() };
    let mut server = facing_us(Broker::server(limits));
    hear(&mut server, message(1, word("root"), "shutdown", vec![remote(4)])).unwrap();
    assert!(error_in(&said(&mut server)[1]).1.is("twisted.spread.flavors.NoSuchMethod"));
    for wrong in [vec![], vec![Element::Int(1)], vec![word("a"), word("b")]] {
        hear(&mut server, message(2, word("root"), "login", wrong)).unwrap();
        assert!(error_in(&said(&mut server)[0]).1.is("builtins.TypeError"));
    }
    for request in 3..6 {
        hear(&mut server, message(request, word("root"), "login", vec![word("w1")])).unwrap();
    }
    let expected = LimitExceeded { limit: "logins", announced: 4, bound: 3 };
    let fourth = message(6, word("root"), "login", vec![word("w1")]);
    assert_eq!(hear(&mut server, fourth), Err(ProtocolError::Limit(expected)));

    let mut server = facing_us(Broker::server(limits));
    let long = message(1, word("root"), "login", vec![Element::Bytes(vec![b'x'; 300].into())]);
    let error = hear(&mut server, long).unwrap_err();
    assert!(format!("{error:?}").contains("\"message\""), "{error:?}");
}

#[test]
fn a_login_lifts_the_limit_on_messages() {
    let limits = Limits { login_message: 500, ..Limits::default() };
    let mut pair = Pair::with(Broker::server(limits), Broker::client(Limits::default()));
    pair.client.login("w1", b"sekrit", None).unwrap();
    let Event::Login { login, .. } = pair.settle().0.remove(0) else { panic!("no login") };
    let perspective = pair.server.export();
    pair.server.accept_login(login, perspective).unwrap();
    let Event::LoggedIn { perspective, .. } = pair.settle().1.remove(0) else { panic!("not logged in") };
    pair.client.send(perspective, "x", vec![Value::bytes(vec![b'x'; 1000])], vec![]).unwrap();
    assert!(matches!(pair.settle().0[..], [Event::Call { .. }]));
}

#[test]
fn a_server_that_answers_a_login_oddly() {
    let client = || {
        let mut client = Broker::client(Limits::default());
        hear(&mut client, sexp([word("none")])).unwrap();
        client.login("w1", b"sekrit", None).unwrap();
        events(&mut client);
        client
    };
    for odd in
        [sexp([word("None")]), sexp([word("tuple"), word("x")]), sexp([word("unicode"), Element::Int(1)])]
    {
        let error = hear(&mut client(), sexp([word("answer"), Element::Int(1), odd])).unwrap_err();
        assert_eq!(error, ProtocolError::NoChallenge);
    }
    let mut client = client();
    let challenge = sexp([word("tuple"), word("x"), remote(1)]);
    hear(&mut client, sexp([word("answer"), Element::Int(1), challenge])).unwrap();
    hear(&mut client, sexp([word("answer"), Element::Int(2), sexp([word("None")])])).unwrap();
    assert!(matches!(events(&mut client)[..], [Event::Failed { .. }]));
}
