//! Containers that occur more than once in one expression.
//!
//! A few hundred bytes of back references can describe a tree with more leaves than there are atoms, so they are
//! never expanded: every occurrence is a pointer to one node. Chains of such nodes can be longer than the nesting of the
//! expression; therefore they are dropped by a loop.

use super::Value;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

#[derive(Default)]
struct Node(OnceLock<Value>);

/// A container that occurs more than once; clones are the same container.
///
/// Build one with [`Shared::new`] and put clones of it into a value to have it sent once, as Twisted does for an object
/// that occurs twice.
#[derive(Clone)]
pub struct Shared(Option<Arc<Node>>);

/// An occurrence of a container inside itself, or before its contents; does not keep it alive.
#[derive(Clone)]
pub struct Backref(Weak<Node>);

static EMPTY: Value = Value::None;

impl Shared {
    /// A container to be put into several places of one value.
    pub fn new(value: Value) -> Self {
        let shared = Self::open();
        shared.close(value);
        shared
    }

    /// The contents.
    pub fn value(&self) -> &Value {
        self.0.as_ref().and_then(|node| node.0.get()).unwrap_or(&EMPTY)
    }

    /// A container whose contents are not known yet.
    pub(super) fn open() -> Self {
        Self(Some(Arc::default()))
    }

    /// Gives the contents; only the first time counts.
    pub(super) fn close(&self, value: Value) {
        if let Some(node) = &self.0 {
            node.0.get_or_init(|| value);
        }
    }

    pub(super) fn backref(&self) -> Backref {
        Backref(self.0.as_ref().map(Arc::downgrade).unwrap_or_default())
    }

    /// What tells one container from another while both live.
    pub(super) fn address(&self) -> usize {
        self.0.as_ref().map_or(0, |node| Arc::as_ptr(node).addr())
    }
}

impl Backref {
    /// The container, if it still exists.
    pub fn upgrade(&self) -> Option<Shared> {
        self.0.upgrade().map(|node| Shared(Some(node)))
    }
}

impl From<Shared> for Value {
    fn from(shared: Shared) -> Self {
        Self::Shared(shared)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut pending = Vec::new();
        self.take_last(&mut pending);
        while let Some(value) = pending.pop() {
            match value {
                Value::List(items) | Value::Tuple(items) | Value::Set(items) | Value::FrozenSet(items) => {
                    pending.extend(items)
                }
                Value::Dict(pairs) => pending.extend(pairs.into_iter().flat_map(|(key, value)| [key, value])),
                Value::Copy(copy) => pending.push(copy.state),
                Value::Shared(mut shared) => shared.take_last(&mut pending),
                _ => {}
            }
        }
    }
}

impl Shared {
    /// Lets go of the node; the contents are put on the pile if this was the last holder.
    fn take_last(&mut self, pending: &mut Vec<Value>) {
        let contents = self.0.take().and_then(Arc::into_inner).and_then(|node| node.0.into_inner());
        pending.extend(contents);
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl PartialEq for Backref {
    fn eq(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }
}

impl fmt::Debug for Shared {
    /// Does not show the contents: they could be without end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shared({:#x})", self.address())
    }
}

impl fmt::Debug for Backref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backref({:#x})", self.0.as_ptr().addr())
    }
}
