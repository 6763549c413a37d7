//! `interruption-queue` of `[pool.ec2]`.

use std::{collections::HashMap, sync::Arc};

use crate::{
    pool::{Pool, PoolProvider},
    table::Table,
    value::{Reading, Value},
};

/// The URL of a queue for machines of a region.
pub(super) fn url(table: &Table<'_>, region: &str) -> Option<String> {
    let (url, span) = table.text("interruption-queue")?;
    let sink = &table.reading().sink;
    let Some((_, rest)) = url.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))
    else {
        sink.error(span, format!("{url:?} is no URL of a queue"))
            .help("such as \"https://sqs.eu-central-1.amazonaws.com/123456789012/ganger-linux\"");
        return None;
    };
    let host = rest.split('/').next().and_then(|host| host.strip_prefix("sqs.")?.split_once(".amazonaws."));
    if let Some((other, _)) = host.filter(|(other, _)| *other != region) {
        sink.error(span, format!("the queue is in {other:?}, and machines are in {region:?}"))
            .help("each region has a queue of its own, in its `[[pool.ec2.placement]]`");
    }
    Some(url.to_owned())
}

/// Reports pools that have one queue: each would take from the others what is said of their machines.
pub(in crate::file) fn check(reading: &Reading<'_>, pools: &[(Arc<Pool>, Value<'_>)]) {
    let mut taken = HashMap::new();
    for (pool, table) in pools {
        let PoolProvider::Ec2(template) = &pool.provider else { continue };
        for queue in
            template.placements.iter().filter_map(|placement| placement.interruption_queue.as_deref())
        {
            let other = *taken.entry(queue).or_insert(&pool.spec.name);
            if *other != pool.spec.name {
                let text = format!("pool {other:?} has the interruption-queue {queue:?} too");
                let value = table.entry("ec2").and_then(|ec2| ec2.entry("interruption-queue"));
                reading
                    .sink
                    .error(value.unwrap_or(*table).span(), text)
                    .help("a queue of its own for each pool; a rule of EventBridge has up to five targets");
            }
        }
    }
}
