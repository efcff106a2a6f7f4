//! Wrong command lines and configurations: one clear line that names what is wrong, and the documented exit code.

use anyhow::{Result, ensure};

use crate::harness::{Folder, text};

/// Arguments, exit code, what the line must contain.
type Row<'a> = (&'a [&'a str], i32, &'a str);

#[test]
fn each_mistake_is_one_line_with_its_exit_code() -> Result<()> {
    let folder = Folder::new()?;
    folder.write("app.log", "a line\n")?;
    folder.write("app.log.gz", [0x1f, 0x8b, 8, 0])?;
    folder.write("good/policy.yaml", policy("info: 7d"))?;
    folder.write("negative/policy.yaml", policy("info: -7d"))?;
    folder.write("unknown/policy.yaml", policy("infos: 7d"))?;
    folder.write("kind/policy.yaml", policy("info: 7d").replace("LogRetentionPolicy", "LogRetention"))?;
    folder.write("yaml/policy.yaml", "spec: [")?;
    folder.write("level/level.yaml", level_config("QUIET"))?;
    let rows: &[Row<'_>] = &[
        (&["standalone"], 2, "nothing to read: name files"),
        (&["standalone", "none.log"], 2, "open none.log: No such file or directory"),
        (&["standalone", "good"], 2, "good is a folder: name its files"),
        (&["standalone", "app.log.gz"], 2, "is compressed: `zcat app.log.gz | cordwood standalone -`"),
        (&["standalone", "--pods-dir", "none"], 2, "--pods-dir none: No such file or directory"),
        (&["standalone", "app.log", "--resources", "none"], 2, "none: No such file or directory"),
        (&["standalone", "app.log", "--resources", "negative"], 2, "retention.info"),
        (&["standalone", "app.log", "--resources", "unknown"], 2, "spec.retention.infos: unknown field"),
        (
            &["standalone", "app.log", "--resources", "kind"],
            2,
            "must be LogRetentionPolicy, LogLevelConfig or ClusterLogLevelConfig",
        ),
        (&["standalone", "app.log", "--resources", "yaml"], 2, "yaml/policy.yaml: document 1"),
        (&["standalone", "app.log", "--resources", "level"], 2, "QUIET"),
        (&["standalone", "app.log", "--database-url", "nonsense"], 2, "database.url"),
        (&["standalone", "app.log", "--database-url", "postgresql://u@127.0.0.1:1/d"], 1, "127.0.0.1:1"),
        (&["query", "--database-url", "postgresql://u@127.0.0.1:1/d"], 1, "u@127.0.0.1:1/d"),
        (&["query"], 2, "`cordwood standalone` makes one"),
        (&["query", "--since", "yesterday"], 2, "examples: 15m"),
        (&["query", "--since", "1h", "--until", "2h"], 2, "--since is not before --until"),
        (&["query", "--after", "nowhere"], 2, "is not of the form"),
        (&["query", "--limit", "-1"], 2, "-1"),
        (&["query", "--limit", "1000000000000"], 2, "1000000000000"),
        (&["query", "--level", "loud"], 2, "one of trace, debug, info, warn, error"),
        (&["crds", "pods"], 2, "there is no resource \"pods\""),
        (&["plan", "--resources", "negative"], 2, "retention.info"),
        (&["frobnicate"], 2, "frobnicate"),
    ];
    for (arguments, code, expected) in rows {
        let ran = folder.run(arguments)?;
        ensure!(ran.code == *code, "{arguments:?}: exit code {} instead of {code}: {}", ran.code, ran.stderr);
        ensure!(ran.stderr.contains(expected), "{arguments:?}: {}", ran.stderr);
        ensure!(!ran.stderr.contains("panicked"), "{arguments:?}: {}", ran.stderr);
        // clap's own messages have a usage line below; ours are one line.
        let ours = ran.stderr.starts_with("cordwood: ");
        ensure!(!ours || ran.stderr.trim_end().lines().count() == 1, "{arguments:?}: {}", ran.stderr);
        ensure!(ran.stdout.is_empty(), "{arguments:?} printed to stdout");
    }
    ensure!(!folder.data_dir().join("postgres").exists(), "a mistake must not make a database");
    Ok(())
}

#[test]
fn a_filter_s_mistake_has_a_caret_under_it() -> Result<()> {
    let folder = Folder::new()?;
    let ran = folder.run(&["query", "service:api level>=wran"])?;
    ensure!(ran.code == 2, "{}", ran.stderr);
    let lines: Vec<&str> = ran.stderr.lines().collect();
    ensure!(lines.len() == 3, "{}", ran.stderr);
    ensure!(lines[1].trim_start() == "service:api level>=wran", "{}", ran.stderr);
    let caret = lines[2].find('^').unwrap_or(0);
    ensure!(
        lines[1][caret..].starts_with("wran") || lines[1][caret..].starts_with("level"),
        "{}",
        ran.stderr
    );
    Ok(())
}

#[test]
fn without_postgres_it_says_what_to_install() -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.write("app.log", "a line\n")?;
    let output = folder
        .command(&["standalone", text(&path)])?
        .env("CORDWOOD_POSTGRES_BIN", folder.path("nothing-here"))
        .output()?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(2), "{message}");
    ensure!(message.contains("apt install postgresql") && message.lines().count() == 1, "{message}");
    Ok(())
}

#[test]
fn a_second_standalone_is_told_who_has_the_folder() -> Result<()> {
    let folder = Folder::new()?;
    let path = folder.write("app.log", "a line\n")?;
    let first = folder.start(&["standalone", text(&path)])?;
    folder.until("the first has begun", || Ok(first.log()), |log| log.contains("storing in"))?;
    let second = folder.run(&["standalone", text(&path)])?;
    ensure!(
        second.code == 1 && second.stderr.contains("already: stop it"),
        "{} {}",
        second.code,
        second.stderr
    );
    ensure!(first.interrupt()? == 0);
    Ok(())
}

pub fn policy(retention: &str) -> String {
    format!(
        "apiVersion: cordwood.dev/v1alpha1\nkind: LogRetentionPolicy\nmetadata: {{name: test}}\n\
         spec: {{priority: 10, retention: {{{retention}}}, gracePeriod: 1s}}\n"
    )
}

pub fn level_config(level: &str) -> String {
    format!(
        "apiVersion: cordwood.dev/v1alpha1\nkind: LogLevelConfig\nmetadata: {{name: quiet}}\n\
         spec: {{level: {level}, duration: 12s}}\n"
    )
}
