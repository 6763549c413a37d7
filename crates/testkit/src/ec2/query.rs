//! A call in EC2's query protocol: parameters in a form, lists by numbered names.

use std::collections::BTreeMap;

use hyper::HeaderMap;

/// The parameters of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(pub BTreeMap<String, String>);

impl Query {
    /// A call with these parameters.
    pub fn new(action: &str, parameters: &[(&str, &str)]) -> Self {
        let mut query = Self::default();
        query.set("Action", action);
        query.set("Version", "2016-11-15");
        for (name, value) in parameters {
            query.set(name, *value);
        }
        query
    }

    pub(super) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    pub(super) fn to_body(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// A parameter; empty where it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.0.insert(name.to_owned(), value.into());
    }

    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.get(name).parse().ok()
    }

    /// The values of a list: `InstanceId.1`, `InstanceId.2`.
    pub(super) fn list(&self, name: &str) -> Vec<&str> {
        self.numbers(name).iter().map(|number| self.get(&format!("{name}.{number}"))).collect()
    }

    /// The numbers of a list's members, in order.
    pub(super) fn numbers(&self, name: &str) -> Vec<usize> {
        let mut numbers: Vec<usize> = self
            .0
            .keys()
            .filter_map(|key| key.strip_prefix(name)?.strip_prefix('.')?.split('.').next()?.parse().ok())
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Everything below a prefix, without it.
    pub(super) fn below(&self, prefix: &str) -> Self {
        let inside = |(key, value): (&String, &String)| {
            Some((key.strip_prefix(prefix)?.strip_prefix('.')?.to_owned(), value.clone()))
        };
        Self(self.0.iter().filter_map(inside).collect())
    }

    /// The filters: name and values.
    pub(super) fn filters(&self) -> Vec<(String, Vec<String>)> {
        let filter = |number: &usize| {
            let filter = self.below(&format!("Filter.{number}"));
            let values = filter.list("Value").into_iter().map(str::to_owned).collect();
            (filter.get("Name").to_owned(), values)
        };
        self.numbers("Filter").iter().map(filter).collect()
    }
}

/// Region and service that a call was signed for (AWS Signature Version 4, the credential's scope).
pub(super) fn scope(headers: &HeaderMap) -> Option<(String, String)> {
    let text = headers.get("authorization")?.to_str().ok()?;
    let credential = text.split("Credential=").nth(1)?.split([',', ' ']).next()?;
    let mut parts = credential.rsplit('/');
    let (_request, service, region) = (parts.next()?, parts.next()?, parts.next()?);
    Some((region.to_owned(), service.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::Query;

    #[test]
    fn lists_and_filters_are_numbered() {
        let query = Query::parse(
            b"Action=X&InstanceId.2=b&InstanceId.1=a&Filter.1.Name=tag%3Ak&Filter.1.Value.1=v&Filter.1.Value.2=w",
        );
        assert_eq!(query.list("InstanceId"), ["a", "b"]);
        assert_eq!(query.filters(), [("tag:k".to_owned(), vec!["v".to_owned(), "w".to_owned()])]);
        assert_eq!(query.below("Filter.1").list("Value"), ["v", "w"]);
    }
}
