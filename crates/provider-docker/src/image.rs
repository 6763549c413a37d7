//! The image that containers are made from.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bollard::{Docker, models::ImageInspect, query_parameters::CreateImageOptions};
use futures_util::{
    FutureExt as _, StreamExt as _,
    future::{BoxFuture, Shared},
};
use model::docker::{Pull, Registry, Template};
use pools::{ProviderError, provider::ErrorKind};

use crate::{
    engine::{explain, status},
    registry,
};

/// A pull, for all who wait for it.
type Pulling = Shared<BoxFuture<'static, Result<(), ProviderError>>>;

/// Images that are being pulled, by name. A pull goes on when nobody waits for it any more: it may take longer than a call.
#[derive(Clone, Default)]
pub(crate) struct Images(Arc<Mutex<HashMap<String, Pulling>>>);

impl std::fmt::Debug for Images {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Images").finish_non_exhaustive()
    }
}

impl Images {
    /// Sees to it that the engine has an image.
    pub(crate) async fn get(
        &self,
        engine: &Docker,
        name: &str,
        template: &Template,
    ) -> Result<ImageInspect, ProviderError> {
        let pull = template.pull;
        if pull != Pull::Always {
            match engine.inspect_image(name).await {
                Ok(image) => return Ok(image),
                Err(error) if status(&error) == Some(404) => match pull {
                    Pull::Never => return Err(missing(name)),
                    Pull::Missing | Pull::Always => {}
                },
                Err(error) => return Err(explain(error)),
            }
        }
        self.pull(engine, name, registry::of(template, name)).await?;
        engine.inspect_image(name).await.map_err(explain)
    }

    async fn pull(
        &self,
        engine: &Docker,
        name: &str,
        registry: Option<&Registry>,
    ) -> Result<(), ProviderError> {
        let pulling = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let begin = || {
                let (engine, name, images) = (engine.clone(), name.to_owned(), self.clone());
                let registry = registry.cloned();
                let task = tokio::spawn(async move {
                    let result = pull(&engine, &name, registry.as_ref()).await;
                    images.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
                    result
                });
                task.map(|ended| ended.unwrap_or_else(|_| Err(ended_early()))).boxed().shared()
            };
            all.entry(name.to_owned()).or_insert_with(begin).clone()
        };
        pulling.await
    }
}

async fn pull(engine: &Docker, name: &str, registry: Option<&Registry>) -> Result<(), ProviderError> {
    // Without a tag the engine would pull all of them.
    let last = name.rsplit('/').next().unwrap_or_default();
    let options = CreateImageOptions {
        from_image: Some(name.to_owned()),
        tag: (!last.contains([':', '@'])).then(|| "latest".to_owned()),
        ..CreateImageOptions::default()
    };
    let credentials = registry.map(|registry| registry::credentials(registry, name));
    let mut steps = std::pin::pin!(engine.create_image(Some(options), None, credentials));
    while let Some(step) = steps.next().await {
        step.map_err(|error| registry::explain_pull(error, name, registry))?;
    }
    Ok(())
}

fn missing(name: &str) -> ProviderError {
    let text = format!("the engine has no image {name:?}, and `autopull` is not set");
    ProviderError::config("NoImage", text)
}

fn ended_early() -> ProviderError {
    ProviderError {
        kind: ErrorKind::Transport,
        code: "Pull".to_owned(),
        text: "the pull of the image ended before it was done".to_owned(),
    }
}
