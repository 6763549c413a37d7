//! The master, workers, builders and schedulers.

use std::time::Duration;

use super::*;

#[test]
fn endpoints_are_read_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    for file in ["cert.pem", "key.pem"] {
        fs::write(dir.path().join(file), "").unwrap();
    }
    let check = |endpoint: &str, expect: Endpoint| {
        let text = format!("[master]\nlisten = [{endpoint}]");
        let loaded =
            parse(&text, "f", dir.path()).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        assert_eq!(loaded.config.master.listen, [expect], "{endpoint}");
    };
    let tcp = |host: &str, port| Endpoint::Tcp { host: host.into(), port };
    let tls = |host: &str, port| Endpoint::Tls {
        host: host.into(),
        port,
        certificate: dir.path().join("cert.pem"),
        key: dir.path().join("key.pem"),
    };
    check("\"tcp:9989\"", tcp("0.0.0.0", 9989));
    check("\"tcp:127.0.0.1:0\"", tcp("127.0.0.1", 0));
    check("\"tcp:9989:interface=127.0.0.1\"", tcp("127.0.0.1", 9989));
    check("\"tcp:[::1]:9989\"", tcp("::1", 9989));
    check("\"tls:9990:cert=cert.pem:key=key.pem\"", tls("0.0.0.0", 9990));
    check("\"tls:localhost:9990:cert=cert.pem:key=key.pem\"", tls("localhost", 9990));
    check("{ type = \"tls\", port = 9990, cert = \"cert.pem\", key = \"key.pem\" }", tls("0.0.0.0", 9990));
    check("{ type = \"tcp\", host = \"::\", port = 1 }", tcp("::", 1));
    check("\"unix:w.sock\"", Endpoint::Unix(dir.path().join("w.sock")));
    check("{ type = \"unix\", path = \"/run/w.sock\" }", Endpoint::Unix("/run/w.sock".into()));

    let refused = |endpoint: &str, message: &str| {
        let text = format!("[master]\nlisten = [{endpoint}]");
        let found = parse(&text, "f", dir.path()).unwrap_err().render(false);
        assert!(found.contains(message), "{endpoint}: {found}");
    };
    refused("\"9989\"", "is no endpoint");
    refused("9989", "expected an endpoint");
    refused("\"tcp:\"", "neither a host nor a port");
    refused("\"tcp:host\"", "lacks a port");
    refused("\"tcp:99999\"", "lacks a port");
    refused("\"tcp:a:b:1\"", "neither a host nor a port");
    refused("\"tcp:[::1:9989\"", "without `]`");
    refused("\"udp:1\"", "no endpoint of type \"udp\"");
    refused("\"tls:1\"", "needs a certificate");
    refused("\"tls:1:cert=cert.pem:key=nope.pem\"", "nope.pem");
    refused("\"tls:1:crt=cert.pem\"", "did you mean `cert=`");
    refused("\"unix:\"", "lacks a path");
    refused("\"tcp:1:cert=cert.pem\"", "only `tls`");
    refused("\"tcp:1\", \"tcp:1\"", "listed twice");
    refused("", "`listen` is empty");
    refused(&format!("\"unix:{}\"", "x".repeat(120)), "at most 107 bytes");
}

#[test]
fn the_web_is_one_plain_endpoint_or_none() {
    assert_eq!(good(MINIMAL).config.master.web, None);
    let check = |endpoint: &str, host: &str, port| {
        let config = good(&format!("[master]\nweb = {endpoint}\n{MINIMAL}")).config;
        assert_eq!(config.master.web, Some(crate::Web { host: host.into(), port }), "{endpoint}");
    };
    check("\"tcp:127.0.0.1:8010\"", "127.0.0.1", 8010);
    check("\"tcp:[::1]:0\"", "::1", 0);
    check("\"tcp:8010\"", "0.0.0.0", 8010);
    check("{ type = \"tcp\", port = 8010 }", "0.0.0.0", 8010);

    let refused = |endpoint: &str, message: &str| {
        let found = errors(&format!("[master]\nweb = {endpoint}\n{MINIMAL}"));
        assert!(found.len() == 1 && found[0].starts_with("2:"), "{endpoint}: {found:?}");
        assert!(found[0].contains(message), "{endpoint}: {found:?}");
    };
    refused("\"unix:web.sock\"", "only an endpoint of type `tcp`");
    refused("\"127.0.0.1:8010\"", "\"tcp:");
    refused("8010", "expected an endpoint");
    refused("[\"tcp:8010\"]", "expected an endpoint");
}

