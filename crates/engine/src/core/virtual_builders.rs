//! Virtual builders: builds that are recorded under a builder that is in no configuration, because their properties say so.
//!
//! As in Buildbot 4.3.0 (`getBuilderId`, `buildbot/process/build.py`): requests, workers, locks and steps are those of the
//! builder of the configuration; the row of the build, its number and its page are the virtual one's.

use config::Builder as Config;
use model::{BuildNumber, BuilderId, Json, Properties, template::to_text};
use storage::Write;

use super::{Core, builders::Builder};

/// What tells people that a builder is virtual.
const TAG: &str = "_virtual_";

/// What is said of a virtual builder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct VirtualBuilder {
    description: Option<String>,
    project: Option<String>,
    tags: Vec<String>,
}

impl VirtualBuilder {
    fn of(properties: &Properties, config: &Config) -> Self {
        let text = |name| properties.get(name).filter(|value| !value.is_null()).map(to_text);
        let mut tags: Vec<String> = match properties.get("virtual_builder_tags") {
            Some(Json::Array(tags)) => tags.iter().map(to_text).collect(),
            _ => config.tags.clone(),
        };
        if tags.iter().all(|tag| tag != TAG) {
            tags.push(TAG.to_owned());
        }
        Self {
            description: text("virtual_builder_description").or_else(|| config.description.clone()),
            project: text("virtual_builder_project").filter(|project| !project.is_empty()),
            tags,
        }
    }
}

impl Core {
    /// The builder that a build of a builder is recorded under, and the number that it has there. `properties` are those of
    /// the build.
    pub(super) fn recorded_under(
        &mut self,
        builder: BuilderId,
        config: &Config,
        properties: &Properties,
    ) -> (BuilderId, BuildNumber) {
        let name =
            properties.get("virtual_builder_name").and_then(Json::as_str).filter(|name| !name.is_empty());
        let id = match name {
            Some(name) => self.virtual_builder(name, VirtualBuilder::of(properties, config)),
            None => builder,
        };
        let last = self.builders.get(&id).map_or(0, |builder| builder.last_number.0);
        (id, BuildNumber(last + 1))
    }

    /// The builder of this name; it is made or, if it is not in the configuration, said anew what is said of it.
    fn virtual_builder(&mut self, name: &str, said: VirtualBuilder) -> BuilderId {
        let id = match self.builder_ids.get(name) {
            Some(id) => *id,
            None => {
                let id = self.ids.next_builder();
                self.builder_ids.insert(name.to_owned(), id);
                id
            }
        };
        let builder = self.builders.entry(id).or_insert_with(|| Builder::new(name, BuildNumber(0)));
        if builder.config.is_none() && builder.virtual_as.as_ref() != Some(&said) {
            builder.virtual_as = Some(said.clone());
            let VirtualBuilder { description, project, tags } = said;
            self.write(Write::VirtualBuilder { id, name: name.to_owned(), description, project, tags });
        }
        id
    }
}
