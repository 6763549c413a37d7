//! Pollers on real repositories, with a real git.

mod site;

use std::{sync::Arc, time::Duration};

use config::{Branches, Category, GitPoller as Config};
use model::expression::Expression;

use self::site::{Site, config};

#[tokio::test]
async fn the_first_look_finds_nothing_and_later_ones_what_is_new() {
    let site = Site::new();
    site.commit("main", "first", &[("a", "1")]);
    assert_eq!(site.poll().await.unwrap(), 0);
    assert_eq!(site.kept(), serde_json::json!({ "refs/heads/main": site.at("main") }));
    site.commit("main", "second\n\nwhy it is", &[("dir/ä b", "1"), ("c", "2")]);
    site.commit("main", "third", &[("a", "2")]);
    site.push(&["main"]);
    assert_eq!(site.poll().await.unwrap(), 2);
    let changes = site.changes();
    let [second, third] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!(second.comments, "second\nwhy it is");
    assert_eq!(second.files, ["c", "dir/ä b"]);
    assert_eq!(third.revision, Some(site.at("main")));
    assert_eq!((third.branch.as_deref(), third.author.as_str()), (Some("main"), "Ann <ann@x>"));
    assert_eq!(
        (third.committer.as_deref(), third.when.epoch_seconds()),
        (Some("Bob <bob@x>"), 1_700_000_000)
    );
    assert_eq!(third.repository, site.url());
    // Nothing has moved.
    assert_eq!(site.poll().await.unwrap(), 0);
    // A new life goes on from what was kept.
    site.commit("main", "fourth", &[("a", "3")]);
    site.push(&["main"]);
    assert_eq!(site.another().poll().await.unwrap(), 1);
}

#[tokio::test]
async fn a_branch_that_is_rewritten_has_its_new_commits() {
    let site = Site::new();
    site.commit("main", "first", &[("a", "1")]);
    site.commit("main", "lost", &[("a", "2")]);
    site.poll().await.unwrap();
    site.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    site.commit("main", "instead", &[("a", "3")]);
    site.git(&["push", "--quiet", "--force", "origin", "main"]);
    assert_eq!(site.poll().await.unwrap(), 1);
    assert_eq!(site.changes()[0].comments, "instead");
    // The repository is made anew, and the old commits are nowhere.
    site.start_over();
    site.commit("main", "other history", &[("a", "4")]);
    site.git(&["push", "--quiet", "--force", "origin", "main"]);
    assert_eq!(site.poll().await.unwrap(), 1);
}

