//! `--kill worker@0.5s`: which role dies when.

use std::str::FromStr;
use std::time::Duration;

use crate::roles::RoleName;

/// A role, and how long after the press it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) role: RoleName,
    pub(crate) after: Duration,
}

impl FromStr for Kill {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let form = || format!("{text:?} is not ROLE@TIME, for example worker@0.5s");
        let (role, after) = text.split_once('@').ok_or_else(form)?;
        let role = RoleName::ALL.into_iter().find(|one| one.name() == role).ok_or_else(|| {
            let names: Vec<_> = RoleName::ALL.iter().map(|role| role.name()).collect();
            format!("{role:?} is no role: {}", names.join(", "))
        })?;
        Ok(Self { role, after: crate::sim::duration(after)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_names_role_and_time() {
        let kill = Kill { role: RoleName::Worker, after: Duration::from_millis(500) };
        assert_eq!("worker@0.5s".parse(), Ok(kill));
        assert!("worker".parse::<Kill>().unwrap_err().contains("ROLE@TIME"));
        assert!("queen@1s".parse::<Kill>().unwrap_err().contains("dispatcher"));
    }
}
