//! `DescribeInstances` and what else is listed: filters, pages, states that last, machines that nobody knows of yet.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    server::{Server, xml},
    world::Refusal,
};
use crate::ec2::{moto::Answer, query::Query, xml::Element};

/// Where the values of a filter stand in an instance
/// (<https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeInstances.html>).
const FILTERS: &[(&str, &str)] = &[
    ("architecture", "architecture"),
    ("availability-zone", "placement/availabilityZone"),
    ("client-token", "clientToken"),
    ("dns-name", "dnsName"),
    ("iam-instance-profile.arn", "iamInstanceProfile/arn"),
    ("iam-instance-profile.id", "iamInstanceProfile/id"),
    ("image-id", "imageId"),
    ("instance-id", "instanceId"),
    ("instance-lifecycle", "instanceLifecycle"),
    ("instance-state-code", "instanceState/code"),
    ("instance-state-name", "instanceState/name"),
    ("instance-type", "instanceType"),
    ("ip-address", "ipAddress"),
    ("key-name", "keyName"),
    ("launch-time", "launchTime"),
    ("metadata-options.http-tokens", "metadataOptions/httpTokens"),
    ("private-dns-name", "privateDnsName"),
    ("private-ip-address", "privateIpAddress"),
    ("spot-instance-request-id", "spotInstanceRequestId"),
    ("state-reason-code", "stateReason/code"),
    ("subnet-id", "subnetId"),
    ("tenancy", "placement/tenancy"),
    ("vpc-id", "vpcId"),
];

impl Server {
    pub(super) async fn describe_instances(&self, region: &str, query: &Query) -> Result<Answer, Refusal> {
        let (limit, token) = (query.number("MaxResults"), query.get("NextToken"));
        if limit.is_some() && !query.list("InstanceId").is_empty() {
            return Err(Refusal::new(
                400,
                "InvalidParameterCombination",
                "The parameter instancesSet cannot be used with the parameter maxResults",
            ));
        }
        let skip = match token {
            "" => 0,
            token => token.strip_prefix("page-").and_then(|number| number.parse().ok()).ok_or_else(|| {
                Refusal::new(400, "InvalidParameterValue", "Unable to parse pagination token")
            })?,
        };
        let filters = query.filters();
        if let Some((name, _)) = filters.iter().find(|(name, _)| !is_known(name)) {
            return Err(Refusal::new(
                400,
                "InvalidParameterValue",
                format!("The filter '{name}' is invalid"),
            ));
        }
        let mut found = self.reservations(region, query, &filters).await?;
        let size = limit.unwrap_or(usize::MAX).min(self.world().settings.page).max(1);
        let mut page = Vec::new();
        let mut count = 0;
        let mut next = None;
        for (number, reservation) in found.drain(..).enumerate().skip(skip) {
            count += reservation.items("instancesSet").count();
            // A reservation is never divided; a page has at least one.
            if count > size && !page.is_empty() {
                next = Some(Element::leaf("nextToken", format!("page-{number}")));
                break;
            }
            page.push(reservation);
        }
        let mut answer = vec![Element::with("reservationSet", page)];
        answer.extend(next);
        Ok(xml(&Element::answer("DescribeInstances", answer)))
    }

