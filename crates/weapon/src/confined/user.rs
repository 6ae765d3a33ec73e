//! The user that the gateway's process becomes.

use std::{fs, io};

use super::message::Identity;

/// Where users stand. Those of a directory service are not for a program that starts before the
/// network.
const USERS: &str = "/etc/passwd";

/// Made by the package for this alone.
const OURS: &str = "weapon";

/// What every system has.
const NOBODY: &str = "nobody";

/// A user, and how it came to be this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: String,
    /// Its numbers.
    pub(super) identity: Identity,
    /// The configuration names it.
    pub is_named: bool,
}

/// Why there is no such user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// It is not there.
    #[error(
        "there is no user `{0}` in /etc/passwd; make one with `useradd --system --shell \
         /usr/sbin/nologin {0}`, or leave `user` out"
    )]
    Missing(String),
    /// It may do everything.
    #[error(
        "`{0}` is root, which a gateway's process must not be; name another user, or leave `user` \
         out"
    )]
    Root(String),
    /// It is not known.
    #[error("cannot read /etc/passwd")]
    Unread(#[from] io::Error),
}

impl User {
    /// The one called `name`; without a name ours, or else `nobody`. None where there is neither.
    ///
    /// # Errors
    /// See [`UserError`], of a named one.
    pub fn find(name: Option<&str>) -> Result<Option<Self>, UserError> {
        let users = fs::read_to_string(USERS);
        let Some(name) = name else {
            let users = users.unwrap_or_default();
            let found = [OURS, NOBODY]
                .into_iter()
                .find_map(|it| user(&users, it, false));
            return Ok(found.filter(|it| it.identity.user != 0));
        };
        let Some(user) = user(&users?, name, true) else {
            return Err(UserError::Missing(name.to_owned()));
        };
        match user.identity.user {
            0 => Err(UserError::Root(name.to_owned())),
            _ => Ok(Some(user)),
        }
    }

    /// It shares its user with programs that have none of their own.
    pub fn is_shared(&self) -> bool {
        self.name == NOBODY
    }
}

/// The user `name` in the text of passwd(5).
fn user(users: &str, name: &str, is_named: bool) -> Option<User> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then_some(())?;
        let _password = fields.next()?;
        Some(User {
            name: name.to_owned(),
            identity: Identity {
                user: fields.next()?.parse().ok()?,
                group: fields.next()?.parse().ok()?,
            },
            is_named,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "root:x:0:0:root:/root:/bin/bash\n\
                        weaponry:x:7:7::/:/bin/false\n\
                        broken:x:many:7::/:/bin/false\n\
                        weapon:x:998:997:a gateway:/nonexistent:/usr/sbin/nologin\n";

    #[test]
    fn a_user_is_found_by_its_whole_name() {
        let found = user(TEXT, "weapon", true).unwrap();
        let identity = Identity {
            user: 998,
            group: 997,
        };
        assert_eq!(found.identity, identity);
        assert_eq!(user(TEXT, "weap", true), None);
        assert_eq!(user(TEXT, "broken", true), None);
    }

    #[test]
    fn root_and_nobody_that_is_there_are_refused() {
        let root = User::find(Some("root")).unwrap_err().to_string();
        assert!(root.contains("is root"), "{root}");
        let missing = User::find(Some("no-such-user")).unwrap_err().to_string();
        assert!(missing.contains("useradd"), "{missing}");
    }
}
