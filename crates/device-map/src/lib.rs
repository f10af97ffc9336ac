//! device-map
