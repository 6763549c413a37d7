//! Connections of workers: listeners, logins, and one task for each connection.
