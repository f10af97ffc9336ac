//! burst-h2
