//! Passwords and secrets: from files, from the environment, and from the configuration itself.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

use secrecy::SecretString;

use crate::{
    diagnostic::Span,
    model::Secrets,
    schema::{Key, Kind},
    table::{Keys, Table},
    value::{Reading, Value},
};

/// The largest secret that is read.
const MAX_SECRET: u64 = 1 << 20;

/// Whether everybody on this machine can read it.
pub(super) fn is_readable_by_others(file: &File) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o004 != 0)
}

/// The password that is given by `KEY`, `KEY-file` or `KEY-env`; reports more than one, and one that cannot be had.
/// `None` where none is given or it was reported; `given` says which.
pub(super) fn password(table: &Table<'_>, keys: [&'static str; 3]) -> (Option<SecretString>, bool) {
    let reading = table.reading();
    let given: Vec<_> = keys.iter().filter_map(|key| Some((*key, table.value(key)?))).collect();
    let Some(((key, value), others)) = given.split_first() else { return (None, false) };
    for (other, value) in others {
        value.error(format!("`{other}` does not go together with `{key}`")).related(
            given.first().map_or(0..0, |(_, first)| first.span()),
            "the password is given here already",
        );
    }
    let Some((text, span)) = table.plain_text(key) else { return (None, true) };
    let password = if *key == keys[1] {
        from_file(reading, &reading.base_dir.join(text), span)
    } else if *key == keys[2] {
        match std::env::var(text) {
            Ok(password) => Some(password),
            Err(_) => {
                value.error(format!("the environment has no variable {text:?} with text in it"));
                None
            }
        }
    } else {
        if reading.readable_by_others {
            reading
                .sink
                .warning(span, "everybody on this machine can read this password")
                .help(format!("`chmod o-r` the file, or use `{}` or `{}`", keys[1], keys[2]));
        }
        Some(text.to_owned())
    };
    match password {
        Some(password) if password.is_empty() => {
            value.error("the password is empty");
            (None, true)
        }
        password => (password.map(SecretString::from), true),
    }
}

/// Where a secret is, for one that has an entry.
pub(super) const SOURCE: Keys = Keys {
    what: "a secret",
    groups: &[&[
        Key::new("file", Kind::Text, "a file with the secret"),
        Key::new("env", Kind::Text, "an environment variable of the master with the secret"),
    ]],
    hints: &[],
};

/// The entries of `[secrets]` by name. Reports those that are not one place.
pub(super) fn sources<'a>(table: Option<Value<'a>>) -> BTreeMap<&'a str, Table<'a>> {
    let Some(table) = table else { return BTreeMap::new() };
    let Some(entries) = table.entries() else {
        table.unexpected("a table");
        return BTreeMap::new();
    };
    let mut sources = BTreeMap::new();
    for (name, _, value) in entries {
        let Some(source) = Table::of(value, SOURCE) else { continue };
        match (source.value("file"), source.value("env")) {
            (None, None) => source.missing("`file` or `env`", "one of them says where it is"),
            (Some(_), Some(env)) => drop(env.error("`env` does not go together with `file`")),
            _ => drop(sources.insert(name, source)),
        }
    }
    sources
}

/// A secret from its entry.
fn from_source(source: &Table<'_>) -> Option<String> {
    let reading = source.reading();
    if let Some((file, span)) = source.text("file") {
        return from_file(reading, &reading.base_dir.join(file), span);
    }
    let (variable, span) = source.text("env")?;
    let secret = std::env::var(variable).ok().filter(|secret| !secret.is_empty());
    if secret.is_none() {
        reading.sink.error(span, format!("the environment has no variable {variable:?} with text in it"));
    }
    secret
}

/// All secrets that were named while reading: each from its entry, or its file in `directory`.
pub(super) fn read_all(
    reading: &Reading<'_>,
    directory: Option<&Path>,
    sources: &BTreeMap<&str, Table<'_>>,
) -> Secrets {
    let mut secrets = BTreeMap::new();
    for (name, span) in reading.secrets.borrow().iter() {
        if let Some(source) = sources.get(name.as_str()) {
            if let Some(secret) = from_source(source) {
                secrets.insert(name.clone(), SecretString::from(secret));
            }
            continue;
        }
        let Some(directory) = directory else {
            reading
                .sink
                .error(span.clone(), format!("there is no secret {name:?}: nothing says where secrets are"))
                .help("give it an entry in `[secrets]`, or set `secrets-directory` in `[master]`: it holds one file for each");
            continue;
        };
        // A secret is a file of that directory, not one that a name leads to.
        if name.contains('/') || name == "." || name == ".." {
            reading.sink.error(span.clone(), format!("{name:?} cannot be the name of a file"));
            continue;
        }
        if let Some(secret) = from_file(reading, &directory.join(name), span.clone()) {
            secrets.insert(name.clone(), SecretString::from(secret));
        }
    }
    Secrets(secrets)
}

/// What a file holds, without the line end that editors add.
fn from_file(reading: &Reading<'_>, path: &Path, span: Span) -> Option<String> {
    match read(path) {
        Ok((mut secret, readable_by_others)) => {
            if readable_by_others {
                reading
                    .sink
                    .warning(span, format!("everybody on this machine can read {}", path.display()))
                    .help("`chmod o-r` it");
            }
            if secret.ends_with('\n') {
                secret.pop();
                if secret.ends_with('\r') {
                    secret.pop();
                }
            }
            Some(secret)
        }
        Err(error) => {
            reading.sink.error(span, format!("cannot read {}: {error}", path.display()));
            None
        }
    }
}

fn read(path: &Path) -> io::Result<(String, bool)> {
    let file = File::open(path)?;
    let readable_by_others = is_readable_by_others(&file);
    let mut secret = String::new();
    file.take(MAX_SECRET + 1).read_to_string(&mut secret)?;
    if secret.len() as u64 > MAX_SECRET {
        return Err(io::Error::other(format!("larger than {MAX_SECRET} bytes")));
    }
    Ok((secret, readable_by_others))
}
