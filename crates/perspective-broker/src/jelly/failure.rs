//! Exceptions (`twisted.spread.pb.CopyableFailure`).

use super::Value;
use std::fmt;

/// The class under which a failure travels.
pub(super) const CLASS: &str = "twisted.spread.pb.CopyableFailure";

/// An exception of the peer's, or one for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The dotted name of the exception's class.
    pub kind: String,
    /// The exception as text.
    pub value: String,
    /// The dotted names of the class and all its bases, the most derived first. A Twisted peer decides by these.
    pub parents: Vec<String>,
    /// The traceback as text, or a remark that there is none.
    pub traceback: String,
}

impl Failure {
    /// A failure of a class that derives from `builtins.Exception`.
    pub fn new(kind: impl Into<String>, value: impl Into<String>) -> Self {
        let kind = kind.into();
        let mut parents = vec![kind.clone()];
        for base in ["builtins.Exception", "builtins.BaseException", "builtins.object"] {
            if kind != base {
                parents.push(base.to_owned());
            }
        }
        Self { kind, value: value.into(), parents, traceback: "Traceback unavailable\n".to_owned() }
    }

    /// The same failure, whose class derives from `bases` too, the most derived first.
    pub fn with_bases(mut self, bases: &[&str]) -> Self {
        let bases = bases.iter().map(|base| (*base).to_owned());
        self.parents.splice(1..1, bases);
        self
    }

    /// `twisted.cred.error.UnauthorizedLogin`: name and password do not fit.
    pub fn unauthorized_login() -> Self {
        Self::new("twisted.cred.error.UnauthorizedLogin", "")
            .with_bases(&["twisted.cred.error.LoginFailed", "twisted.cred.error.Unauthorized"])
    }

    /// `twisted.spread.flavors.NoSuchMethod`: the object has no method of that name.
    pub fn no_such_method(method: &str) -> Self {
        Self::new("twisted.spread.flavors.NoSuchMethod", format!("No such method: remote_{method}"))
            .with_bases(&["builtins.AttributeError"])
    }

    /// `twisted.spread.pb.Error` as Twisted words it: there is no such object (any more).
    pub fn invalid_object() -> Self {
        Self::new("twisted.spread.pb.Error", "Invalid Object ID")
    }

    /// `twisted.spread.jelly.InsecureJelly`: a value that is not accepted.
    pub fn insecure_jelly(value: impl Into<String>) -> Self {
        Self::new("twisted.spread.jelly.InsecureJelly", value)
    }

    /// Whether the exception is of the class with this dotted name, or of one derived from it.
    pub fn is(&self, dotted: &str) -> bool {
        self.kind == dotted || self.parents.iter().any(|parent| parent == dotted)
    }

    /// Reads the state that `CopyableFailure.getStateToCopy` made. Every key may be missing, and may be bytes or text.
    pub(super) fn from_state(state: &Value) -> Self {
        let text = |key| state.get(key).and_then(Value::as_text_lossy).map(|text| text.into_owned());
        let kind = text("type").unwrap_or_default();
        let parents = ["parents", "_parents"].iter().find_map(|key| state.get(key)?.as_list());
        let mut parents: Vec<String> = parents
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_text_lossy)
            .map(|parent| parent.into_owned())
            .collect();
        if parents.is_empty() && !kind.is_empty() {
            parents.push(kind.clone());
        }
        Self {
            kind,
            value: text("value").unwrap_or_default(),
            parents,
            traceback: text("traceback").unwrap_or_default(),
        }
    }

    /// Bytes that [`from_state`](Self::from_state) copies at most.
    pub(super) fn text_in(state: &Value) -> usize {
        let len = |value: &Value| value.as_bytes().map_or(0, <[u8]>::len);
        let texts = ["type", "value", "traceback"].iter().filter_map(|key| state.get(key)).map(len);
        let parents = ["parents", "_parents"].iter().filter_map(|key| state.get(key)?.as_list());
        // The list of texts takes room too, however short they are.
        let parents = parents.flatten().map(|parent| len(parent).saturating_add(size_of::<String>()));
        texts.chain(parents).fold(0, usize::saturating_add)
    }

    /// Makes a failure of whatever a peer sent in an `error`.
    ///
    /// It is not always a `CopyableFailure`: an exception that is itself copyable travels as its own class
    /// (`twisted.spread.pb.Broker._sendError`).
    pub(crate) fn from_value(value: &Value) -> Self {
        match value.resolved() {
            Value::Failure(failure) => (**failure).clone(),
            Value::Copy(copy) => {
                let kind = copy.class.to_string();
                let first = copy.state.get("args").and_then(Value::as_list).and_then(<[Value]>::first);
                let value = first.and_then(Value::as_text_lossy).unwrap_or_default().into_owned();
                Self { parents: vec![kind.clone()], kind, value, traceback: String::new() }
            }
            other => Self {
                kind: "twisted.spread.pb.RemoteError".to_owned(),
                value: other.as_text_lossy().unwrap_or_default().into_owned(),
                parents: vec!["twisted.spread.pb.RemoteError".to_owned()],
                traceback: String::new(),
            },
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value.is_empty() {
            return f.write_str(&self.kind);
        }
        write!(f, "{}: {}", self.kind, self.value)
    }
}

impl std::error::Error for Failure {}
