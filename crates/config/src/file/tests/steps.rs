//! Steps and their arguments.

use ::model::Results;

use super::*;

#[test]
fn a_step_has_all_arguments_of_its_type() {
    let read =
        step("type = \"ShellCommand\"\ncommand = \"make\"\nmaxTime = 1.5\nlogfiles = { a = \"a.log\" }");
    assert_eq!(text(&read.name), "shell");
    assert_eq!(*read.args.get("command"), Renderable::literal("make"));
    assert_eq!(*read.args.get("timeout"), Renderable::Int(1200));
    assert_eq!(*read.args.get("maxTime"), Renderable::Float(1.5));
    assert_eq!(*read.args.get("workdir"), Renderable::literal("build"));
    assert_eq!(*read.args.get("sigtermTime"), Renderable::Null);
    assert_eq!(*read.args.get("decodeRC"), Renderable::Dict(vec![("0".into(), Renderable::Int(0))]));
    assert_eq!(
        *read.args.get("logfiles"),
        Renderable::Dict(vec![("a".into(), Renderable::literal("a.log"))])
    );
    assert_eq!(*read.args.get("nothing"), Renderable::Null);
    let flags = read.flags.render(&Nothing).unwrap();
    assert!(flags.flunk_on_failure && !flags.halt_on_failure);
    assert_eq!((&read.do_step_if, &read.hide_step_if), (&Renderable::Bool(true), &Renderable::Bool(false)));

    let compile =
        step("type = \"Compile\"\ndescriptionDone = [\"a\", \"%(prop:x)s\"]\nhaltOnFailure = false");
    assert_eq!(compile.flags.halt_on_failure, Renderable::Bool(false));
    assert_eq!(words(&compile.description), ["compiling"]);
    assert_eq!(words(&compile.description_done), ["a", "%(prop:x)s"]);
    let command = compile.args.get("command").render(&Nothing).unwrap();
    assert_eq!(command, json!(["make", "all"]));
}

#[test]
fn a_codebase_is_part_of_the_name() {
    let git = step("type = \"Git\"\nname = \"get\"\nrepourl = \"r\"\ncodebase = \"lib\"");
    assert_eq!(words(&git.description_suffix), ["lib"]);
}

fn words(value: &Renderable) -> Vec<&str> {
    let Renderable::List(words) = value else { panic!("{value:?}") };
    words.iter().map(text).collect()
}

#[test]
fn values_can_be_properties() {
    let check = |step_text: &str, argument: &str, expect: Json| {
        let value = step(step_text).args.get(argument).render(&Nothing).unwrap();
        assert_eq!(value, expect, "{step_text}");
    };
    let set = |value: &str| format!("type = \"SetProperty\"\nproperty = \"p\"\nvalue = {value}");
    check(&set("{ property = \"zero\" }"), "value", json!(null));
    check(&set("{ property = \"zero\", default = 7 }"), "value", json!(7));
    check(&set("{ property = \"zero\", default = 7, defaultWhenFalse = false }"), "value", json!(0));
    check(&set("{ property = \"none\", default = [\"%(prop:zero)s\"] }"), "value", json!(["0"]));
    check(
        &set("{ a = 1, b = { property = \"none\", default = true } }"),
        "value",
        json!({ "a": 1, "b": true }),
    );
    check(&set("1979-05-27T07:32:00Z"), "value", json!("1979-05-27T07:32:00Z"));
    check(
        "type = \"ShellCommand\"\ncommand = [\"a\", { property = \"none\", default = \"b\" }]\ntimeout = { property = \"zero\", defaultWhenFalse = false }",
        "timeout",
        json!(0),
    );
    let condition = step("type = \"Test\"\ndoStepIf = { property = \"zero\" }");
    assert_eq!(condition.do_step_if.render(&Nothing).unwrap(), json!(null));
    assert_eq!(
        step_errors(
            "type = \"FileUpload\"\nworkersrc = { prperty = \"x\" }\nmasterdest = \"y\"\nmaxsize = { property = \"x\" }"
        ),
        [
            "2:13 a property as a value lacks `property` [`property`: the name of the property]",
            "2:15 a property as a value has no `prperty` [did you mean `property`?]",
            "4:11 expected a whole number from 1 on, found a table",
        ]
    );
}

