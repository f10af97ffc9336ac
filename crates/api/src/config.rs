//! What can be set, and why it is what it is.

use std::time::Duration;

use model::ShardSizes;
use model::retention::Periods;

/// The API's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Most bytes of one upload.
    pub upload_bytes_max: u64,
    /// A body of which nothing comes for this long ends the request.
    pub idle: Duration,
    /// How long things are kept. An upload in parts with which nobody goes on is forgotten here, the rest is shown here and deleted
    /// by a resolver.
    pub retention: Periods,
    /// Uploads in parts at once: each may take the disk that the largest upload needs.
    pub uploads_max: usize,
    /// How launches are cut; stored with each.
    pub sizes: ShardSizes,
    /// Host names and addresses under which callers may reach the API, without port.
    pub hosts: Vec<String>,
    /// How often a launch's events are looked for; four a second are promised.
    pub events_every: Duration,
    /// What the installation is: `real` or `simulated`. Shown wherever a launch is.
    pub installation: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            upload_bytes_max: 8 << 30,
            idle: Duration::from_secs(30),
            retention: Periods::default(),
            uploads_max: 100,
            sizes: ShardSizes::default(),
            hosts: ["127.0.0.1", "localhost", "[::1]"].map(str::to_owned).into(),
            events_every: Duration::from_millis(200),
            installation: "real".to_owned(),
        }
    }
}
