//! Which image machines boot.

use std::collections::HashMap;

use aws_sdk_ec2::{
    Client,
    types::{Filter, Image as Found},
};
use model::ec2::Image;
use pools::ProviderError;
use regex::Regex;
use tokio::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::{
    bucket::{self, Class},
    error,
};

/// For so long the newest image is taken for the newest.
const FRESH: Duration = Duration::from_secs(300);

/// The newest images, by region and what was looked for.
#[derive(Debug, Default)]
pub(crate) struct Images(Mutex<HashMap<String, (String, Instant)>>);

impl Images {
    /// What `RunInstances` is given as the image. `wanted` is what the pool wants, which after a bad image is the one before.
    pub(crate) async fn id(
        &self,
        client: &Client,
        region: &str,
        image: &Image,
        wanted: &str,
    ) -> Result<String, ProviderError> {
        match image {
            Image::Id(_) if wanted.starts_with("ami-") => Ok(wanted.to_owned()),
            Image::Id(id) => Ok(id.clone()),
            Image::Parameter(name) => Ok(format!("resolve:ssm:{name}")),
            Image::Newest { name, location, owners } => {
                let key = format!("{region} {image:?}");
                let mut known = self.0.lock().await;
                if let Some((id, at)) = known.get(&key)
                    && at.elapsed() < FRESH
                {
                    return Ok(id.clone());
                }
                let found = find(client, region, name.as_deref(), owners).await?;
                let id = newest(found, location.as_deref())?.ok_or_else(|| {
                    let text = format!("no image in {region} is like the one that is configured");
                    error::config("InvalidAMIID.NotFound", text)
                })?;
                known.insert(key, (id.clone(), Instant::now()));
                Ok(id)
            }
        }
    }
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
        error::config("InvalidParameterValue", format!("`valid_ami_location_regex`: {error}"))
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