#[test]
fn values_can_be_expressions() {
    let check = |step_text: &str, argument: &str, expect: Json| {
        let value = step(step_text).args.get(argument).render(&Nothing).unwrap();
        assert_eq!(value, expect, "{step_text}");
    };
    check(
        "type = \"ShellCommand\"\ncommand = [\"a\", { expression = \"results + 1\" }]",
        "command",
        json!(["a", 3]),
    );
    check(
        "type = \"ShellCommand\"\ncommand = { expression = \"['a', results]\" }",
        "command",
        json!(["a", 2]),
    );
    check("type = \"Test\"\ntimeout = { expression = \"60 * results\" }", "timeout", json!(120));
    check("type = \"Test\"\nenv = { X = { expression = \"results\" } }", "env", json!({ "X": 2 }));
    check("type = \"Test\"\nenv = { expression = \"{'X': results}\" }", "env", json!({ "X": 2 }));
    check(
        "type = \"Test\"\nlogfiles = { x = { expression = \"'x.log'\" } }",
        "logfiles",
        json!({ "x": "x.log" }),
    );
    check(
        "type = \"SetProperty\"\nproperty = \"p\"\nvalue = [{ property = \"none\", default = { expression = \"results\" } }]",
        "value",
        json!([2]),
    );
    let read = step(
        "type = \"Test\"\nname = { expression = \"'x' ~ results\" }\ndoStepIf = { expression = \"prop.deploy\" }\n\
         hideStepIf = { expression = \"results == SKIPPED\" }\nhaltOnFailure = { expression = \"results == FAILURE\" }",
    );
    assert_eq!(read.name.render(&Nothing).unwrap(), json!("x2"));
    assert_eq!(read.do_step_if.render(&Nothing).unwrap(), json!(null));
    assert_eq!(read.hide_step_if.render(&Nothing).unwrap(), json!(false));
    assert!(read.flags.render(&Nothing).unwrap().halt_on_failure);
    assert_eq!(
        step_errors(
            "type = \"Test\"\ndoStepIf = { expression = \"prop.x = 1\" }\nhideStepIf = { expression = \"prp.x or nothing\" }\n\
             timeout = { expression = 5 }"
        ),
        [
            "2:35 syntax error: unexpected input after expression",
            "3:30 there is no `prp` here [did you mean `prop`?]",
            "3:39 there is no `nothing` here [there is `prop`, `src`, `worker`, `build`, `results`]",
            "4:26 expected text, found a whole number",
        ]
    );
}

#[test]
fn regular_expressions_are_looked_at_when_the_file_is_read() {
    assert_eq!(
        step_errors(
            "type = \"Test\"\nwarningPattern = \"(\"\ndirectoryLeavePattern = \"%(prop:x)s(\"\n\
             suppressionList = [{ file = \"[\" }, { text = \"(?=x)\" }]"
        ),
        [
            "2:18 \"(\" is no regular expression: Parsing error at position 1: Opening parenthesis without closing parenthesis",
            "4:29 \"[\" is no regular expression: Parsing error at position 1: Invalid character class",
        ]
    );
}

#[test]
fn a_summary_policy_is_truth_or_results() {
    let check = |policy: &str, expect: &[Results]| {
        let read = step(&format!("type = \"Test\"\nupdateBuildSummaryPolicy = {policy}"));
        assert_eq!(read.update_build_summary_policy.as_deref(), Some(expect), "{policy}");
    };
    check("true", &Results::ALL);
    check("false", &[]);
    check("[\"SUCCESS\", \"FAILURE\"]", &[Results::Success, Results::Failure]);
    assert_eq!(step("type = \"Test\"").update_build_summary_policy, None);
}

