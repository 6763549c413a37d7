//! What every [`Provider`] must hold to, as checks that are run against a real one.
//!
//! A provider's tests implement [`Bench`] and call [`all`], or the checks one by one. Each check starts machines of its
//! own and ends them. A violation is a panic that says what was expected.

use std::{collections::BTreeSet, future::Future, sync::Arc, task::Poll};

use futures_util::future::{join, join_all};

use crate::{
    Provider, Token,
    provider::{ErrorKind, LaunchRequest, Machine, MachineStatus},
};

/// How often a check looks again before it gives up.
const LOOKS: u32 = 600;

/// The most bytes that a console may have.
const CONSOLE: usize = 256 * 1024;

/// What a check needs from whoever runs it.
pub trait Bench: Sync {
    /// The provider as a master has it that was just started: it remembers nothing of earlier ones.
    fn provider(&self) -> Arc<dyn Provider>;

    /// The same place in the hands of another installation.
    fn stranger(&self) -> Arc<dyn Provider>;

    /// A call for so many machines, of a token and rows that were in no call before.
    fn request(&self, machines: u32) -> LaunchRequest;

    /// A moment after which it makes sense to look again: a tenth of a second of whatever clock the provider goes by.
    fn pause(&self) -> impl Future<Output = ()> + Send;
}

/// All checks, one after another.
pub async fn all(bench: &impl Bench) {
    capabilities_make_sense(bench).await;
    a_launch_gives_a_machine_for_each_member(bench).await;
    the_same_token_gives_the_same_machines(bench).await;
    calls_at_the_same_time_do_not_mix(bench).await;
    a_call_that_nobody_waited_for_is_found_again(bench).await;
    a_listing_is_complete_and_ours_alone(bench).await;
    a_termination_ends_one_machine(bench).await;
    what_is_unknown_is_fine(bench).await;
    nothing_is_bought_above_the_cap_or_off_the_list(bench).await;
    a_console_is_bounded(bench).await;
    machines_stop_and_start_or_say_that_they_cannot(bench).await;
}

/// There is something to buy, every name means one thing, and no number is absurd.
pub async fn capabilities_make_sense(bench: &impl Bench) {
    let capabilities = bench.provider().capabilities().await.expect("capabilities");
    assert!(!capabilities.offerings.is_empty(), "nothing can be bought");
    assert!(capabilities.batch > 0, "no machine can be asked for in a call");
    let names: BTreeSet<&str> = capabilities.offerings.iter().map(|offering| &*offering.name).collect();
    assert_eq!(names.len(), capabilities.offerings.len(), "two offerings have one name");
    for offering in &capabilities.offerings {
        assert!(offering.price.0 >= 0, "{}: a price below nothing", offering.name);
        assert!(offering.performance > 0.0 && offering.performance.is_finite(), "{}", offering.name);
        assert!((0.0..=1.0).contains(&offering.loss_per_hour), "{}: no probability", offering.name);
    }
    let api = capabilities.api;
    assert!(api.calls > 0 && api.instances > 0, "no call can be made");
    assert!(api.calls_per_second > 0.0 && api.instances_per_second > 0.0, "calls dry up");
}

/// As many machines as members, each its own, each with the call's token and template.
pub async fn a_launch_gives_a_machine_for_each_member(bench: &impl Bench) {
    let provider = bench.provider();
    let request = bench.request(3);
    let launched = provider.launch(request.clone()).await.expect("machines");
    assert!(!launched.open && launched.short.is_none(), "more is to come, or cannot: {launched:?}");
    assert_eq!(ids(&launched.machines).len(), 3, "three machines, each with a name of its own: {launched:?}");
    for machine in &launched.machines {
        assert_eq!(machine.token.as_ref(), Some(&request.token), "the token of the call");
        assert_eq!(machine.template.as_ref(), Some(&request.template), "the template of the call");
        assert_eq!(machine.offering.as_ref(), Some(&request.offering), "the offering of the call");
        assert!(!machine.provider_id.is_empty(), "a machine without a name");
    }
    let members: BTreeSet<_> = launched.machines.iter().filter_map(|machine| machine.member).collect();
    assert!(
        members.is_empty() || members.len() == 3,
        "either all have a member of their own, or none: {launched:?}"
    );
    assert!(
        members.iter().all(|id| request.members.iter().any(|member| member.instance == *id)),
        "a member that was not in the call"
    );
    end_all(bench, &request.token).await;
}

