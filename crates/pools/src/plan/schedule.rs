//! Lists the requests, in their order, on places of the pools: each in the pool where it starts first.

use std::collections::BTreeMap;

use crate::{
    Demand, ReasonCode,
    plan::{Why, desk::Desk, effective::Effective, ladder::Place, limits::Block, places::Places},
};

/// Lists all requests.
pub(super) fn requests(demand: &Demand, desks: &mut [Desk<'_>]) {
    let by_name: BTreeMap<&str, usize> =
        desks.iter().enumerate().map(|(at, desk)| (desk.view.spec.name.as_str(), at)).collect();
    let mut pools: Vec<Option<Vec<usize>>> = vec![None; demand.builders.len()];
    let mut elsewhere = Places::default();
    for worker in &demand.elsewhere {
        let runs = worker.running.iter().filter_map(|(builder, _)| *builder).collect();
        elsewhere.add(worker.room, runs, Some(worker.builders.clone()));
    }
    let mut effective = Effective::new(demand);

    for waiting in &demand.requests {
        let (Some(builder), Some(pools)) =
            (demand.builders.get(waiting.builder), pools.get_mut(waiting.builder))
        else {
            continue;
        };
        let pools = pools.get_or_insert_with(|| {
            builder.pools.iter().filter_map(|name| by_name.get(&**name).copied()).collect()
        });
        let Some(first) = pools.first().copied() else { continue };
        if let Some(why) = effective.put_aside(waiting) {
            desks[first].expect(waiting, None, why);
            for pool in &*pools {
                desks[*pool].flow.leave_out(waiting.submitted_at, pools.len());
            }
        } else if elsewhere.take(waiting.builder) {
            desks[first].expect(waiting, Some(0.0), Why::Elsewhere);
        } else if let Some(pool) = pools.iter().find(|pool| desks[**pool].take(waiting.builder)) {
            desks[*pool].expect(waiting, Some(0.0), Why::Free);
        } else {
            place(waiting, pools, desks);
        }
    }
}

fn place(waiting: &crate::Waiting, pools: &[usize], desks: &mut [Desk<'_>]) {
    // What is there: the pool with the earliest start, then the cheapest.
    let mut best: Option<(Place, usize)> = None;
    for pool in pools {
        let Some(place) = desks[*pool].earliest(waiting.builder) else { continue };
        let better = best.is_none_or(|(than, other)| {
            place.seconds() < than.seconds()
                || (place.seconds() <= than.seconds()
                    && desks[*pool].market.usual_price() < desks[other].market.usual_price())
        });
        if better {
            best = Some((place, *pool));
        }
    }
    if let Some((place, pool)) = best {
        let class = desks[pool].class(waiting);
        if place.seconds() <= desks[pool].too_late(class) {
            desks[pool].list(waiting, place);
            return;
        }
    }
    // A new machine: where it is there first, then the cheapest.
    let mut start: Option<(f64, usize, usize)> = None;
    let mut blocks: Option<(usize, Block)> = None;
    for pool in pools {
        let desk = &mut desks[*pool];
        let class = desk.class(waiting);
        let need = desk.need(waiting, class);
        let want = desk.want(need, ReasonCode::Demand);
        match desk.blocked(want) {
            Some(block) => blocks = blocks.or(Some((*pool, block))),
            None => {
                let boot = desk.boot.p50;
                let price = desk.market.usual_price();
                let better = start.is_none_or(|(than, other, _)| {
                    boot < than || (boot <= than && price < desks[other].market.usual_price())
                });
                if better {
                    start = Some((boot, *pool, want));
                }
            }
        }
    }
    match (start, best, blocks) {
        // Another pool's new machine would be there later than a place of a pool that may have no other one.
        (Some((boot, ..)), Some((place, pool)), Some(_)) if place.seconds() <= boot => {
            desks[pool].list(waiting, place)
        }
        (Some((_, pool, want)), ..) => desks[pool].start(waiting, want),
        (None, _, Some((pool, block))) => desks[pool].deny(waiting, block),
        (None, ..) => {}
    }
}
