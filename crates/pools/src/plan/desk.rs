//! Where one pool's plan is made.

use std::sync::Arc;

use model::{BuildRequestId, Time, pool::Money};

use crate::{
    Demand, ReasonCode, Waiting,
    learn::{BootTimes, Jobs},
    plan::{
        Launch, Outlook, PoolPlan, View, Why,
        buy::{Market, Need},
        flow::{self, Expected, Flow},
        ladder::{Kind, Ladder, Place},
        limits::{Block, Limits},
        minimum,
        places::Places,
    },
};

/// From this λ on, nothing waits to be packed with others.
const IMPATIENT: f64 = 20.0;
/// To wait behind a build that takes long pays less: it may take longer still, and the machine that is not started would
/// have been of use to others.
const BEHIND_LONG: f64 = 0.25;

/// One pool's plan in the making.
#[derive(Debug)]
pub(super) struct Desk<'a> {
    pub(super) view: &'a View<'a>,
    pub(super) now: Time,
    demand: &'a Demand,
    /// How long a new machine takes.
    pub(super) boot: BootTimes,
    /// For each class, the start (seconds from now) that is too late.
    too_late: Vec<f64>,
    /// How long builds of each builder take (seconds); not a number until somebody asks.
    durations: Vec<f64>,
    pub(super) expected: Expected<'a>,
    pub(super) flow: Flow,
    pub(super) ladder: Ladder,
    /// Machines on their way that are likely to come.
    pub(super) likely: u32,
    places: Places,
    pub(super) market: Market<'a>,
    pub(super) limits: Limits,
    pub(super) wants: Vec<Want>,
    /// How many requests of each class wait for this pool.
    waiting: Vec<usize>,
    /// What is denied, and how often.
    pub(super) denied: Vec<(Block, u32)>,
    pub(super) plan: PoolPlan,
}

/// Machines that are wanted for the same reason and of the same kind.
#[derive(Debug)]
pub(super) struct Want {
    pub(super) need: Need,
    pub(super) code: ReasonCode,
    /// How many are started.
    pub(super) count: u32,
    /// What one of them costs an hour; `None` when none can be bought.
    pub(super) price: Result<Money, ReasonCode>,
    causes: Vec<BuildRequestId>,
    /// The requests that they are for: indices into the plan's requests.
    outlooks: Vec<usize>,
}

impl<'a> Desk<'a> {
    pub(super) fn new(now: Time, view: &'a View<'a>, demand: &'a Demand, jobs: &'a Jobs) -> Self {
        let spec = view.spec;
        let market = Market::new(now, view);
        let boot = view.learned.boots.times(market.image(), market.usual());
        let mut expected = Expected::new(jobs, jobs.prior(&view.learned.durations));
        let most = spec.max_builds.map(std::num::NonZeroU32::get);

        let mut last = (BootTimes::default(), BootTimes::default().doubtful_age());
        let mut coming = Vec::with_capacity(view.supply.coming.len());
        for machine in view.supply.coming {
            if machine.boot != last.0 {
                last = (machine.boot, machine.boot.doubtful_age());
            }
            let age = machine.since.map_or(0.0, |since| flow::seconds(now, since));
            if age <= last.1 {
                coming.push(machine.boot.expected_in(age));
            }
        }
        let mut ladder = Ladder::new(most, demand.builders.len(), view.supply.idle, &coming);

        let indices = (most != Some(1)).then(|| flow::indices(demand));
        let served = |builder: usize| {
            let names =
                demand.builders.get(builder).map(|builder| builder.pools.as_slice()).unwrap_or_default();
            names.iter().any(|name| **name == *spec.name)
        };
        let flow = Flow::new(now, view, demand, &mut expected, boot.p50, &served, indices.as_deref());
        if most.is_some() {
            ladder.soon(flow.soon(), boot.p50);
        }
        let mut places = Places::default();
        for machine in view.supply.partly {
            let runs = machine.runs.iter();
            let runs = runs.filter_map(|builder| flow::index_of(indices.as_deref()?, *builder)).collect();
            places.add(machine.room, runs, None);
        }

        let too_late = spec.classes.iter().map(|class| boot.p50 * patience(class.lambda, flow.is_short()));
        let limits = Limits::new(now, view);
        Self {
            view,
            now,
            demand,
            boot,
            too_late: too_late.collect(),
            durations: vec![f64::NAN; demand.builders.len()],
            expected,
            flow,
            ladder,
            likely: u32::try_from(coming.len()).unwrap_or(u32::MAX),
            places,
            market,
            limits,
            wants: Vec::new(),
            waiting: vec![0; spec.classes.len()],
            denied: Vec::new(),
            plan: PoolPlan::new(&spec.name),
        }
    }