/// A call that is made again starts nothing: at once, after a restart of the master, without the secrets that are gone
/// then, and when the machines are gone.
pub async fn the_same_token_gives_the_same_machines(bench: &impl Bench) {
    let request = bench.request(2);
    let first = bench.provider().launch(request.clone()).await.expect("machines").machines;
    let again = bench.provider().launch(request.clone()).await.expect("the same machines").machines;
    assert_eq!(ids(&first), ids(&again), "the same call again, other machines");
    let mut forgotten = request.clone();
    for member in &mut forgotten.members {
        member.secret = None;
    }
    let after = bench.provider().launch(forgotten).await.expect("the same machines").machines;
    assert_eq!(ids(&first), ids(&after), "the same call without secrets, other machines");
    assert_eq!(live(bench, &request.token).await, ids(&first), "the listing has others");
    end_all(bench, &request.token).await;
    // Whether it is an answer or an error: nothing may come of it.
    drop(bench.provider().launch(request.clone()).await);
    bench.pause().await;
    assert_eq!(live(bench, &request.token).await, BTreeSet::new(), "machines came back from the dead");
}

/// The same call twice at once is one call; different calls are different machines.
pub async fn calls_at_the_same_time_do_not_mix(bench: &impl Bench) {
    let provider = bench.provider();
    let (one, other) = (bench.request(2), bench.request(2));
    let (first, second) = join(provider.launch(one.clone()), provider.launch(one.clone())).await;
    let (first, second) = (first.expect("machines").machines, second.expect("machines").machines);
    assert_eq!(ids(&first), ids(&second), "the same call twice at once, different machines");
    let elsewhere = bench.provider();
    let (third, fourth) = join(elsewhere.launch(other.clone()), provider.launch(bench.request(1))).await;
    let (third, fourth) = (third.expect("machines").machines, fourth.expect("machines").machines);
    assert!(ids(&first).is_disjoint(&ids(&third)) && ids(&third).is_disjoint(&ids(&fourth)));
    assert_eq!(live(bench, &one.token).await, ids(&first));
    assert_eq!(live(bench, &other.token).await, ids(&third));
    for machine in first.iter().chain(&third).chain(&fourth) {
        provider.terminate(machine.provider_id.clone()).await.expect("it ends");
    }
    for token in [&one.token, &other.token] {
        end_all(bench, token).await;
    }
}

/// When a master dies in the middle of a call, the listing shows what became of it, and the call that is made again adds
/// no more than was missing.
pub async fn a_call_that_nobody_waited_for_is_found_again(bench: &impl Bench) {
    for polls in 1..4 {
        let request = bench.request(2);
        let provider = bench.provider();
        let mut call = provider.launch(request.clone());
        for _ in 0..polls {
            // Looked at once, and given up however far it came.
            let over =
                std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await;
            if over {
                break;
            }
            bench.pause().await;
        }
        drop(call);
        let found = live(bench, &request.token).await;
        assert!(found.len() <= 2, "more machines than were asked for: {found:?}");
        let again = bench.provider().launch(request.clone()).await.expect("machines").machines;
        assert!(
            ids(&again).is_superset(&found),
            "machines of the first call are not in the second: {again:?}"
        );
        assert_eq!(live(bench, &request.token).await.len(), 2, "as many as were asked for");
        end_all(bench, &request.token).await;
    }
}

