//! Machines that no request has asked for: those for work that is expected, the minimum, and those kept ready.

use std::time::Duration;

use model::pool::{Idle, Warm};

use crate::{
    ReasonCode,
    learn::BootTimes,
    plan::{
        View,
        buy::Need,
        desk::{Desk, Want},
        flow::whole,
        ladder::Kind,
        words::{plural, span},
    },
};

/// Of what is expected to come in beyond what ends while a machine boots, so much is started ahead.
const FORECAST: f64 = 0.6;
/// Where waiting is worth less, less is started ahead.
const FORECAST_LAMBDA: f64 = 0.25;
/// At most so much for each machine that has work, or will have when it is there: one burst is not the beginning of a
/// flood.
const FORECAST_MOST: f64 = 0.15;
/// But never less than so many standard deviations of their number: in small pools chance is large.
const FORECAST_CHANCE: f64 = 2.0;

/// Machines beyond those for requests, and what follows from their number.
pub(super) fn fill_up(desk: &mut Desk<'_>) {
    let (view, spec) = (desk.view, desk.view.spec);
    let supply = &view.supply;
    let partly = u32::try_from(supply.partly.len()).unwrap_or(u32::MAX);
    let coming = u32::try_from(supply.coming.len()).unwrap_or(u32::MAX);
    let busy = partly.saturating_add(supply.full);
    let there = busy.saturating_add(supply.idle).saturating_add(coming);
    let spare = desk.ladder.unused(Kind::Free).saturating_add(desk.ladder.unused(Kind::Coming));
    let started: u32 = desk.wants.iter().map(|want| want.count).sum();
    let denied: u32 = desk.denied.iter().map(|(_, count)| count).sum();

    let (min, min_code) = minimum(desk);
    let warm = match spec.warm {
        Warm::Fixed(count) => count,
        Warm::Share(share) => whole((share * f64::from(busy)).ceil()),
    };
    let needed = busy.saturating_add(supply.idle).saturating_add(desk.likely).saturating_sub(spare);
    let expected = forecast(desk, needed);

    let for_min = min.saturating_sub(there.saturating_add(started).saturating_add(denied));
    let for_warm = warm.saturating_sub(spare.saturating_add(for_min));
    let for_forecast = expected.saturating_sub(spare.saturating_add(for_min).saturating_add(for_warm));
    for (count, code) in
        [(for_min, min_code), (for_warm, ReasonCode::Warm), (for_forecast, ReasonCode::Forecast)]
    {
        start(desk, count, code);
    }

    let kept = warm.max(expected);
    let unneeded = spare.saturating_sub(kept);
    desk.plan.cancel = supply.open.min(unneeded).min(there.saturating_sub(min));
    let more = started.saturating_add(denied).saturating_add(for_warm).saturating_add(for_forecast);
    desk.plan.wanted = there.saturating_sub(unneeded).saturating_add(more).max(min);
    (desk.plan.min, desk.plan.warm) = (min, warm);
    desk.plan.idle_timeout = idle_timeout(view, &desk.boot);
}

/// The minimum in force, and why.
fn minimum(desk: &Desk<'_>) -> (u32, ReasonCode) {
    let spec = desk.view.spec;
    let scheduled = spec.schedule.iter().rev().find(|scheduled| scheduled.on.is_on(desk.now));
    let configured = scheduled.map_or(spec.min, |scheduled| scheduled.min);
    let scaled = desk.view.scaled.unwrap_or(0);
    // More than the maximum is refused where it is configured or asked for; what counts here is what can be.
    let min = configured.max(scaled).min(spec.max);
    (min, if scaled > configured { ReasonCode::Scaled } else { ReasonCode::Minimum })
}

/// How many machines should be free or on their way for what is expected, when so many are needed already.
fn forecast(desk: &Desk<'_>, needed: u32) -> u32 {
    if !desk.view.spec.forecast || !desk.flow.is_long() {
        return 0;
    }
    let needed = f64::from(needed);
    let lambda = desk.view.spec.classes.first().map_or(1.0, |class| class.lambda);
    whole(
        (FORECAST * (lambda / FORECAST_LAMBDA).min(1.0) * desk.flow.missing())
            .min((FORECAST_MOST * needed).max(FORECAST_CHANCE * needed.sqrt())),
    )
}

fn start(desk: &mut Desk<'_>, count: u32, code: ReasonCode) {
    if count == 0 {
        return;
    }
    let need = Need {
        class: None,
        on_demand: false,
        insist: false,
        avoid: None,
        duration: desk.expected.prior.mean,
    };
    let want = desk.want(need, code);
    for _ in 0..count {
        match desk.blocked(want) {
            None => desk.grant(want),
            Some(block) => {
                desk.note(block);
            }
        }
    }
}

/// How long a machine without work is kept: as long as keeping it costs less than starting another one, with the wait
/// for that.
fn idle_timeout(view: &View<'_>, boot: &BootTimes) -> Option<Duration> {
    match view.spec.idle {
        Idle::Forever => None,
        Idle::For(time) => Some(time),
        Idle::Derived => {
            let lambda = view.spec.classes.first().map_or(1.0, |class| class.lambda);
            Some(Duration::from_secs_f64((boot.p50 * (1.0 + lambda)).clamp(60.0, 3600.0)))
        }
    }
}

/// Why machines are started, for people.
pub(super) fn sentence(
    view: &View<'_>,
    want: &Want,
    count: u32,
    boot: &BootTimes,
    waiting: usize,
    min: u32,
) -> String {
    let machines = plural(count, "machine");
    match (want.code, want.need.class.and_then(|class| view.spec.classes.get(class))) {
        (ReasonCode::Minimum, _) => format!("{machines} for the minimum of {min}"),
        (ReasonCode::Scaled, _) => format!("{machines} for the {min} that were asked for"),
        (ReasonCode::Warm, _) => format!("{machines} to be kept ready"),
        (ReasonCode::Forecast, _) => {
            format!(
                "{machines} for more requests than builds are going to end in the next {}",
                span(boot.p50)
            )
        }
        (_, Some(class)) if view.spec.classes.len() > 1 => format!(
            "{machines} for class {}: {waiting} wait, and a new one is there in {}",
            class.name,
            span(boot.p50)
        ),
        _ => format!("{machines}: {waiting} wait, and a new one is there in {}", span(boot.p50)),
    }
}
