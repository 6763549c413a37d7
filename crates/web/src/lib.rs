//! What Ganger says over HTTP.