    /// All reservations with machines that are asked for.
    async fn reservations(
        &self,
        region: &str,
        query: &Query,
        filters: &[(String, Vec<String>)],
    ) -> Result<Vec<Element>, Refusal> {
        let mut ask = Query::new("DescribeInstances", &[]);
        for (number, id) in query.list("InstanceId").iter().enumerate() {
            ask.set(&format!("InstanceId.{}", number + 1), *id);
        }
        let mut found = Vec::new();
        loop {
            let answer = self.moto.ask(region, &ask).await?;
            if let Some(refusal) = super::launch::refusal_of(&answer) {
                return Err(refusal);
            }
            let mut answer = Element::parse(&answer.body)?;
            if let Some(set) = answer.find_mut("reservationSet") {
                found.append(&mut set.children);
            }
            match answer.get("nextToken") {
                "" => break,
                token => ask.set("NextToken", token.to_owned()),
            }
        }
        let world = self.world();
        for reservation in &mut found {
            let id = reservation.get("reservationId").to_owned();
            let Some(instances) = reservation.find_mut("instancesSet") else { continue };
            instances.children.iter_mut().for_each(|instance| world.correct(instance));
            instances.children.retain(|instance| {
                let name = instance.get("instanceId");
                !world.is_invisible(name)
                    && !world.is_forgotten(name)
                    && filters.iter().all(|(name, values)| matches(instance, &id, name, values))
            });
        }
        found.retain(|reservation| reservation.items("instancesSet").next().is_some());
        Ok(found)
    }

    pub(super) async fn describe_status(&self, region: &str, query: &Query) -> Result<Answer, Refusal> {
        let answer = self.moto.ask(region, query).await?;
        if !answer.status.is_success() {
            return Ok(answer);
        }
        let mut answer = Element::parse(&answer.body)?;
        let all = query.get("IncludeAllInstances") == "true";
        let world = self.world();
        if let Some(set) = answer.find_mut("instanceStatusSet") {
            set.children.iter_mut().for_each(|status| world.correct(status));
            set.children.retain(|status| {
                !world.is_invisible(status.get("instanceId"))
                    && (all || status.get("instanceState/name") == "running")
            });
        }
        Ok(xml(&answer))
    }

    pub(super) async fn console(&self, region: &str, query: &Query) -> Result<Answer, Refusal> {
        let instance = query.get("InstanceId");
        if self.world().is_invisible(instance) {
            return Err(Refusal::unknown(instance));
        }
        let mut answer = self.moto.ask(region, query).await?;
        if answer.status.is_success()
            && let Some(text) = self.world().consoles.get(instance)
        {
            let mut said = Element::parse(&answer.body)?;
            said.set("output", STANDARD.encode(text));
            answer = xml(&said);
        }
        Ok(answer)
    }
}

fn is_known(filter: &str) -> bool {
    filter.starts_with("tag:")
        || matches!(filter, "tag-key" | "tag-value" | "reservation-id" | "instance.group-id")
        || FILTERS.iter().any(|(name, _)| *name == filter)
}

fn matches(instance: &Element, reservation: &str, filter: &str, values: &[String]) -> bool {
    let fits = |text: &str| values.iter().any(|form| wild(form.as_bytes(), text.as_bytes()));
    let tags = || instance.items("tagSet");
    match filter {
        "reservation-id" => fits(reservation),
        "tag-key" => tags().any(|tag| fits(tag.get("key"))),
        "tag-value" => tags().any(|tag| fits(tag.get("value"))),
        "instance.group-id" => instance.items("groupSet").any(|group| fits(group.get("groupId"))),
        _ => match filter.strip_prefix("tag:") {
            Some(key) => tags().any(|tag| tag.get("key") == key && fits(tag.get("value"))),
            None => FILTERS
                .iter()
                .find(|(name, _)| *name == filter)
                .is_some_and(|(_, path)| fits(instance.get(path))),
        },
    }
}

/// Whether a text has a form with `*` and `?`.
fn wild(form: &[u8], text: &[u8]) -> bool {
    match (form, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| wild(rest, &text[skipped..])),
        ([b'?', form @ ..], [_, text @ ..]) => wild(form, text),
        ([a, form @ ..], [b, text @ ..]) => a == b && wild(form, text),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn forms_have_stars_and_question_marks() {
        let wild = |form: &str, text: &str| super::wild(form.as_bytes(), text.as_bytes());
        assert!(wild("a*c", "abbc") && wild("a?c", "abc") && wild("*", "") && wild("abc", "abc"));
        assert!(!wild("a*c", "ab") && !wild("a?c", "ac") && !wild("", "a"));
    }
}
