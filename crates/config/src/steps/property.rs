//! Properties of the build (`buildbot/steps/master.py`).

use super::{COMMON, PLAIN, StepType};
use crate::schema::{Fallback, Key, Kind};

pub(super) const SET_PROPERTY: StepType = StepType {
    name: "SetProperty",
    default_name: "SetProperty",
    doc: "Sets a property.",
    flags: PLAIN,
    description: &["Setting"],
    description_done: &["Set"],
    arguments: &[
        COMMON,
        &[
            Key::renderable("property", Kind::Text, "the property").required(),
            Key::renderable("value", Kind::Any, "its value").required(),
        ],
    ],
    check: None,
};

pub(super) const SET_PROPERTIES_FROM_ENV: StepType = StepType {
    name: "SetPropertiesFromEnv",
    default_name: "SetPropertiesFromEnv",
    doc: "Sets properties to variables of the worker's environment, as it was when the worker connected.",
    flags: PLAIN,
    description: &["Setting"],
    description_done: &["Set"],
    arguments: &[
        COMMON,
        &[
            Key::new("variables", Kind::Texts, "names of the variables, and of the properties").required(),
            Key::new("source", Kind::Text, "what is said to have set the properties")
                .default(Fallback::Text("WorkerEnvironment")),
        ],
    ],
    check: None,
};

pub(super) const SET_PROPERTIES: StepType = StepType {
    name: "SetProperties",
    default_name: "SetProperties",
    doc: "Sets several properties.",
    flags: PLAIN,
    description: &["Setting Properties.."],
    description_done: &["Properties Set"],
    arguments: &[COMMON, &[Key::renderable("properties", Kind::Values, "values by name").required()]],
    check: None,
};