#[tokio::test]
async fn all_branches_are_looked_at_and_those_that_go_are_forgotten() {
    let site = Site::of(|config| Config { branches: Branches::All, ..config });
    site.commit("main", "first", &[("a", "1")]);
    site.poll().await.unwrap();
    site.branch("dev");
    site.push(&["dev"]);
    // A branch at a known commit is no change.
    assert_eq!(site.poll().await.unwrap(), 0);
    site.commit("dev", "second", &[("a", "2")]);
    site.push(&["dev"]);
    assert_eq!(site.poll().await.unwrap(), 1);
    assert_eq!(site.changes()[0].branch.as_deref(), Some("dev"));
    site.git(&["push", "--quiet", "origin", ":dev"]);
    assert_eq!(site.poll().await.unwrap(), 0);
    assert_eq!(site.kept().as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn branches_are_named_or_chosen() {
    let named = Site::of(|config| Config { branches: Branches::Named(vec!["dev".into()]), ..config });
    named.commit("main", "first", &[("a", "1")]);
    named.branch("dev");
    named.push(&["dev"]);
    named.poll().await.unwrap();
    // Buildbot remembers branches with a name without the prefix.
    assert_eq!(named.kept(), serde_json::json!({ "dev": named.at("dev") }));

    let chosen = Expression::parse("ref.startswith('refs/heads/release/') or ref == 'refs/tags/v1'").unwrap();
    let chosen = Site::of(|config| Config { branches: Branches::Where(chosen), ..config });
    chosen.commit("main", "first", &[("a", "1")]);
    chosen.branch("release/1");
    chosen.git(&["tag", "v1"]);
    chosen.git(&["tag", "v2"]);
    chosen.git(&["push", "--quiet", "origin", "release/1", "v1", "v2"]);
    chosen.poll().await.unwrap();
    let kept = chosen.kept();
    let keys: Vec<&String> = kept.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["refs/heads/release/1", "refs/tags/v1"]);
}

#[tokio::test]
async fn tags_are_found_too() {
    let site =
        Site::of(|config| Config { branches: Branches::Tags, build_pushes_with_no_commits: true, ..config });
    site.commit("main", "first", &[("a", "1")]);
    site.git(&["tag", "v1"]);
    site.git(&["push", "--quiet", "origin", "v1"]);
    assert_eq!(site.poll().await.unwrap(), 0);
    site.git(&["tag", "-a", "-m", "release", "v2"]);
    site.git(&["push", "--quiet", "origin", "v2"]);
    assert_eq!(site.poll().await.unwrap(), 1);
    assert_eq!(site.changes()[0].branch.as_deref(), Some("refs/tags/v2"));
}

#[tokio::test]
async fn a_push_without_commits_can_be_a_change() {
    let site = Site::of(|config| Config {
        branches: Branches::All,
        build_pushes_with_no_commits: true,
        category: Category::Expression(Expression::parse("'of ' ~ change.branch").unwrap()),
        ..config
    });
    site.commit("main", "first", &[("a", "1")]);
    site.poll().await.unwrap();
    site.branch("dev");
    site.push(&["dev"]);
    assert_eq!(site.poll().await.unwrap(), 1);
    assert_eq!(site.changes()[0].category.as_deref(), Some("of dev"));
}

#[tokio::test]
async fn what_cannot_be_handed_over_is_found_again() {
    let site = Site::new();
    site.commit("main", "first", &[("a", "1")]);
    site.poll().await.unwrap();
    site.commit("main", "second", &[("a", "2")]);
    site.push(&["main"]);
    site.take(Some(0));
    assert!(site.poll().await.unwrap_err().to_string().contains("not now"));
    site.take(None);
    assert_eq!(site.poll().await.unwrap(), 1);
}

#[tokio::test]
async fn nothing_is_handed_over_twice() {
    let site = Site::of(|config| Config { branches: Branches::All, ..config });
    site.commit("main", "first", &[("a", "1")]);
    site.poll().await.unwrap();
    let comments =
        |site: &Site| -> Vec<String> { site.changes().into_iter().map(|change| change.comments).collect() };
    for message in ["second", "third", "fourth"] {
        site.commit("main", message, &[("a", message)]);
    }
    site.push(&["main"]);
    site.take(Some(2));
    site.poll().await.unwrap_err();
    assert_eq!(comments(&site), ["second", "third"]);
    assert_eq!(site.kept(), serde_json::json!({ "refs/heads/main": site.at("main~1") }));
    site.take(None);
    assert_eq!(site.poll().await.unwrap(), 1);
    assert_eq!(comments(&site), ["second", "third", "fourth"]);
    // A new branch, and a look that is cut off.
    site.branch("dev");
    for message in ["fifth", "sixth", "seventh"] {
        site.commit("dev", message, &[("a", message)]);
    }
    site.push(&["dev"]);
    site.poll_until_full(5).await;
    assert_eq!(site.poll().await.unwrap(), 1);
    assert_eq!(comments(&site), ["second", "third", "fourth", "fifth", "sixth", "seventh"]);
}

#[tokio::test]
async fn a_branch_can_take_the_place_of_others() {
    let site = Site::of(|config| Config { branches: Branches::All, ..config });
    site.commit("main", "first", &[("a", "1")]);
    site.git(&["push", "--quiet", "origin", "main:dev"]);
    site.poll().await.unwrap();
    site.commit("main", "second", &[("a", "2")]);
    site.git(&["push", "--quiet", "origin", ":dev"]);
    site.git(&["push", "--quiet", "origin", "main:dev/a"]);
    assert_eq!(site.poll().await.unwrap(), 1);
    site.commit("main", "third", &[("a", "3")]);
    site.git(&["push", "--quiet", "origin", ":dev/a"]);
    site.git(&["push", "--quiet", "origin", "main:dev"]);
    assert_eq!(site.poll().await.unwrap(), 1);
    // Also when nothing is remembered of the branch that is in the way.
    site.git(&["push", "--quiet", "origin", ":dev"]);
    let main = site.with(|config| Config { branches: Branches::Named(vec!["main".into()]), ..config });
    main.poll().await.unwrap();
    site.git(&["push", "--quiet", "origin", "main:dev/b"]);
    site.poll().await.unwrap();
    let kept = site.kept();
    let keys: Vec<&String> = kept.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["refs/heads/dev/b", "refs/heads/main"]);
}

