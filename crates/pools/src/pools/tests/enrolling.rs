//! Machines that have to ask who their workers are.

use std::time::Duration;

use model::{InstanceId, pool::PoolSpec};
use secrecy::{ExposeSecret as _, SecretString};

use super::world::{Mood, World, spec};
use crate::{
    Applicant, EnrollError, Enrolled, Event, Order, Papers, Proof, ReasonCode, State, Token, Verifier,
    provider::Machine,
};

/// A world with one machine that boots.
fn booting() -> (World, InstanceId) {
    let mut world = World::new(vec![PoolSpec { enrolls: true, ..spec(2) }]);
    world.ask(1, 0);
    world.until(60, "booting", |world| !world.in_state(State::Booting).is_empty());
    let id = world.in_state(State::Booting)[0];
    (world, id)
}

fn by_papers(world: &World, id: InstanceId) -> Applicant {
    let row = &world.rows[&id];
    let papers = Papers {
        machine: row.provider_id.clone().unwrap(),
        account: "1".to_owned(),
        region: "mars-1".to_owned(),
        image: "ami-1".to_owned(),
        kind: "large".to_owned(),
        started_at: world.now,
    };
    let ticket = world.calls[0].ticket.clone().expect("a ticket");
    let proof = Proof::Papers { papers, ticket };
    Applicant {
        pool: "linux".to_owned(),
        token: row.token.clone(),
        proof,
        peer: "peer".to_owned(),
        recorded: true,
    }
}

fn code(world: &mut World, applicant: &Applicant) -> Result<InstanceId, &'static str> {
    by(world, applicant, "new")
}

/// With another password.
fn by(world: &mut World, applicant: &Applicant, verifier: &str) -> Result<InstanceId, &'static str> {
    let (result, _) = world.pools.enroll(world.now, applicant, Verifier(verifier.to_owned()));
    result.map_err(|error| match error {
        EnrollError::NotYet(_) => "not yet",
        EnrollError::Refused(refusal) => refusal.code(),
    })
}

fn with(applicant: &Applicant, change: impl Fn(&mut Papers, &mut SecretString)) -> Applicant {
    let mut applicant = applicant.clone();
    if let Proof::Papers { papers, ticket } = &mut applicant.proof {
        change(papers, ticket);
    }
    applicant
}

#[test]
fn a_machine_enrolls_once_and_only_then_logs_in() {
    let (mut world, id) = booting();
    assert!(world.log_in("linux", Some(id)).is_err(), "what it was told is no credential");
    let applicant = by_papers(&world, id);
    let (result, batch) = world.pools.enroll(world.now, &applicant, Verifier("new".to_owned()));
    assert_eq!(result, Ok(id));
    let row = batch.rows.iter().find(|row| row.id == id).expect("its row is written");
    assert_eq!((&row.verifier, row.enrolled), (&Some(Verifier("new".to_owned())), Enrolled::At(world.now)));
    let verifier = Some(Verifier("new".to_owned()));
    assert!(batch.orders.iter().any(
        |order| matches!(order, Order::Credential { instance, verifier: new, .. } if *instance == id && *new == verifier)
    ));
    assert_eq!(by(&mut world, &applicant, "other"), Err("used"));
}

#[test]
fn who_was_told_and_has_not_heard_is_told_again_until_his_worker_comes() {
    let (mut world, id) = booting();
    let applicant = by_papers(&world, id);
    assert_eq!(code(&mut world, &applicant), Ok(id));
    assert_eq!(code(&mut world, &applicant), Ok(id), "the answer was lost");
    assert_eq!(
        by(&mut world, &applicant, "other"),
        Err("used"),
        "somebody else has seen the machine's papers"
    );
    let forged = with(&applicant, |_, ticket| *ticket = "forged".into());
    assert_eq!(code(&mut world, &forged), Err("ticket"));
    assert_eq!(world.pools.instance(id).unwrap().verifier, Some(Verifier("new".to_owned())));
    assert!(world.log_in("linux", Some(id)).is_ok());
    assert_eq!(code(&mut world, &applicant), Err("used"), "it is known what the answer was");
}

#[test]
fn who_names_a_pool_that_is_not_there_is_on_record() {
    let (mut world, id) = booting();
    let wrong = Applicant { pool: "linx".to_owned(), ..by_papers(&world, id) };
    let mut recorded = |applicant: &Applicant| {
        let (_, batch) = world.pools.enroll(world.now, applicant, Verifier("new".to_owned()));
        batch.decisions.into_iter().map(|decision| (decision.pool, decision.text)).next()
    };
    let text = "an enrollment from peer was refused: no pool \"linx\" takes machines that enroll";
    assert_eq!(recorded(&wrong), Some(("linx".to_owned(), text.to_owned())));
    assert_eq!(recorded(&Applicant { recorded: false, ..wrong.clone() }), None);
    assert_eq!((0..100).filter_map(|_| recorded(&wrong)).count(), 9, "as often as is worth it");
}

