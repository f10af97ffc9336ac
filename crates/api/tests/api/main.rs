//! The API over a backend in memory, called as its users call it: through the router, without a socket.

mod campaigns;
mod go;
mod launches;
mod service;
mod uploads;
