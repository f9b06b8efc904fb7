//! Default actor: the operator's login name.

use std::env;

use chartlock::Actor;

use super::failure::Failure;

/// Prefix of a name that the operating system supplied, and no login of the app checked.
const PREFIX: &str = "os-login:";

/// Returns the actor for an operator who passed no `--actor`.
pub(crate) fn login_actor() -> Result<Actor, Failure> {
    let name = owner_of_process().or_else(|| {
        let names = ["LOGNAME", "USER", "USERNAME"];
        names.into_iter().find_map(|name| env::var(name).ok())
    });
    let name = name.filter(|name| !name.is_empty());
    let actor = Actor::new(&format!("{PREFIX}{}", name.as_deref().unwrap_or("unknown")));
    actor.map_err(|_| {
        Failure::usage(
            "the login name cannot be an actor of the journal",
            "pass a name of 1 to 255 bytes with --actor",
        )
    })
}

/// Returns the name of the user that runs this process. Prefers the system to the environment, which the user
/// can set.
#[cfg(unix)]
fn owner_of_process() -> Option<String> {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    let uid = fs::metadata("/proc/self").ok()?.uid();
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    Some(name.unwrap_or_else(|| format!("uid-{uid}")))
}

#[cfg(not(unix))]
fn owner_of_process() -> Option<String> {
    None
}
