//! `weapon manual`: manual pages and completions, made from the definition of the command line. Who
//! packages the program calls it; so there is no second truth, and nothing more to build.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;
use crate::drop_in;

/// Arguments of `weapon manual`.
#[derive(clap::Args, Debug)]
pub struct ManualArgs {
    /// A folder, which gets `man/*.1` and `completions/`
    folder: PathBuf,
}

/// Shells with completions, and the names that their packages look for.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "weapon.bash"),
    (Shell::Zsh, "_weapon"),
    (Shell::Fish, "weapon.fish"),
];

pub(super) fn run(args: &ManualArgs) -> anyhow::Result<ExitCode> {
    let (man, completions) = (args.folder.join("man"), args.folder.join("completions"));
    for folder in [&man, &completions] {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let mut weapon = Cli::command().bin_name("weapon");
    weapon.build();
    page(&man, "weapon", &weapon, &end(&see_also(&weapon)))?;
    for command in weapon.get_subcommands().filter(|it| !it.is_hide_set()) {
        let name = format!("weapon-{}", command.get_name());
        page(&man, &name, command, &end("weapon(1)"))?;
    }
    let (weapon_wg, variables) = drop_in::manual();
    let more = environment(variables) + &end("weapon(1), wg(8)");
    page(&man, "weapon-wg", &weapon_wg, &more)?;
    for (shell, file) in SHELLS {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "weapon", &mut text);
        write(&completions.join(file), &text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn see_also(weapon: &Command) -> String {
    let commands = weapon.get_subcommands().filter(|it| !it.is_hide_set());
    let pages = commands.map(|it| format!("weapon-{}(1)", it.get_name()));
    let more = ["weapon-wg(1)".to_owned(), "wg(8)".to_owned()];
    pages.chain(more).collect::<Vec<_>>().join(", ")
}

/// The last section of a page.
fn end(see_also: &str) -> String {
    format!(".SH \"SEE ALSO\"\n{see_also}\n")
}

/// A section about variables, of lines with a name, two spaces or more, and what it is for. What
/// begins further to the right goes on with the line before.
fn environment(lines: &str) -> String {
    let mut text = ".SH ENVIRONMENT\n".to_owned();
    for line in lines.lines() {
        let line = line.strip_prefix("  ").unwrap_or(line);
        match line.split_once("  ") {
            Some((name, what)) if !name.is_empty() => {
                text += &format!(".TP\n\\fB{name}\\fR\n{}\n", what.trim());
            }
            _ => text += &format!("{}\n", line.trim()),
        }
    }
    text
}

/// The page of one command, `NAME.1`, with more sections.
fn page(folder: &Path, name: &str, command: &Command, more: &str) -> anyhow::Result<()> {
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("1")
        .source(format!("weapon {}", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    man.render(&mut text)?;
    text.extend(more.as_bytes());
    write(&folder.join(format!("{name}.1")), &text)
}

fn write(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}