#[test]
fn each_argument_is_held_against_its_kind() {
    let check = |step_text: &str, expect: &[&str]| assert_eq!(step_errors(step_text), expect, "{step_text}");
    check(
        "type = \"ShellCommand\"",
        &[
            "0:1 ShellCommand lacks `command` [`command`: what to run: one text for the shell, or a list for none]",
        ],
    );
    check("type = \"ShellCommand\"\ncommand = []", &["2:11 the command is empty"]);
    check("type = \"ShellCommand\"\ncommand = [\"sleep\", 5]", &["2:21 expected text, found a whole number"]);
    check("type = \"Test\"\ntimeout = -1", &["2:11 expected a whole number from 0 to 1000000000, found -1"]);
    check("type = \"Test\"\ntimeout = nan", &["2:11 expected a number of seconds from 0 to 1000000000"]);
    check(
        "type = \"Test\"\nalwaysRun = \"true\"",
        &["2:13 expected `true` or `false`, found text [write true without quotes]"],
    );
    check(
        "type = \"Git\"\nrepourl = \"r\"\nfilters = \"%(prop:x)s\"",
        &["3:11 this is the same for all builds: it cannot hold `%(prop:x)s`"],
    );
    check(
        &format!("type = \"Test\"\nname = \"{}\"", "x".repeat(51)),
        &["2:8 the name of a step has at most 50 characters"],
    );
    check(
        "type = \"Test\"\ndecodeRC = { 0 = \"SUCESS\", x = \"FAILURE\" }",
        &[
            "2:18 expected one of SUCCESS, WARNINGS, FAILURE, SKIPPED, EXCEPTION, RETRY, CANCELLED, found \"SUCESS\" [did you mean \"SUCCESS\"?]",
            "2:28 expected an exit code, found \"x\"",
        ],
    );
    check(
        "type = \"Git\"\nrepourl = \"r\"\nmode = \"ful\"\nmethod = \"clean\"\nshallow = true",
        &["3:8 expected one of `\"incremental\"`, `\"full\"`, found \"ful\" [did you mean \"full\"?]"],
    );
    check(
        "type = \"Git\"\nrepourl = \"r\"\nmode = \"full\"\nmethod = \"clean\"\nshallow = 3",
        &[
            "5:11 with a `method`, `shallow` is only possible for mode \"full\" and method \"clobber\" [leave out `method`, or set `mode = \"full\"` and `method = \"clobber\"`]",
        ],
    );
    check(
        "type = \"SetPropertyFromCommand\"\ncommand = \"x\"\nproperty = \"p\"\nextract = []",
        &[
            "4:11 `property` and `extract` do not go together [leave out one of them: `property` takes all of standard output]",
        ],
    );
    check(
        "type = \"DirectoryUpload\"\nworkersrc = \"a\"\nmasterdest = \"b\"\ncompress = \"zip\"",
        &["4:12 expected one of `\"gz\"`, `\"bz2\"`, found \"zip\""],
    );
    check(
        "type = \"ShellSequence\"\ncommands = [{ command = \"a\" }, { comand = \"b\" }]",
        &[
            "2:32 a command of a sequence lacks `command` [`command`: what to run]",
            "2:34 a command of a sequence has no `comand` [did you mean `command`?]",
        ],
    );
}

#[test]
fn a_bad_template_points_into_its_string() {
    for (quote, column) in [("\"", 16), ("'", 16), ("\"\"\"", 18)] {
        let found = step_errors(&format!("type = \"ShellCommand\"\ncommand = {quote}é %(foo:x)s{quote}"));
        assert!(found[0].starts_with(&format!("2:{column} ")), "{found:?}");
    }
    // Escapes move what comes after them: then it is the whole string.
    let found = step_errors("type = \"ShellCommand\"\ncommand = \"\\t %(foo:x)s\"");
    assert!(found[0].starts_with("2:11 "), "{found:?}");
}

