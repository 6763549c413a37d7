use std::time::Duration;

use model::Results;

use super::{Event, ReplyId, SessionId, World, farm};

fn one() -> World {
    World::new(&farm(&[("w1", 1), ("w2", 1)], &[("b1", &["w1"]), ("b2", &["w1", "w2"])], ""))
}

#[test]
fn a_worker_comes_up_and_gets_what_waits_for_it() {
    let mut world = one();
    world.force(&["b1"], 0).login(1, "w1").expect("admit 1: b1 b2");
    world
        .event(Event::Attached { session: SessionId(1), info: model::Json::Null, boot: None })
        .expect("+ connection of worker 1");
    world.event(Event::Ready { session: SessionId(1) }).expect(
        "+ claim of build request 1
         + build 1 (number 1 of builder 1)
         start 1: b1 #1 on w1 for [1]",
    );
}

#[test]
fn of_two_connections_the_one_that_answers_stays() {
    let mut world = one();
    world.connect(1, "w1").login(2, "w1").expect("probe 1");
    world
        .login(3, "w1")
        .expect("refuse 3: another connection of worker w1 is already waiting for the first one to answer");
    world.event(Event::ProbeAnswered { session: SessionId(1), alive: true });
    world.expect("refuse 2: worker w1 is connected already, and that connection answers");
    world.lose(2).expect("").lose(3).expect("");
    world.force(&["b1"], 0).expect_actions(
        "start 1: b1 #1 on w1 for [1]
         Forced { buildset: BuildsetId(1), requests: [(\"b1\", BuildRequestId(1))] }",
    );
}

#[test]
fn a_connection_that_does_not_answer_makes_room() {
    let mut world = one();
    world.connect(1, "w1").force(&["b1"], 0).login(2, "w1").expect("probe 1");
    world.event(Event::ProbeAnswered { session: SessionId(1), alive: false }).expect(
        "+ loss of worker 1
         disconnect 1: worker w1 logged in again, and this connection did not answer
         interrupt 1 (retry): worker w1 was lost: worker w1 logged in again, and this connection did not answer
         admit 2: b1 b2",
    );
    // The end of the old connection is no news.
    world.lose(1).expect("");
    world.event(Event::Attached { session: SessionId(2), info: model::Json::Null, boot: None });
    // Its build is not over: the builder does not build twice on one worker.
    world.event(Event::Ready { session: SessionId(2) }).expect("");
    world.finish(1, Results::Retry).expect(
        "+ build 1: retry
         + return of build request 1
         + claim of build request 1
         + build 2 (number 2 of builder 1)
         start 2: b1 #2 on w1 for [1]",
    );
}

#[test]
fn the_first_connection_ends_by_itself_while_it_is_probed() {
    let mut world = one();
    world.connect(1, "w1").login(2, "w1").expect("probe 1");
    world.lose(1).expect(
        "+ loss of worker 1
         admit 2: b1 b2",
    );
    world.event(Event::ProbeAnswered { session: SessionId(1), alive: false }).expect("");
}

#[test]
fn the_second_connection_gives_up_while_it_waits() {
    let mut world = one();
    world.connect(1, "w1").login(2, "w1").lose(2).expect("");
    world.event(Event::ProbeAnswered { session: SessionId(1), alive: true }).expect("");
    world.login(3, "w1").expect("probe 1");
}

#[test]
fn a_worker_nobody_knows_is_turned_away() {
    one().login(1, "w9").expect("refuse 1: no worker is called \"w9\"");
}

#[test]
fn a_lost_worker_has_its_builds_done_again_in_their_turn() {
    let mut world = one();
    world.connect(1, "w1").force(&["b2"], 0).pass(Duration::from_secs(5)).force(&["b2"], 0);
    world.lose(1).expect(
        "+ loss of worker 1
         interrupt 1 (retry): worker w1 was lost: connection lost",
    );
    world.finish(1, Results::Retry).expect("+ build 1: retry\n+ return of build request 1");
    world.connect(2, "w2").expect(
        "+ claim of build request 1
         + build 2 (number 2 of builder 2)
         start 2: b2 #2 on w2 for [1]",
    );
}

#[test]
fn a_paused_worker_gets_nothing_and_finishes_what_it_has() {
    let mut world = one();
    let pause =
        || Event::PauseWorker { worker: "w1".to_owned(), reason: "repair".to_owned(), reply: ReplyId(0) };
    world
        .connect(1, "w1")
        .force(&["b1"], 0)
        .event(pause())
        .expect("+ worker 1: paused true, graceful false\nDone");
    world.event(pause()).expect("Done");
    world.force(&["b1"], 0).finish(1, Results::Success).expect(
        "+ build 1: success
         + request 1: success
         + buildset 1: success",
    );
    world.why(2, "builder b1 has no free worker: w1 is paused");
    world.event(Event::UnpauseWorker { worker: "w1".to_owned(), reply: ReplyId(0) }).expect(
        "+ worker 1: paused false, graceful false
         + claim of build request 2
         + build 2 (number 2 of builder 1)
         start 2: b1 #2 on w1 for [2]
         Done",
    );
    world.event(Event::PauseWorker { worker: "w7".to_owned(), reason: String::new(), reply: ReplyId(0) });
    world.expect("refused: no worker is called \"w7\"");
}

#[test]
fn a_worker_that_wants_to_go_goes_when_its_builds_are_done() {
    let mut world = one();
    world.connect(1, "w1").force(&["b1"], 0).force(&["b1"], 0);
    world.event(Event::WorkerShutdownRequested { session: SessionId(1) });
    world.expect("+ worker 1: paused false, graceful true");
    world.finish(1, Results::Success).expect_actions("shut down 1");
    world.lose(1).expect("+ loss of worker 1\n+ worker 1: paused false, graceful false");
    world.connect(2, "w1").expect_actions("start 2: b1 #2 on w1 for [2]");
}

#[test]
fn a_worker_whose_machinery_fails_is_left_alone_for_longer_each_time() {
    let mut world = one();
    world.connect(1, "w1").force(&["b1"], 0).finish(1, Results::Retry);
    world.expect("+ build 1: retry\n+ return of build request 1");
    world.why(1, "builder b1 has no free worker: w1 is left alone for a while after a failure");
    world.pass(Duration::from_secs(9)).expect("");
    world.pass(Duration::from_secs(1)).expect_actions("start 2: b1 #2 on w1 for [1]");
    world.finish(2, Results::Retry).pass(Duration::from_secs(19)).expect("");
    world.pass(Duration::from_secs(1)).expect_actions("start 3: b1 #3 on w1 for [1]");
    // A build that works shows that all is well again.
    world.finish(3, Results::Failure).force(&["b1"], 0).finish(4, Results::Exception);
    world.force(&["b1"], 0).pass(Duration::from_secs(10)).expect_actions("start 5: b1 #5 on w1 for [3]");
}

#[test]
fn events_about_nothing_change_nothing() {
    let mut world = one();
    world.connect(1, "w1");
    world.event(Event::Ready { session: SessionId(9) }).expect("");
    world.event(Event::Attached { session: SessionId(1), info: model::Json::Null, boot: None }).expect("");
    world.event(Event::ProbeAnswered { session: SessionId(1), alive: false }).expect("");
    world.lose(9).expect("").finish(77, Results::Success).expect("").login(1, "w1").expect("");
}