#[test]
fn the_database_is_a_path_or_buildbots_url() {
    let check = |database: &str, expect: &str| {
        let config = good(&format!("[master]\ndatabase = \"{database}\"")).config;
        assert_eq!(config.master.database, Database::Sqlite(expect.into()));
    };
    check("state.sqlite", "/base/state.sqlite");
    check("/var/lib/x.db", "/var/lib/x.db");
    check("sqlite:///state.sqlite", "/base/state.sqlite");
    check("sqlite:////var/lib/x.db", "/var/lib/x.db");
    for refused in ["mysql://x", "sqlite://", "sqlite:///"] {
        let found = errors(&format!("[master]\ndatabase = \"{refused}\""));
        assert!(found[0].contains("there is no database"), "{refused}: {found:?}");
    }
    let found = errors("[master]\ndatabase-password = \"secret\"");
    assert!(found[0].contains("a file has no password"), "{found:?}");
}

#[test]
fn a_database_of_a_server_is_a_url() {
    let check = |url: &str, (host, port, user, database): (&str, u16, &str, &str)| {
        let config = good(&format!("[master]\ndatabase = \"{url}\"\ndatabase-password = \"pw\"")).config;
        let Database::Server(found) = config.master.database else { panic!("{url} is no file") };
        assert_eq!(
            (&*found.host, found.port, &*found.user, &*found.database),
            (host, port, user, database),
            "{url}"
        );
        assert!(config.master.database_password.is_some() && found.root_certificate.is_none());
    };
    check("postgresql://bot@db.example/buildbot", ("db.example", 5432, "bot", "buildbot"));
    check("postgresql+psycopg2://bot@db:6432/b?sslmode=disable", ("db", 6432, "bot", "b"));
    check("postgres://b%40t@[::1]:1/a%20b", ("::1", 1, "b@t", "a b"));
    check("postgresql://bot@[::1]/b", ("::1", 5432, "bot", "b"));
    check("postgresql://bot@/b", ("/var/run/postgresql", 5432, "bot", "b"));
    check("postgresql:///b?host=/run/pg&user=bot&port=9", ("/run/pg", 9, "bot", "b"));
    let refused = |url: &str, expect: &str| {
        let found = errors(&format!("[master]\ndatabase = \"{url}\""));
        assert!(found[0].contains(expect), "{url}: {found:?}");
    };
    refused("postgresql://bot:pw@db/b", "a password does not belong into a URL");
    refused("postgresql://bot@db/b?password=pw", "a password does not belong into a URL");
    refused("postgresql://db/b", "names no user or no database");
    refused("postgresql://bot@db", "names no user or no database");
    refused("postgresql://bot@db:0/b", "is no port");
    refused("postgresql://bot@db/b?sslmode=require", "there is no sslmode \"require\"");
    refused("postgresql://bot@db/b?sslmode=verify-full", "needs somebody to believe");
    refused("postgresql://bot@db/b?sslmode=verify-full&sslrootcert=none.pem", "cannot read");
    refused("postgresql://bot@db/b?sslrootcert=root.pem", "of no use without TLS");
    refused("postgresql://bot@db/b?max_idle=3", "there is no \"max_idle\"");
}