#[test]
fn order_is_that_of_the_file() {
    let read = step("type = \"ShellCommand\"\ncommand = \"x\"\nenv = { Z = \"1\", A = \"2\", M = \"3\" }");
    let Renderable::Dict(env) = read.args.get("env") else { panic!() };
    assert_eq!(env.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["Z", "A", "M"]);
}

/// The configurations of a page, in order.
fn blocks(page: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let text = fs::read_to_string(path).unwrap();
    text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn configurations_in_the_documents_are_good() {
    let properties = blocks("properties.md");
    assert_eq!(properties.len(), 1);
    good(&properties[0]);

    let config = good(&blocks("steps.md").concat()).config;
    let steps = &config.builders[0].steps;
    assert_eq!(steps[0].kind, "CleanWorkspace", "it goes before the others");
    let used: std::collections::BTreeSet<_> = steps.iter().map(|step| step.kind).collect();
    let all: std::collections::BTreeSet<_> = crate::steps::ALL.iter().map(|step| step.name).collect();
    assert_eq!(used, all);
}

#[test]
fn secrets_are_where_their_entries_say() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    };
    write("secrets/known-hosts", "hosts\n");
    write("secrets/deploy-key", "not this");
    write("keys/deploy", "key");
    write("linux.password", "pass");
    let page = blocks("secrets.md").concat().replace("DEPLOY_TOKEN", "PATH");
    let loaded = parse(&page, "ganger.toml", directory.path());
    let loaded = loaded.unwrap_or_else(|errors| panic!("{}", errors.render(false)));
    let secrets = &loaded.config.builders[0].secrets;
    let secret = |name: &str| secrets.get(name).map(|secret| secret.expose_secret().to_owned());
    assert_eq!(secret("deploy-key").as_deref(), Some("key"));
    assert_eq!(secret("known-hosts").as_deref(), Some("hosts"));
    assert_eq!(secret("token"), std::env::var("PATH").ok());
    let wrong = format!(
        "[secrets]\na = {{ env = \"NO_SUCH_VARIABLE\" }}\nb = {{}}\nc = {{ file = \"x\", env = \"y\" }}\nd = 1{}",
        with_step("type = \"ShellCommand\"\ncommand = \"%(secret:a)s\"")
    );
    assert_eq!(
        errors(&wrong),
        [
            "2:13 the environment has no variable \"NO_SUCH_VARIABLE\" with text in it",
            "3:5 a secret lacks `file` or `env` [one of them says where it is]",
            "4:25 `env` does not go together with `file`",
            "5:5 expected a table, found a whole number",
        ]
    );
}

#[test]
fn a_workspace_is_cleaned_before_or_after() {
    let steps = |clean: &str| {
        let text = with_step("type = \"Test\"");
        let config = good(&format!("{text}[builder.clean-workspace]\n{clean}\n")).config;
        config.builders[0].steps.clone()
    };
    let before = steps("free-below = \"2 GiB\"\nkeep = [\"ccache\"]");
    assert_eq!((before[0].kind, before[1].kind), ("CleanWorkspace", "Test"));
    assert_eq!(*before[0].args.get("free-below"), Renderable::Int(2 << 30));
    assert!(before[0].flags.render(&Nothing).unwrap().halt_on_failure);
    let after = steps("when = \"after\"\nolder-than = 60");
    assert_eq!((after[0].kind, after[1].kind), ("Test", "CleanWorkspace"));
    let flags = after[1].flags.render(&Nothing).unwrap();
    assert!(flags.always_run && !flags.flunk_on_failure && flags.warn_on_failure);
    assert_eq!(
        step_errors("type = \"CleanWorkspace\"\nfree-below = \"20 GB\"\nolder-than = -1"),
        [
            "2:14 expected a number of bytes, or a text such as \"20 GiB\", found \"20 GB\"",
            "3:14 expected a whole number from 0 to 1000000000, found -1",
        ]
    );
}
