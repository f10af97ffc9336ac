//! The validating mode, as clients meet it that do one thing wrong.

mod apns;
mod ask;
mod connections;
mod fcm;