#[test]
fn passwords_come_from_files_and_the_environment() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str, mode| {
        fs::write(dir.path().join(name), text).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    write("pw", "from file\n", 0o600);
    write("open", "x", 0o644);
    write("empty", "\n", 0o600);
    let worker = |password: &str| format!("[[worker]]\nname = \"w\"\n{password}\n");
    let password = |line: &str| {
        let loaded =
            parse(&worker(line), "f", dir.path()).unwrap_or_else(|errors| panic!("{}", errors.render(false)));
        (
            loaded.config.workers[0].password.as_ref().unwrap().expose_secret().to_owned(),
            lines(&loaded.warnings).len(),
        )
    };
    assert_eq!(password("password-file = \"pw\""), ("from file".into(), 0));
    assert_eq!(password("password-file = \"open\""), ("x".into(), 1));
    assert_eq!(password("password-env = \"CARGO_PKG_NAME\""), ("ganger-config".into(), 0));
    assert_eq!(password("password = \"%(prop:x)s %\""), ("%(prop:x)s %".into(), 0));
    let refused = |line: &str, message: &str| {
        let found = parse(&worker(line), "f", dir.path()).unwrap_err().render(false);
        assert!(found.contains(message), "{line}: {found}");
    };
    refused("password-file = \"none\"", "cannot read");
    refused("password-file = \"empty\"", "is empty");
    refused("password = \"\"", "is empty");
    refused("", "lacks a password");
    refused("password = \"a\"\npassword-file = \"pw\"", "does not go together");

    let file = dir.path().join("ganger.toml");
    fs::write(&file, worker("password = \"hunter2\"")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let warnings = load(&file).unwrap().warnings;
    assert!(warnings.render(false).contains("everybody on this machine can read this password"));
    assert!(!warnings.render(false).contains("hunter2"));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(load(&file).unwrap().warnings.is_empty());
}

#[test]
fn secrets_are_read_when_a_step_names_them() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("secrets")).unwrap();
    fs::write(dir.path().join("secrets/token"), "s3cret\n").unwrap();
    let text = |name: &str| {
        let step = format!("type = \"ShellCommand\"\ncommand = \"x %(secret:{name})s\"");
        format!("[master]\nsecrets-directory = \"secrets\"\n{}", with_step(&step))
    };
    let config = parse(&text("token"), "f", dir.path()).unwrap().config;
    let secrets = &config.builders[0].secrets;
    assert_eq!(secrets.get("token").unwrap().expose_secret(), "s3cret");
    assert_eq!(secrets.iter().count(), 1);
    assert!(!format!("{config:?}").contains("s3cret"));
    for (name, message) in [("nothing", "cannot read"), ("../ganger.toml", "cannot be the name of a file")] {
        let found = parse(&text(name), "f", dir.path()).unwrap_err().render(false);
        assert!(found.contains(message), "{found}");
    }
    let found = step_errors("type = \"ShellCommand\"\ncommand = \"x %(secret:token)s\"");
    assert_eq!(
        found,
        [
            "2:11 there is no secret \"token\": nothing says where secrets are [give it an entry in `[secrets]`, or set `secrets-directory` in `[master]`: it holds one file for each]"
        ]
    );
}

#[test]
fn names_that_clash_are_told() {
    let builders = |second: &str| format!("{MINIMAL}[[builder]]\n{second}\nworkers = [\"w\"]\n");
    let found = errors(&builders("name = \"b\""));
    assert_eq!(found, ["9:8 there are two builders of the name \"b\""]);
    let text = format!("{}[[builder]]\nname = \"a_b\"\nworkers = [\"w\"]\n", builders("name = \"a b\""));
    let found = errors(&text);
    assert!(found[0].contains("would use the same directory \"a_b\" on worker \"w\""), "{found:?}");
    assert!(errors(&builders("name = \"c\"\nworkerbuilddir = \"b\"")).is_empty());
    assert!(errors(&builders("name = \"_c\""))[0].contains("does not start with `_`"));
    let text =
        format!("{MINIMAL}[[builder]]\nname = \"c\"\nworkers = [\"w\", \"w\"]\ntags = [\"t\", \"t\"]\n");
    assert_eq!(errors(&text), ["10:17 \"w\" is named twice", "11:14 the tag \"t\" is there twice"]);
    for (name, message) in
        [("change", "something else logs in"), ("1st", "digit"), ("a b", "' ' in it"), ("", "is empty")]
    {
        let found = errors(&format!("[[worker]]\nname = \"{name}\"\npassword = \"p\"\n"));
        assert!(found[0].contains(message), "{name}: {found:?}");
    }
}

#[test]
fn directories_are_named_as_buildbot_names_them() {
    let text = MINIMAL.replace("\"b\"", "\"linux/x86 (fast): a-b_c'é\"");
    assert_eq!(good(&text).config.builders[0].workerbuilddir, "linux_x86__fast___a-b_c_é");
}

