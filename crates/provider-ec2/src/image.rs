//! Which image machines boot.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use aws_sdk_ec2::{
    Client,
    types::{Filter, Image as Found},
};
use model::ec2::Image;
use pools::ProviderError;
use regex::Regex;
use tokio::time::{Duration, Instant};

use crate::{
    bucket::{self, Class},
    clients::Region,
    error,
};

/// For so long the newest image is taken for the newest.
const FRESH: Duration = Duration::from_secs(300);

/// Images that were found, by region and what was looked for.
#[derive(Debug, Default)]
pub(crate) struct Images(Mutex<HashMap<String, (String, Instant)>>);

impl Images {
    /// The image that is meant now. Where nobody can say just now, it is what it was.
    pub(crate) async fn id(
        &self,
        clients: &Region,
        region: &str,
        image: &Image,
    ) -> Result<String, ProviderError> {
        if let Image::Id(id) = image {
            return Ok(id.clone());
        }
        let key = format!("{region} {image:?}");
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some((id, at)) = &known
            && at.elapsed() < FRESH
        {
            return Ok(id.clone());
        }
        match (look_up(clients, region, image).await, known) {
            (Ok(id), _) => {
                let found = (id.clone(), Instant::now());
                self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, found);
                Ok(id)
            }
            (Err(error), Some((id, _))) => {
                tracing::warn!(region, image = id, code = error.code, "still this image: {}", error.text);
                Ok(id)
            }
            (Err(error), None) => Err(error),
        }
    }
}

/// The part of a pool's image that is for a placement: what is tried, or gone back to. `None` when nothing was found yet.
pub(crate) fn wanted(image: &str, placement: usize, placements: usize) -> Option<&str> {
    let parts: Vec<_> = image.split(',').collect();
    let part = if parts.len() == placements { parts.get(placement) } else { parts.first() };
    part.copied().filter(|id| id.starts_with("ami-") && (parts.len() == 1 || parts.len() == placements))
}

async fn look_up(clients: &Region, region: &str, image: &Image) -> Result<String, ProviderError> {
    let missing = |text: String| ProviderError::config("InvalidAMIID.NotFound", text);
    match image {
        Image::Id(id) => Ok(id.clone()),
        Image::Newest { name, location, owners } => {
            let found = find(&clients.ec2, region, name.as_deref(), owners).await?;
            newest(found, location.as_deref())?
                .ok_or_else(|| missing(format!("no image in {region} is like the one that is configured")))
        }
        Image::Parameter(name) => {
            bucket::turn(region, Class::Describe).await?;
            let found = clients.parameters.get_parameters().names(name).send().await;
            let found = found.map_err(|error| error::told("GetParameters", &error, false))?;
            let value = found.parameters().first().and_then(|parameter| parameter.value());
            let value =
                value.ok_or_else(|| missing(format!("there is no parameter {name} in {region}")))?.trim();
            if is_id(value) {
                return Ok(value.to_owned());
            }
            Err(missing(format!("parameter {name} in {region} does not name an image: it has no `ami-…`")))
        }
    }
}

/// Whether this can be the id of an image.
fn is_id(value: &str) -> bool {
    let digits = value.strip_prefix("ami-").unwrap_or_default();
    (8..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

async fn find(
    client: &Client,
    region: &str,
    name: Option<&str>,
    owners: &[String],
) -> Result<Vec<Found>, ProviderError> {
    bucket::turn(region, Class::Describe).await?;
    let mut call = client.describe_images().set_owners(Some(owners.to_vec()));
    call = call.filters(Filter::builder().name("state").values("available").build());
    if let Some(name) = name {
        call = call.filters(Filter::builder().name("name").values(name).build());
    }
    let mut pages = call.into_paginator().items().send();
    let mut found = Vec::new();
    while let Some(image) = pages.next().await {
        found.push(image.map_err(|error| error::told("DescribeImages", &error, false))?);
    }
    Ok(found)
}

/// The newest image, or of those whose location matches the one whose first group comes last: numbers by their value,
/// otherwise as text (`buildbot/worker/ec2.py`, 4.3.0: `get_image`).
fn newest(found: Vec<Found>, location: Option<&str>) -> Result<Option<String>, ProviderError> {
    let Some(location) = location else {
        let newest = found.into_iter().max_by(|a, b| a.creation_date().cmp(&b.creation_date()));
        return Ok(newest.and_then(|image| image.image_id));
    };
    let pattern = Regex::new(&format!("^(?:{location})")).map_err(|error| {
        ProviderError::config("InvalidParameterValue", format!("`valid_ami_location_regex`: {error}"))
    })?;
    let mut matching = Vec::new();
    for image in found {
        let at = image.image_location().unwrap_or_default().to_owned();
        let Some(captures) = pattern.captures(&at) else { continue };
        let group = captures.get(1).map(|group| group.as_str().to_owned());
        let number = group.as_ref().and_then(|group| group.parse::<u64>().ok());
        matching.push(((number.is_some(), number, group, at.clone()), image.image_id));
    }
    // Where one of them is no number, all are text.
    if matching.iter().any(|((is_number, ..), _)| !is_number) {
        matching.sort_by(|((_, _, a, at), _), ((_, _, b, bt), _)| (a, at).cmp(&(b, bt)));
    } else {
        matching.sort_by(|(a, _), (b, _)| a.cmp(b));
    }
    Ok(matching.pop().and_then(|(_, id)| id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_placement_has_its_part_of_the_image() {
        assert_eq!(wanted("ami-1", 2, 3), Some("ami-1"), "the same for all");
        assert_eq!(wanted("ami-1,ami-2,ami-1", 1, 3), Some("ami-2"));
        assert_eq!(wanted("ami-1,ami-2", 0, 3), None, "of placements that are no more");
        assert_eq!((wanted("", 0, 1), wanted("lt-1:3", 0, 1)), (None, None));
    }

    fn image(id: &str, location: &str, created: &str) -> Found {
        Found::builder().image_id(id).image_location(location).creation_date(created).build()
    }

    #[test]
    fn the_newest_one_is_taken_or_the_one_whose_group_comes_last() {
        let images = || {
            vec![
                image("ami-1", "me/worker-9", "2026-01-03T00:00:00Z"),
                image("ami-2", "me/worker-10", "2026-01-02T00:00:00Z"),
                image("ami-3", "me/other-11", "2026-01-01T00:00:00Z"),
            ]
        };
        let id = |location| newest(images(), location).unwrap();
        assert_eq!(id(None).as_deref(), Some("ami-1"));
        assert_eq!(id(Some(r"me/worker-(\d+)")).as_deref(), Some("ami-2"), "10 is after 9");
        assert_eq!(id(Some(r"me/(.*)")).as_deref(), Some("ami-1"), "as text");
        assert_eq!(id(Some("nobody/.*")), None);
        assert!(newest(images(), Some("(")).is_err());
    }
}
