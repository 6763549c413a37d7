//! What is wrong, huge or secret.

use super::*;

#[test]
fn passwords_are_not_shown() {
    let text = "worker = [{ name = \"w\", pasword = \"hunter2\", password = \"hunter3\" }]\n[[worker]]\npassword = 'hunter4\n";
    let shown = parse(text, "f", Path::new("/")).unwrap_err().render(false);
    assert!(!shown.contains("hunter"), "{shown}");
    let text = "worker = [{ nam = \"w\", pasword = \"hunter2\", password = \"hunter3\" }]\n";
    let errors = parse(text, "f", Path::new("/")).unwrap_err();
    let shown = errors.render(false);
    assert!(shown.contains("nam = \"w\", pasword = *********, password = *********"), "{shown}");
    assert!(!format!("{errors:?}").contains("hunter"));
    let text = format!("{MINIMAL}[master]\nchange-password = \"hunter2\"\n").replace("\"p\"", "\"hunter3\"");
    assert!(!format!("{:?}", good(&text)).contains("hunter"));
}

#[test]
fn what_is_no_toml_is_said_to_be_none() {
    let found = errors("[[worker]]\nname = \n\n[[worker\nname = 1\n");
    assert!(found.iter().all(|line| line.contains("not TOML: ")), "{found:?}");
    assert!(found[0].starts_with("2:8 "), "{found:?}");
    assert!(found.len() > 1, "{found:?}");
    let deep = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(!errors(&deep).is_empty());
    assert!(!errors(&"a.".repeat(100_000)).is_empty());
}

#[test]
fn many_errors_are_counted() {
    let text = MINIMAL.to_owned() + &"[[builder]]\nname = \"x\"\nworkers = \"w\"\nnope = 1\n".repeat(500);
    let errors = parse(&text, "ganger.toml", Path::new("/base")).unwrap_err();
    assert_eq!(errors.errors.iter().count(), 200);
    assert_eq!(errors.errors.left_out(), 799);
    assert!(
        errors.render(false).ends_with("and 799 more\n\n") || errors.render(false).contains("and 799 more")
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_like_any() {
    let dir = tempfile::tempdir().unwrap();
    let errors = load(&dir.path().join("none.toml")).unwrap_err();
    assert!(errors.render(false).contains("cannot read"));
    assert_eq!(errors.errors.iter().next().unwrap().line, 0);
    let file = dir.path().join("latin1.toml");
    fs::write(&file, b"a = 1\n\n# \xe9").unwrap();
    let said = load(&file).unwrap_err().render(false);
    assert!(said.contains("not UTF-8, first in line 3"), "{said}");
    assert_eq!(said.trim_end().lines().count(), 1, "nothing but what is wrong:\n{said}");
    assert!(load(dir.path()).is_err());
}

#[test]
fn ten_thousand_builders_are_read_quickly() {
    let mut text = MINIMAL.to_owned();
    for n in 0..10_000 {
        text.push_str(&format!(
            "[[builder]]\nname = \"builder-{n}\"\nworkers = [\"w\"]\n[[builder.step]]\ntype = \"Git\"\nrepourl = \"r\"\n[[builder.step]]\ntype = \"ShellCommand\"\ncommand = [\"make\", \"-j%(prop:jobs:-{n})s\"]\n"
        ));
    }
    let start = Instant::now();
    let config = good(&text).config;
    assert_eq!(config.builders.len(), 10_001);
    // Without optimisation and on a busy machine; with it, this takes a tenth of it.
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());

    let wrong = text.replace("[\"w\"]", "[\"v\"]");
    let start = Instant::now();
    assert!(parse(&wrong, "f", Path::new("/")).is_err());
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}

#[test]
fn nothing_that_is_written_makes_it_panic() {
    let whole = include_str!("../../../../../examples/steps.toml");
    // Cut anywhere, and with any one line left out.
    for end in (0..whole.len()).step_by(37).filter(|end| whole.is_char_boundary(*end)) {
        match parse(&whole[..end], "f", Path::new("/base")) {
            Ok(loaded) => drop(loaded.warnings.render(false)),
            Err(errors) => drop(errors.render(false)),
        }
    }
    let lines: Vec<&str> = whole.lines().collect();
    for skip in 0..lines.len() {
        let text: Vec<&str> =
            lines.iter().enumerate().filter(|(n, _)| *n != skip).map(|(_, line)| *line).collect();
        if let Err(errors) = parse(&text.join("\n"), "f", Path::new("/base")) {
            assert!(!errors.render(false).is_empty());
        }
    }
    // Every value replaced by every kind of value.
    for value in ["1", "-1.5", "true", "\"\"", "\"é%(\"", "[]", "[1]", "{}", "{ property = 1 }", "2020-01-01"]
    {
        for (n, line) in lines.iter().enumerate() {
            let Some((key, _)) = line.split_once(" = ") else { continue };
            let changed = format!("{key} = {value}");
            let text: Vec<&str> = lines
                .iter()
                .enumerate()
                .map(|(m, line)| if m == n { changed.as_str() } else { line })
                .collect();
            if let Err(errors) = parse(&text.join("\n"), "f", Path::new("/base")) {
                assert!(!errors.render(false).is_empty());
            }
        }
    }
}
