//! The user that the worker and its builds run as.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    process::{Command, Stdio},
};

/// A user of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Why nobody is it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    #[error("cannot read /etc/passwd")]
    Unreadable(#[source] io::Error),
    #[error("this machine has no user {0:?}: make one in its image, or name another with --user")]
    Missing(String),
    #[error("builds would run as root: name another user with --user")]
    Root,
}

impl User {
    /// Looks a name up. This program is linked statically, so only the file is looked at.
    pub(crate) fn named(name: &str) -> Result<Self, UserError> {
        let text = fs::read_to_string("/etc/passwd").map_err(UserError::Unreadable)?;
        let user = find(&text, name).ok_or_else(|| UserError::Missing(name.to_owned()))?;
        if user.uid == 0 { Err(UserError::Root) } else { Ok(user) }
    }

    /// This program, run as the user for one of its parts: where builds can write, root must not.
    pub(crate) fn runs_this(self) -> io::Result<Command> {
        let mut command = Command::new(std::env::current_exe()?);
        command.current_dir("/").env_clear().uid(self.uid).gid(self.gid);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(command)
    }
}

fn find(passwd: &str, name: &str) -> Option<User> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        let (_, uid, gid) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(User { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_their_whole_name() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\nbuild:x:1:2::/:\nbuildbot:x:998:997::/var/lib:/bin/sh\n";
        assert_eq!(find(passwd, "buildbot"), Some(User { uid: 998, gid: 997 }));
        assert_eq!(find(passwd, "bot"), None);
    }
}
