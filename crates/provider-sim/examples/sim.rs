//! A simulator from the command line, for measurements: `sim apns '{"latency":{"base":"60ms"}}'`. The JSON is laid
//! over the provider's defaults. It announces itself on a line and ends with standard input.

use provider_sim::Config;
use serde_json::Value;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let provider = arguments.next().ok_or("usage: sim apns|fcm [JSON]")?.parse()?;
    let mut config = serde_json::to_value(Config::of(provider))?;
    config["exit_when_stdin_closes"] = Value::Bool(true);
    if let Some(changes) = arguments.next() {
        lay_over(&mut config, serde_json::from_str(&changes)?);
    }
    provider_sim::run(serde_json::from_value(config)?, &mut std::io::stdout())?;
    Ok(())
}

fn lay_over(below: &mut Value, above: Value) {
    match (below, above) {
        (Value::Object(below), Value::Object(above)) => {
            for (name, value) in above {
                lay_over(below.entry(name).or_insert(Value::Null), value);
            }
        }
        (below, above) => *below = above,
    }
}