/// Whoever lists sees all machines of its own, with what they were started for, and none of anybody else.
pub async fn a_listing_is_complete_and_ours_alone(bench: &impl Bench) {
    let requests = [bench.request(2), bench.request(1), bench.request(2)];
    let provider = bench.provider();
    let mut started = Vec::new();
    for request in &requests {
        started.extend(provider.launch(request.clone()).await.expect("machines").machines);
    }
    let listed = bench.provider().list().await.expect("a listing");
    for machine in &started {
        let found = listed.iter().find(|found| found.provider_id == machine.provider_id);
        let found = found.unwrap_or_else(|| panic!("{machine:?} is not in the listing"));
        assert_eq!(
            (&found.token, found.member, &found.template, &found.offering),
            (&machine.token, machine.member, &machine.template, &machine.offering),
            "the listing says something else"
        );
        assert!(found.launched_at.is_some(), "a machine must tell its age");
    }
    assert_eq!(ids(&listed).len(), listed.len(), "a machine is in the listing twice");
    let strange = bench.stranger().list().await.expect("a listing");
    assert!(ids(&strange).is_disjoint(&ids(&started)), "another installation sees our machines: {strange:?}");
    for machine in &started {
        bench.stranger().terminate(machine.provider_id.clone()).await.ok();
    }
    bench.pause().await;
    for request in &requests {
        let members = request.members.len();
        assert_eq!(
            live(bench, &request.token).await.len(),
            members,
            "another installation ended our machines"
        );
        end_all(bench, &request.token).await;
    }
}

/// One machine ends, the others stay; twice, at once or later, is as good as once.
pub async fn a_termination_ends_one_machine(bench: &impl Bench) {
    let provider = bench.provider();
    let request = bench.request(3);
    let machines = provider.launch(request.clone()).await.expect("machines").machines;
    let [one, other, last] = &machines[..] else { panic!("three machines: {machines:?}") };
    provider.terminate(one.provider_id.clone()).await.expect("it ends");
    until_gone(bench, &one.provider_id).await;
    assert_eq!(
        live(bench, &request.token).await,
        ids(&[other.clone(), last.clone()]),
        "one was ended, the others stay"
    );
    let twice = [&one.provider_id, &other.provider_id, &other.provider_id];
    let ended = join_all(twice.map(|id| provider.terminate(id.clone()))).await;
    assert!(ended.iter().all(Result::is_ok), "what is gone or going is fine: {ended:?}");
    bench.provider().terminate(last.provider_id.clone()).await.expect("it ends for a master that found it");
    for machine in &machines {
        until_gone(bench, &machine.provider_id).await;
        provider.terminate(machine.provider_id.clone()).await.expect("what is gone is fine");
    }
}

/// Machines and calls that nobody knows: their end is fine, everything else an error.
pub async fn what_is_unknown_is_fine(bench: &impl Bench) {
    let provider = bench.provider();
    let strange = ["", ".", "..", "../..", "/", "i-0123456789abcdef0", "instance-99999999", "\u{1F980}\n"];
    for id in strange.map(str::to_owned) {
        if let Err(error) = provider.terminate(id.clone()).await {
            // A cloud may say that this cannot be a name. It may not say that it does not know.
            assert_ne!(error.kind, ErrorKind::Transport, "{id:?}: {error}");
        }
        assert!(provider.resume(id).await.is_err(), "a machine that nobody knows was started");
    }
    provider.terminate("instance-99999999".to_owned()).await.expect("a machine that is gone is fine");
    provider.cancel(Token("nobody-knows-it".to_owned())).await.expect("an unknown call is fine");
}

/// What costs more than it may, or is not for sale, is an error, and leaves nothing.
pub async fn nothing_is_bought_above_the_cap_or_off_the_list(bench: &impl Bench) {
    let provider = bench.provider();
    let mut dear = bench.request(1);
    dear.price_cap = Some(model::pool::Money(-1));
    let mut unknown = bench.request(1);
    unknown.offering = "no such offering".to_owned();
    for request in [dear, unknown] {
        let token = request.token.clone();
        let error = provider.launch(request).await.expect_err("that cannot be bought");
        assert!(
            matches!(error.kind, ErrorKind::Capacity | ErrorKind::Config),
            "it is known that nothing came of it: {error:?}"
        );
        assert_eq!(live(bench, &token).await, BTreeSet::new());
    }
}

