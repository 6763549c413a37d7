//! What templates of a step can ask for: the build's properties, its source stamps, its worker, its secrets.

use std::cell::RefCell;

use model::{Json, Properties, SourceStamp, template::Context};
use secrecy::ExposeSecret;
use worker_protocol::WorkerInfo;

/// One rendering; it remembers which secrets were used.
pub(crate) struct Rendering<'a> {
    pub(crate) properties: &'a Properties,
    pub(crate) sourcestamps: &'a [SourceStamp],
    pub(crate) worker: &'a WorkerInfo,
    pub(crate) secrets: &'a config::Secrets,
    pub(crate) used: RefCell<Vec<String>>,
}

impl Context for Rendering<'_> {
    fn property(&self, name: &str) -> Option<Json> {
        self.properties.get(name).cloned()
    }

    fn source(&self, codebase: &str, attribute: &str) -> Option<Json> {
        let stamp = self.sourcestamps.iter().find(|stamp| stamp.codebase == codebase)?;
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
        let secret = self.secrets.get(name)?;
        self.used.borrow_mut().push(name.to_owned());
        Some(secret.expose_secret().to_owned())
    }
}
