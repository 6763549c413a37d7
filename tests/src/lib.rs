//! End-to-end tests with real workers live in `it/`.