/// What a machine says while it boots can be had, and has an end.
pub async fn a_console_is_bounded(bench: &impl Bench) {
    let provider = bench.provider();
    let request = bench.request(1);
    let machines = provider.launch(request.clone()).await.expect("a machine").machines;
    for machine in &machines {
        let text = provider.console(machine.provider_id.clone()).await.expect("a console");
        assert!(text.len() <= CONSOLE, "{} bytes of console", text.len());
    }
    assert!(provider.console("nobody-knows-it".to_owned()).await.map_or(0, |text| text.len()) <= CONSOLE);
    end_all(bench, &request.token).await;
}

/// A machine that is stopped stays the same machine and can be started again, or the provider says that it cannot.
pub async fn machines_stop_and_start_or_say_that_they_cannot(bench: &impl Bench) {
    let provider = bench.provider();
    let stops = provider.capabilities().await.expect("capabilities").stops;
    let request = bench.request(1);
    let machines = provider.launch(request.clone()).await.expect("a machine").machines;
    let [machine] = &machines[..] else { panic!("one machine: {machines:?}") };
    let id = machine.provider_id.clone();
    until(bench, &id, MachineStatus::Running).await;
    if stops {
        provider.stop(id.clone()).await.expect("it stops");
        until(bench, &id, MachineStatus::Stopped).await;
        bench.provider().resume(id.clone()).await.expect("it starts again");
        until(bench, &id, MachineStatus::Running).await;
        provider.resume(id.clone()).await.expect("what runs is fine");
        provider.stop(id.clone()).await.expect("it stops again");
        until(bench, &id, MachineStatus::Stopped).await;
    } else {
        for refused in [provider.stop(id.clone()).await, provider.resume(id.clone()).await] {
            assert_eq!(refused.expect_err("it cannot").kind, ErrorKind::Unsupported);
        }
    }
    end_all(bench, &request.token).await;
}

fn ids(machines: &[Machine]) -> BTreeSet<String> {
    machines.iter().map(|machine| machine.provider_id.clone()).collect()
}

/// Machines of a call that are not ended.
async fn live(bench: &impl Bench, token: &Token) -> BTreeSet<String> {
    let listed = bench.provider().list().await.expect("a listing");
    let of_call = listed.iter().filter(|machine| machine.token.as_ref() == Some(token));
    of_call.filter(|machine| !is_gone(machine)).map(|machine| machine.provider_id.clone()).collect()
}

fn is_gone(machine: &Machine) -> bool {
    matches!(machine.status, MachineStatus::Terminated | MachineStatus::ShuttingDown)
}

/// Ends what is left of a call, and waits until it is gone.
async fn end_all(bench: &impl Bench, token: &Token) {
    let provider = bench.provider();
    for id in live(bench, token).await {
        provider.terminate(id.clone()).await.expect("it ends");
        until_gone(bench, &id).await;
    }
}

async fn until_gone(bench: &impl Bench, id: &str) {
    look(bench, &format!("{id} is gone"), |listed| {
        listed
            .iter()
            .find(|machine| machine.provider_id == id)
            .is_none_or(|machine| machine.status == MachineStatus::Terminated)
    })
    .await;
}

async fn until(bench: &impl Bench, id: &str, status: MachineStatus) {
    look(bench, &format!("{id} is {status:?}"), |listed| {
        listed.iter().any(|machine| machine.provider_id == id && machine.status == status)
    })
    .await;
}

async fn look(bench: &impl Bench, what: &str, is_so: impl Fn(&[Machine]) -> bool) {
    let provider = bench.provider();
    for _ in 0..LOOKS {
        if is_so(&provider.list().await.expect("a listing")) {
            return;
        }
        bench.pause().await;
    }
    panic!("never: {what}; {:?}", provider.list().await);
}
