//! The public face, as a program sees it.