    /// The class of a request: an index.
    pub(super) fn class(&self, waiting: &Waiting) -> usize {
        self.view.spec.classes.partition_point(|class| class.from <= waiting.priority).saturating_sub(1)
    }

    /// The start (seconds from now) that is too late for a class.
    pub(super) fn too_late(&self, class: usize) -> f64 {
        self.too_late.get(class).copied().unwrap_or(self.boot.p50)
    }

    /// How long a build of a builder takes (seconds).
    pub(super) fn duration(&mut self, builder: usize) -> f64 {
        let Some(known) = self.durations.get_mut(builder) else { return self.expected.prior.mean };
        if known.is_nan() {
            *known = match self.demand.builders.get(builder) {
                Some(builder) => self.expected.model(builder.id).mean,
                None => self.expected.prior.mean,
            };
        }
        *known
    }

    /// Whether a machine that runs builds has room for a request of a builder; then it has it.
    pub(super) fn take(&mut self, builder: usize) -> bool {
        self.places.take(builder)
    }

    /// When a request of a builder starts at the earliest.
    pub(super) fn earliest(&mut self, builder: usize) -> Option<Place> {
        if self.ladder.is_new(builder) {
            self.ladder.begin(builder, self.flow.soon_of(builder), self.boot.p50);
        }
        self.ladder.earliest(builder)
    }

    /// What a request expects.
    pub(super) fn expect(&mut self, waiting: &Waiting, start: Option<f64>, why: Why) {
        let start =
            start.map(|seconds| self.now + std::time::Duration::from_secs_f64(seconds.clamp(0.0, 3e10)));
        let class = self.class(waiting);
        if let Some(count) = self.waiting.get_mut(class) {
            *count += 1;
        }
        self.plan.requests.push(Outlook { request: waiting.request, start, why });
    }

    /// Lists a request at its earliest start.
    pub(super) fn list(&mut self, waiting: &Waiting, place: Place) {
        let duration = self.duration(waiting.builder);
        self.ladder.place(waiting.builder, duration);
        let why = match place.kind() {
            Kind::Free => Why::Free,
            Kind::Coming => Why::Coming,
            Kind::Soon => Why::Soon,
            Kind::New => Why::New,
            Kind::Behind => Why::Behind,
            Kind::Denied => Why::Denied(self.denied.len().saturating_sub(1)),
        };
        let start = if place.kind() == Kind::Denied { None } else { Some(place.seconds()) };
        self.expect(waiting, start, why);
    }

    /// What a request needs of a new machine.
    pub(super) fn need(&mut self, waiting: &Waiting, class: usize) -> Need {
        let after = self.view.spec.classes.get(class).and_then(|class| class.on_demand_after);
        let waited = self.now.since(waiting.submitted_at);
        Need {
            class: Some(class),
            on_demand: after.is_some_and(|after| waited >= after || waiting.losses > 0),
            insist: after.is_some() && waiting.losses > 1,
            avoid: waiting.lost_on.clone(),
            duration: self.duration(waiting.builder),
        }
    }

    /// Which want a need belongs to.
    pub(super) fn want(&mut self, need: Need, code: ReasonCode) -> usize {
        if let Some(at) = self.wants.iter().position(|want| want.code == code && want.need.is_like(&need)) {
            return at;
        }
        let price = self.market.price(&need, &self.boot);
        self.wants.push(Want { need, code, count: 0, price, causes: Vec::new(), outlooks: Vec::new() });
        self.wants.len() - 1
    }

    /// What stands against one more machine of a want, by this pool's own limits.
    pub(super) fn blocked(&self, want: usize) -> Option<Block> {
        let want = self.wants.get(want)?;
        self.limits.blocked(self.view, want.need.class, want.price)
    }

    /// One more machine of a want.
    pub(super) fn grant(&mut self, want: usize) {
        if let Some(want) = self.wants.get_mut(want) {
            want.count += 1;
            self.limits.granted(want.price.unwrap_or_default());
        }
    }

    /// A machine is started for a request.
    pub(super) fn start(&mut self, waiting: &Waiting, want: usize) {
        self.grant(want);
        if let Some(want) = self.wants.get_mut(want) {
            want.causes.push(waiting.request);
            want.outlooks.push(self.plan.requests.len());
        }
        self.ladder.open(self.boot.p50, Kind::New);
        let place = self.earliest(waiting.builder).unwrap_or_else(|| Place::new(self.boot.p50, Kind::New));
        self.list(waiting, place);
    }