#[test]
fn what_does_not_fit_is_refused() {
    let (mut world, id) = booting();
    let good = by_papers(&world, id);
    let minutes = |count| Duration::from_mins(count);
    let now = world.now;
    let checks = [
        ("pool", Applicant { pool: "other".to_owned(), ..good.clone() }),
        ("ticket", Applicant { token: Token("other".to_owned()), ..good.clone() }),
        ("ticket", with(&good, |_, ticket| *ticket = "1.99999999999.forged".into())),
        ("ticket", with(&good, |_, ticket| *ticket = "forged".into())),
        ("ticket", with(&good, |_, ticket| *ticket = ticket.expose_secret()[1..].into())),
        ("unknown", with(&good, |papers, _| papers.machine = "i-other".to_owned())),
    ];
    for (wanted, applicant) in checks {
        assert_eq!(code(&mut world, &applicant), Err(wanted));
    }
    assert_eq!(world.pools.instance(id).unwrap().state, State::Booting, "nothing has proved to be it");
    let stale = with(&good, |papers, _| papers.started_at = now + minutes(6));
    assert_eq!(code(&mut world, &stale), Err("stale"));
    assert_eq!(world.pools.instance(id).unwrap().state, State::Terminating);
    assert_eq!(code(&mut world, &good), Err("state"));
}

#[test]
fn a_machine_of_another_kind_is_ended() {
    let (mut world, id) = booting();
    let good = by_papers(&world, id);
    let mut machines: Vec<Machine> = world.list();
    machines[0].details.insert("image".to_owned(), "ami-2".to_owned());
    let asked_at = world.now;
    world.tell(Event::Listed { pool: "linux".to_owned(), asked_at, result: Ok(machines) });
    assert_eq!(code(&mut world, &good), Err("image"));
    let row = world.pools.instance(id).unwrap();
    assert_eq!(row.ended.as_ref().unwrap().code, ReasonCode::WrongIdentity);
}

#[test]
fn a_machine_whose_answer_was_lost_is_looked_for_when_it_asks() {
    let mut world = World::new(vec![PoolSpec { enrolls: true, ..spec(2) }]);
    world.moods.push_back(Mood::Silent);
    world.ask(1, 0);
    world.until(30, "asked", |world| world.calls.len() == 1);
    world.crash();
    world.until(30, "compared", |world| world.pools.status(world.now)[0].listed);
    // The call takes effect only now.
    world.serve(0);
    let machine = world.list()[0].clone();
    let papers = Papers {
        machine: machine.provider_id,
        account: "1".to_owned(),
        region: "mars-1".to_owned(),
        image: "ami-1".to_owned(),
        kind: "large".to_owned(),
        started_at: world.now,
    };
    let (call, ticket) = (&world.calls[0], world.calls[0].ticket.clone().expect("a ticket"));
    let proof = Proof::Papers { papers, ticket };
    let (pool, token, peer) = ("linux".to_owned(), call.token.clone(), "peer".to_owned());
    let applicant = Applicant { pool, token, proof, peer, recorded: true };
    assert_eq!(code(&mut world, &applicant), Err("not yet"));
    let id = world.calls[0].members[0].instance;
    world.until(15, "found", |world| world.rows[&id].state == State::Booting);
    assert_eq!(code(&mut world, &applicant), Ok(id));
}

#[test]
fn a_ticket_is_good_for_half_an_hour() {
    let (mut world, id) = booting();
    let good = by_papers(&world, id);
    let later = world.now + Duration::from_mins(31);
    let (result, _) = world.pools.enroll(later, &good, Verifier("new".to_owned()));
    assert!(matches!(result, Err(EnrollError::Refused(refusal)) if refusal.code() == "ticket"));
}

#[test]
fn a_secret_is_good_once() {
    let (mut world, id) = booting();
    let row = world.rows[&id].clone();
    let member = world.calls[0].members.iter().find(|member| member.instance == id).unwrap();
    let proof = |secret: SecretString, machine: &str| {
        let proof = Proof::Secret { instance: id, secret, machine: machine.to_owned() };
        Applicant {
            pool: "linux".to_owned(),
            token: row.token.clone(),
            proof,
            peer: "peer".to_owned(),
            recorded: true,
        }
    };
    let (secret, machine) = (member.secret.clone().unwrap(), row.provider_id.clone().unwrap());
    assert_eq!(code(&mut world, &proof("wrong".into(), &machine)), Err("secret"));
    assert_eq!(code(&mut world, &proof(secret.clone(), "i-other")), Err("unknown"));
    let right = proof(secret, &machine);
    let other = Applicant { token: Token("other".to_owned()), ..right.clone() };
    assert_eq!(code(&mut world, &other), Err("secret"));
    assert_eq!(code(&mut world, &right), Ok(id));
    assert_eq!(by(&mut world, &right, "other"), Err("used"));
    assert_eq!(code(&mut world, &right), Ok(id), "the answer was lost");
    let wrong = proof("wrong".into(), &machine);
    assert_eq!(by(&mut world, &wrong, "other"), Err("secret"), "who does not know it learns nothing");
}
