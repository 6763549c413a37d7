//! HTTP from the master (`buildbot/steps/http.py`).

use super::{COMMON, PLAIN, StepType, special};
use crate::schema::{Fallback, Key, Kind};

const URL: Key = Key::renderable("url", Kind::Text, "what is asked").required();

const REQUEST: &[Key] = &[
    Key::renderable("params", Kind::Values, "what is added to the query of the URL"),
    Key::renderable("data", Kind::Special(&special::FORM), "the body: text, or a form"),
    Key::renderable("json", Kind::Any, "the body: a value, sent as JSON"),
    Key::renderable("headers", Kind::Values, "headers of the request"),
    Key::renderable("cookies", Kind::Values, "cookies"),
    Key::renderable("auth", Kind::Texts, "user and password, for basic authentication"),
    Key::renderable("timeout", Kind::Seconds, "give up when nothing comes for so long")
        .default(Fallback::Of("never")),
    Key::renderable("allow_redirects", Kind::Bool, "go where an answer sends it, up to 30 times")
        .default(Fallback::Of("`true`")),
    Key::renderable("proxies", Kind::Dict, "URLs of proxies for `http` and `https`"),
    Key::renderable(
        "verify",
        Kind::Special(&special::VERIFY),
        "whether the server has to prove who it is, or a file with the certificates that it may have",
    )
    .default(Fallback::Of("`true`")),
    Key::renderable("cert", Kind::Texts, "a file with the client's certificate and key, or two files"),
    Key::new("hide_request_headers", Kind::Texts, "headers whose values are not shown"),
    Key::new("hide_response_headers", Kind::Texts, "headers whose values are not shown"),
];

const HTTP: StepType = StepType {
    name: "HTTPStep",
    default_name: "HTTPStep",
    doc: "Sends an HTTP request from the master. An answer from 400 on is FAILURE.",
    flags: PLAIN,
    description: &["Requesting"],
    description_done: &["Requested"],
    arguments: &[
        COMMON,
        &[
            URL,
            Key::renderable(
                "method",
                Kind::Choice(&["POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS"]),
                "the method of the request",
            )
            .required(),
        ],
        REQUEST,
    ],
    check: None,
};

/// A type whose method is its name.
const fn of(name: &'static str) -> StepType {
    StepType {
        name,
        doc: "Sends such a request from the master, as `HTTPStep`.",
        arguments: &[COMMON, &[URL], REQUEST],
        ..HTTP
    }
}

pub(super) const HTTP_STEP: StepType = HTTP;
pub(super) const GET: StepType = of("GET");
pub(super) const POST: StepType = of("POST");
pub(super) const PUT: StepType = of("PUT");
pub(super) const DELETE: StepType = of("DELETE");
pub(super) const HEAD: StepType = of("HEAD");
pub(super) const OPTIONS: StepType = of("OPTIONS");

/// What the log and the reference call the arguments of requests.
pub(crate) const SHARED: &[Key] = REQUEST;