    /// A machine would be started for a request, but for this.
    pub(super) fn deny(&mut self, waiting: &Waiting, block: Block) {
        let at = self.note(block);
        self.ladder.open(self.boot.p50, Kind::Denied);
        let duration = self.duration(waiting.builder);
        self.ladder.place(waiting.builder, duration);
        // Those that are denied follow each other as builds end, the first ones first.
        let before: u32 = self.denied.iter().map(|(_, count)| count).sum();
        let ends = self.flow.ends / self.boot.p50.max(1e-3);
        let start = (ends > 0.0).then(|| f64::from(before) / ends);
        self.expect(waiting, start, Why::Denied(at));
    }

    /// Counts what is denied; gives its index.
    pub(super) fn note(&mut self, block: Block) -> usize {
        match self.denied.iter().position(|(other, _)| *other == block) {
            Some(at) => {
                if let Some((_, count)) = self.denied.get_mut(at) {
                    *count = count.saturating_add(1);
                }
                at
            }
            None => {
                self.denied.push((block, 1));
                self.denied.len() - 1
            }
        }
    }

    /// One machine less of a want: a limit that pools share.
    pub(super) fn revoke(&mut self, want: usize, block: Block) {
        let at = self.note(block);
        let Some(want) = self.wants.get_mut(want) else { return };
        want.count = want.count.saturating_sub(1);
        if let (Block::GlobalMax, Some(class)) =
            (block, want.need.class.and_then(|class| self.view.spec.classes.get(class)))
        {
            self.plan.crowded = self.plan.crowded.saturating_add(1);
            self.plan.crowded_class = self.plan.crowded_class.max(Some(class.from));
        }
        want.causes.pop();
        if let Some(outlook) = want.outlooks.pop().and_then(|outlook| self.plan.requests.get_mut(outlook)) {
            (outlook.start, outlook.why) = (None, Why::Denied(at));
        }
    }

    /// The plan.
    pub(super) fn finish(mut self) -> PoolPlan {
        let mut resumable = self.view.supply.stopped;
        let mut fresh_image = self.view.learned.canary.share(self.wants.iter().map(|want| want.count).sum());
        let (wants, min) = (std::mem::take(&mut self.wants), self.plan.min);
        for want in &wants {
            let waiting =
                want.need.class.and_then(|class| self.waiting.get(class)).copied().unwrap_or_default();
            let text = |count| minimum::sentence(self.view, want, count, &self.boot, waiting, min);
            let mut causes = want.causes.as_slice();
            let mut push = |plan: &mut PoolPlan, count: u32, resume: bool, image: &str| {
                if count == 0 {
                    return;
                }
                let (mine, rest) = causes.split_at((count as usize).min(causes.len()));
                causes = rest;
                plan.launches.push(Launch {
                    count,
                    resume,
                    candidates: if resume {
                        Vec::new()
                    } else {
                        self.market.candidates(&want.need, &self.boot)
                    },
                    image: image.to_owned(),
                    class: want.need.class,
                    code: want.code,
                    text: text(count),
                    causes: mine.to_vec(),
                });
            };
            let resumed = want.count.min(resumable);
            resumable -= resumed;
            push(&mut self.plan, resumed, true, self.view.image);
            let tried = (want.count - resumed).min(fresh_image);
            fresh_image -= tried;
            push(&mut self.plan, tried, false, self.view.learned.canary.trial().unwrap_or_default());
            push(&mut self.plan, want.count - resumed - tried, false, self.market.image());
        }
        let denied = std::mem::take(&mut self.denied);
        self.plan.denied = denied
            .into_iter()
            .map(|(block, count)| self.limits.denied(self.view, &self.market, block, count))
            .collect();
        self.plan.code = Some(match (self.plan.launches.first(), self.plan.denied.first()) {
            (Some(launch), _) => launch.code,
            (None, Some(denied)) => denied.code,
            (None, None) if self.plan.requests.is_empty() => ReasonCode::NoDemand,
            (None, None) => ReasonCode::Covered,
        });
        self.plan
    }
}

/// How many times the time to boot a request waits before another machine is started for it.
fn patience(lambda: f64, short: bool) -> f64 {
    let packing = if short { 1.0 } else { BEHIND_LONG };
    if lambda >= IMPATIENT { 1.0 } else { 1.0 + packing / lambda.max(0.01) }
}

/// A shared name.
pub(super) type Name = Arc<str>;
