//! Where sources of changes hand over what they have found.

use change_sources::Desk;
use engine::Master;
use futures_util::future::BoxFuture;
use model::{Change, Json};
use storage::{Store, Write};

/// The master, and the tables that keep what sources remember.
pub(crate) struct ChangeDesk {
    pub(crate) master: Master,
    pub(crate) store: Store,
}

impl Desk for ChangeDesk {
    fn add_change(&self, change: Change) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(
            async move { self.master.add_change(change).await.map(drop).map_err(|error| error.to_string()) },
        )
    }

    fn kept(
        &self,
        object: String,
        class: &'static str,
        key: &'static str,
    ) -> BoxFuture<'_, Result<Option<Json>, String>> {
        Box::pin(async move {
            self.store.object_state(object, class, key).await.map_err(|error| error.to_string())
        })
    }

    fn keep(
        &self,
        object: String,
        class: &'static str,
        key: &'static str,
        value: Json,
    ) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            let (class, key) = (class.to_owned(), key.to_owned());
            let write = Write::ObjectState { object, class, key, value };
            self.store.commit(vec![write]).await.map(drop).map_err(|error| error.to_string())
        })
    }
}
