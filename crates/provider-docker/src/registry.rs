//! Where images come from, and how the master proves there who it is. The engine asks the registry; it is told how with
//! each pull, and keeps nothing of it.

use bollard::{BollardRequest, auth::DockerCredentials, errors::Error};
use model::docker::{Registry, Template};
use pools::ProviderError;
use secrecy::ExposeSecret as _;

use crate::engine::explain;

/// Where an image comes from whose name says nothing of it.
const HUB: &str = "docker.io";

/// The code of an error that is a registry's refusal.
pub(crate) const REFUSED: &str = "Refused";

/// The header that the engine is told credentials in.
const HEADER: &str = "x-registry-auth";

/// The registry that an image is of, as the engine reads its name: the first part, if that can be a host.
fn address(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        _ => HUB,
    }
}

/// Whose credentials go with a pull of an image. Those of the pool's image are not for another registry, which an image may
/// be of that was there before.
pub(crate) fn of<'a>(template: &'a Template, image: &str) -> Option<&'a Registry> {
    template.registry.as_ref().filter(|_| address(image) == address(&template.image))
}

/// As the engine takes them.
pub(crate) fn credentials(registry: &Registry, image: &str) -> DockerCredentials {
    DockerCredentials {
        username: Some(registry.user.clone()),
        password: Some(registry.password.expose_secret().to_owned()),
        serveraddress: Some(address(image).to_owned()),
        ..DockerCredentials::default()
    }
}

/// The engine reads credentials in the alphabet of base64 that is for URLs, and takes what it cannot read for none. bollard
/// writes them in the other one.
pub(crate) fn url_safe(mut request: BollardRequest) -> BollardRequest {
    if let Some(header) = request.headers_mut().get_mut(HEADER) {
        let text = header.to_str().map(|text| text.replace('+', "-").replace('/', "_"));
        if let Some(Ok(safe)) = text.ok().map(|text| text.parse()) {
            *header = safe;
        }
        header.set_sensitive(true);
    }
    request
}

/// What is wrong with a pull, and the keys that are to be looked at if the registry refused it.
pub(crate) fn explain_pull(error: Error, image: &str, registry: Option<&Registry>) -> ProviderError {
    let ProviderError { kind, code, mut text } = explain(error);
    if let Some(registry) = registry {
        // A registry may say anything, also what it was told.
        text = text.replace(registry.password.expose_secret(), "…");
    }
    if !is_refusal(&text) {
        return ProviderError { kind, code, text };
    }
    let look = match registry {
        Some(_) => "are `registry-user` and `registry-password` right, and may that user pull it?",
        None => "no `registry-user` and `registry-password` say who asks.",
    };
    let text = format!("the registry {} refused {image:?}: {look} It said: {text}", address(image));
    ProviderError::config(REFUSED, text)
}

/// Whether a registry refused something. The engine hands on its words, with various codes.
fn is_refusal(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    says(&["unauthorized", "authentication required", "basic auth", "403 forbidden"])
        || text.contains("denied") && !text.contains("permission denied")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_of_the_registry_that_its_name_begins_with() {
        for (image, expected) in [
            ("busybox", "docker.io"),
            ("busybox:1.36", "docker.io"),
            ("library/busybox", "docker.io"),
            ("somebody/worker@sha256:00", "docker.io"),
            ("docker.io/library/busybox", "docker.io"),
            ("registry.example.org/worker:3", "registry.example.org"),
            ("registry.example.org:5000/team/worker", "registry.example.org:5000"),
            ("farm:5000/worker", "farm:5000"),
            ("localhost/worker", "localhost"),
            ("[fd00::1]:5000/worker", "[fd00::1]:5000"),
        ] {
            assert_eq!(address(image), expected, "{image}");
        }
    }

    #[test]
    fn credentials_are_for_the_registry_of_the_pools_image() {
        let registry = Registry { user: "farm".to_owned(), password: "sekrit".into() };
        let image = "registry.example.org/worker:3";
        let template = Template { registry: Some(registry), ..Template::new("unix:///x", image) };
        assert!(of(&template, "registry.example.org/worker:2").is_some());
        assert!(of(&template, "worker:2").is_none());
        assert!(!format!("{template:?}").contains("sekrit"));
    }

    #[test]
    fn what_a_registry_says_is_told_without_the_password() {
        let said = |error: &str| Error::DockerStreamError { error: error.to_owned() };
        let registry = Registry { user: "farm".to_owned(), password: "sekrit".into() };
        let error = explain_pull(said("unauthorized: not by sekrit"), "a.b/c", Some(&registry));
        assert!(
            error.text.starts_with("the registry a.b refused \"a.b/c\": are `registry-user` and"),
            "{error}"
        );
        assert!(!error.text.contains("sekrit"), "{error}");
        let error = explain_pull(said("open /var/lib: permission denied"), "a.b/c", Some(&registry));
        assert_eq!(error.text, "open /var/lib: permission denied");
    }
}
