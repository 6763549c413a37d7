//! What `docs/ec2.md` says of error codes.

use std::{fmt::Write as _, fs, path::Path};

use provider_ec2::error::{CODES, Class};

/// After this line the file is made here.
const START: &str =
    "<!-- From here on made from the sources: GANGER_BLESS=1 cargo nextest run -p ganger-provider-ec2 -->\n";

/// A class's name, and the quota that is meant.
fn words(class: Class) -> (&'static str, &'static str) {
    match class {
        Class::Capacity => ("capacity", ""),
        Class::Quota(name) => ("quota", name),
        Class::Throttled => ("throttled", ""),
        Class::Transport => ("transport", ""),
        Class::Config => ("config", ""),
        Class::Unsupported => ("unsupported", ""),
    }
}

fn table() -> String {
    let mut text = "| code | class | quota |\n|---|---|---|\n".to_owned();
    for (code, class) in CODES {
        let (class, quota) = words(*class);
        let quota = if quota.is_empty() { String::new() } else { format!("`{quota}` ") };
        // Writing to a string cannot fail.
        writeln!(text, "| `{code}` | {class} | {quota}|").ok();
    }
    text
}

#[test]
fn error_codes_are_documented_as_they_are_handled() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ec2.md");
    let text = fs::read_to_string(&path).unwrap();
    let (written, _) = text.split_once(START).expect("the line that says where the table starts");
    for class in ["capacity", "quota", "throttled", "transport", "config", "unsupported"] {
        assert!(written.contains(&format!("| {class} |")), "nothing says what {class} is");
    }
    let expected = format!("{written}{START}\n{}", table());
    if std::env::var_os("GANGER_BLESS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    assert!(
        fs::read_to_string(&path).unwrap() == expected,
        "docs/ec2.md is old: set GANGER_BLESS=1 and run this again"
    );
}
