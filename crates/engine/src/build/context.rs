//! What templates and expressions of a step can ask for: the build's properties, its source stamps, its worker, its
//! secrets.

use std::{cell::RefCell, collections::BTreeSet};

use model::{Json, Properties, Results, SourceStamp, template::Context};
use secrecy::ExposeSecret;
use serde_json::{Map, json};
use worker_protocol::WorkerInfo;

use crate::BuildOrder;

/// One rendering; it remembers which secrets were used.
pub(crate) struct Rendering<'a> {
    pub(crate) order: &'a BuildOrder,
    pub(crate) properties: &'a Properties,
    pub(crate) worker: &'a WorkerInfo,
    /// Where users find the build.
    pub(crate) url: &'a str,
    /// The build's so far.
    pub(crate) build_results: Results,
    /// The build's so far, or those of a step that is done.
    pub(crate) results: Results,
    pub(crate) used: RefCell<Vec<String>>,
}

impl Context for Rendering<'_> {
    fn property(&self, name: &str) -> Option<Json> {
        self.properties.get(name).cloned()
    }

    fn source(&self, codebase: &str, attribute: &str) -> Option<Json> {
        let stamp = self.order.sourcestamps.iter().find(|stamp| stamp.codebase == codebase)?;
        stamp.facts().get(attribute).cloned()
    }

    fn worker(&self, name: &str) -> Option<Json> {
        let info = self.worker;
        let text = |text: &Option<String>| text.clone().map(Json::String);
        match name {
            "admin" => text(&info.admin),
            "host" => text(&info.host),
            "access_uri" => text(&info.access_uri),
            "version" => text(&info.version),
            "system" => Some(info.system.as_str().into()),
            "basedir" => text(&info.basedir),
            "numcpus" => info.numcpus.map(Json::from),
            "environ" => serde_json::to_value(&info.environ).ok(),
            "worker_commands" => serde_json::to_value(&info.commands).ok(),
            name => info.os.get(name).or_else(|| info.extra.get(name)).cloned().map(Json::String),
        }
    }

    fn secret(&self, name: &str) -> Option<String> {
        let secret = self.order.builder.secrets.get(name)?;
        self.used.borrow_mut().push(name.to_owned());
        Some(secret.expose_secret().to_owned())
    }

    fn named(&self, name: &str) -> Option<Json> {
        Some(match name {
            "prop" => self.properties.values(),
            "src" => sources(&self.order.sourcestamps),
            "worker" => self.worker_as_a_whole(),
            "build" => self.build_as_a_whole(),
            "results" => self.results.code().into(),
            _ => return None,
        })
    }
}

impl Rendering<'_> {
    fn worker_as_a_whole(&self) -> Json {
        const NAMES: [&str; 9] = [
            "admin",
            "host",
            "access_uri",
            "version",
            "system",
            "basedir",
            "numcpus",
            "environ",
            "worker_commands",
        ];
        let info = self.worker;
        let others = info.extra.iter().chain(&info.os);
        let mut worker: Map<String, Json> =
            others.map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        for name in NAMES {
            worker.insert(name.to_owned(), self.worker(name).unwrap_or_default());
        }
        worker.insert("name".to_owned(), self.order.worker.name.as_str().into());
        Json::Object(worker)
    }

    fn build_as_a_whole(&self) -> Json {
        let order = self.order;
        let files: BTreeSet<&String> = order.changes.iter().flat_map(|change| &change.files).collect();
        json!({
            "id": order.build.0,
            "number": order.number.0,
            "builder": order.builder.name,
            "reason": order.reason,
            "owners": order.owners,
            "files": files,
            "results": self.build_results.code(),
            "url": self.url,
        })
    }
}

/// Source stamps by codebase. Of a single one, the attributes are there without its codebase too.
pub(crate) fn sources(stamps: &[SourceStamp]) -> Json {
    let mut sources = Map::new();
    if let [only] = stamps
        && let Json::Object(attributes) = only.facts()
    {
        sources = attributes;
    }
    for stamp in stamps {
        sources.insert(stamp.codebase.clone(), stamp.facts());
    }
    Json::Object(sources)
}
