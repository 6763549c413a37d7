//! The task that owns the core.