#[tokio::test]
async fn pollers_of_one_repository_leave_each_other_alone() {
    let site = Site::of(|config| Config { branches: Branches::Named(vec!["main".into()]), ..config });
    site.commit("main", "first", &[("a", "1")]);
    site.git(&["push", "--quiet", "origin", "main:dev"]);
    let dev = site.with(|config| Config { branches: Branches::Named(vec!["dev".into()]), ..config });
    dev.poll().await.unwrap();
    site.forget();
    site.poll().await.unwrap();
    let work = site.path("gitpoller-work").display().to_string();
    let refs = site.git(&["--git-dir", &work, "for-each-ref", "--format=%(refname:lstrip=-2)"]);
    assert_eq!(refs, "heads/dev\nheads/main");
}

#[tokio::test]
async fn git_is_run_for_what_has_moved_only() {
    let site = Site::of(|config| Config { branches: Branches::All, ..config });
    let (script, log) = (site.path("git"), site.path("log"));
    let text = format!(
        "#!/bin/sh\nfor word; do case $word in init|ls-remote|fetch|rev-list) echo $word >> {};; esac; done\nexec git \"$@\"\n",
        log.display()
    );
    std::fs::write(&script, text).unwrap();
    site.make_executable(&script);
    let site = site.with(|config| Config { gitbin: script, ..config });
    let ran = |log: &std::path::Path| std::fs::read_to_string(log).unwrap().replace('\n', " ");
    site.commit("main", "first", &[("a", "1")]);
    site.git(&["push", "--quiet", "origin", "main:dev"]);
    site.poll().await.unwrap();
    assert_eq!(ran(&log), "init ls-remote fetch ");
    site.poll().await.unwrap();
    assert_eq!(ran(&log), "init ls-remote fetch ls-remote ");
    site.commit("main", "second", &[("a", "2")]);
    site.push(&["main"]);
    assert_eq!(site.poll().await.unwrap(), 1);
    assert_eq!(ran(&log), "init ls-remote fetch ls-remote ls-remote fetch rev-list ");
}

#[tokio::test]
async fn a_git_that_hangs_is_killed_with_all_that_it_has_started() {
    let site = Site::new();
    let (script, mark) = (site.path("git"), site.path("mark"));
    std::fs::write(&script, format!("#!/bin/sh\necho $$ > {}\nsleep 1000 &\nwait\n", mark.display()))
        .unwrap();
    site.make_executable(&script);
    let hanging =
        site.with(|config| Config { gitbin: script, git_timeout: Duration::from_secs(1), ..config });
    let error = hanging.poll().await.unwrap_err().to_string();
    assert_eq!(error, "git init was killed after 1 s without an end");
    let group = std::fs::read_to_string(mark).unwrap();
    site.wait_for_end_of_group(group.trim()).await;
}

#[tokio::test]
async fn errors_are_gits() {
    let site = Site::new();
    let error = site.poll().await.map(|_| ());
    assert!(error.is_ok(), "an empty repository has nothing: {error:?}");
    let nowhere = site.with(|config| Config { repourl: "/nowhere/at/all".into(), ..config });
    let error = nowhere.poll().await.unwrap_err().to_string();
    assert!(
        error.starts_with("git ls-remote ended with exit status: 128: ") && error.contains("/nowhere/at/all"),
        "{error}"
    );
    let none = site.with(|config| Config { gitbin: "/no/git".into(), ..config });
    assert_eq!(none.poll().await.unwrap_err().to_string(), "cannot run /no/git");
}

#[tokio::test]
async fn sources_follow_the_configuration() {
    let site = Arc::new(Site::new());
    site.commit("main", "first", &[("a", "1")]);
    let (sender, receiver) = tokio::sync::watch::channel(config(&[]));
    let stop = tokio_util::sync::CancellationToken::new();
    let sources = change_sources::ChangeSources::new(site.desk());
    let run = tokio::spawn(sources.run(receiver, stop.clone()));
    sender.send(config(&[&site.url()])).unwrap();
    site.until(|site| !site.kept().is_null()).await;
    site.commit("main", "second", &[("a", "2")]);
    site.push(&["main"]);
    site.until(|site| site.changes().len() == 1).await;
    sender.send(config(&[])).unwrap();
    stop.cancel();
    run.await.unwrap();
}
