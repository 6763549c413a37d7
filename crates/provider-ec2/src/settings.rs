//! What a pool's machines are made from here.

use std::{fs, io, path::PathBuf, sync::Arc};

use model::ec2::Template;
use pools::metadata;

use crate::user_data;

/// What the machines of a pool are made from, and whose they are.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The pool.
    pub pool: String,
    /// Names this installation; machines of others are never touched.
    pub deployment: String,
    /// What machines are made from.
    pub template: Arc<Template>,
    /// Where workers find the master, `HOST:PORT`.
    pub master: String,
    /// Where machines enroll, `HOST:PORT`.
    pub enroll: String,
    /// The SHA-256 digest of the certificate that is shown there, in hexadecimal digits.
    pub fingerprint: String,
}

/// Why machines cannot be made like this.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SettingsError {
    /// A value cannot be.
    #[error("`{field}` is {problem}")]
    Value {
        /// The key that has it.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The text for user data cannot be read.
    #[error("cannot read {path}")]
    UserData {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

impl Settings {
    /// All that can be said against these settings without asking EC2. Blocks for a moment.
    pub fn problems(&self) -> Vec<SettingsError> {
        let mut problems = Vec::new();
        for (field, address) in [("master", &self.master), ("enroll-address", &self.enroll)] {
            let master = metadata::Master { address: address.clone() };
            if master.host_and_port().is_none() {
                let problem = format!("{address:?}; machines need HOST:PORT");
                problems.push(SettingsError::Value { field, problem });
            }
        }
        problems.extend(self.text().err());
        problems
    }

    /// The text that becomes user data, where one is configured.
    pub(crate) fn text(&self) -> Result<Option<String>, SettingsError> {
        let Some(path) = &self.template.user_data else { return Ok(None) };
        let failed = |error| SettingsError::UserData { path: path.clone(), error };
        let length = fs::metadata(path).map_err(failed)?.len();
        let wrong = |problem: String| SettingsError::Value { field: "user-data-file", problem };
        if length > user_data::LIMIT as u64 {
            return Err(wrong(format!("{length} bytes long; EC2 takes {}", user_data::LIMIT)));
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        if !text.contains(user_data::PLACE) {
            return Err(wrong(format!("without {}, so no machine would learn who it is", user_data::PLACE)));
        }
        Ok(Some(text))
    }
}