#[test]
fn values_of_properties_keep_their_types() {
    let text = MINIMAL.replace(
        "name = \"b\"",
        "name = \"b\"\nproperties = { a = 1, b = [true, 1.5], c = { d = \"e\" }, f = 2020-01-01 }",
    );
    let properties = good(&text).config.builders[0].properties.clone();
    assert_eq!(properties.get("b"), Some(&json!([true, 1.5])));
    assert_eq!(properties.get("c"), Some(&json!({ "d": "e" })));
    assert_eq!(properties.get("f"), Some(&json!("2020-01-01")));
    let found = errors(&text.replace("a = 1", "a = inf, g = \"%(prop:x)s\""));
    assert_eq!(found[0].split_once(' ').unwrap().1, "properties hold finite numbers only");
    assert!(found[1].contains("the same for all builds"), "{found:?}");
}

#[test]
fn the_databases_of_the_page_on_storage_are_understood() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("database-password"), "secret").unwrap();
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/storage.md")).unwrap();
    let configurations: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(configurations.len() > 1);
    for text in configurations {
        parse(text, "storage.md", directory.path())
            .unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    }
}

#[test]
fn the_janitor_has_buildbots_horizons_and_two_more() {
    let config = good("[janitor]\nlogHorizon = 86400\nbuildHorizon = 172800\nhour = 4\nminute = 30").config;
    let janitor = config.janitor.unwrap();
    assert_eq!((janitor.log, janitor.build_data), (Some(Duration::from_hours(24)), None));
    assert_eq!((janitor.build, janitor.change), (Some(Duration::from_hours(48)), None));
    assert_eq!((janitor.hour, janitor.minute), (4, 30));
    assert!(good("").config.janitor.is_none());
    let refused = |text: &str, expect: &str| {
        let found = errors(&format!("[janitor]\n{text}"));
        assert!(found[0].contains(expect), "{text}: {found:?}");
    };
    refused("hour = 3", "a horizon");
    refused("logHorizon = 0", "at least 3600 seconds");
    refused("logHorizon = 86400\nhour = 24", "24");
    refused("log_horizon = 86400", "logHorizon");
}

#[test]
fn a_local_worker_has_a_directory_and_no_password() {
    let text = format!(
        "{MINIMAL}[[worker]]\nname = \"l\"\ntype = \"LocalWorker\"\n[[worker]]\nname = \"m\"\ntype = \"LocalWorker\"\nworkdir = \"/m\"\nprogram = \"bin/w\"\n"
    );
    let config = good(&text).config;
    let local = |index: usize| config.workers[index].local.as_ref().unwrap();
    assert_eq!(
        (local(1).directory.as_path(), local(1).program.as_path()),
        (Path::new("/base/workers/l"), Path::new("buildbot-worker"))
    );
    assert_eq!(
        (local(2).directory.as_path(), local(2).program.as_path()),
        (Path::new("/m"), Path::new("/base/bin/w"))
    );
    assert!(config.workers[1].password.is_none() && config.workers[0].local.is_none());

    let text = format!(
        "{MINIMAL}[[worker]]\nname = \"l\"\ntype = \"LocalWorker\"\npassword = \"x\"\n[[worker]]\nname = \"m\"\ntype = \"LocalWorker\"\nworkdir = \"l\"\n\
         [[worker]]\nname = \"n\"\ntype = \"Local\"\npassword = \"x\"\n[master]\nlisten = \"unix:s\"\n"
    );
    assert_eq!(
        errors(&text),
        [
            "8:1 local worker \"l\" would find no master [it needs an address without TLS in `listen`, such as \"tcp:127.0.0.1:9989\"]",
            "11:1 a local worker has no `password` [it logs in with a secret that the master makes]",
            "12:1 local worker \"m\" would find no master [it needs an address without TLS in `listen`, such as \"tcp:127.0.0.1:9989\"]",
            "12:1 /base/workers/l is the directory of another worker",
            "18:8 expected one of `\"Worker\"`, `\"LocalWorker\"`, found \"Local\"",
        ]
    );
}
