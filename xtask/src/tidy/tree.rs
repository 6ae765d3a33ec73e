//! The files of the repository, read once.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::source::Source;

/// The inputs of fuzz targets.
const CORPORA: &str = "fuzz/corpora/";

/// One text file.
#[derive(Debug)]
pub(crate) struct File {
    /// Path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
    /// Its tokens, if it is Rust and well-formed.
    pub(crate) source: Option<Source>,
    /// Whether all of it is test code.
    pub(crate) is_test: bool,
}

impl File {
    /// The name after the last slash.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The tokens that are not test code; none for a test file.
    pub(crate) fn live_source(&self) -> Option<&Source> {
        self.source.as_ref().filter(|_| !self.is_test)
    }

    /// The folder of the package that the file belongs to, as `crates/wire`.
    pub(crate) fn package(&self) -> &str {
        let depth = if self.path.starts_with("crates/") {
            2
        } else {
            1
        };
        match self.path.match_indices('/').nth(depth - 1) {
            Some((end, _)) => &self.path[..end],
            None => "",
        }
    }
}

/// The files of the repository: those under version control and those about to be.
#[derive(Debug)]
pub(crate) struct Tree {
    files: Vec<File>,
}

impl Tree {
    /// Reads what git knows under `root`, new files included, ignored files not.
    pub(crate) fn of_repository(root: &Path) -> Result<Self> {
        let listing = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root)
            .output()
            .context("git is needed to list the files")?;
        ensure!(
            listing.status.success(),
            "git ls-files failed: is this a git checkout?"
        );
        let mut files = Vec::new();
        for path in String::from_utf8(listing.stdout)?.split_terminator('\0') {
            // What a fuzzer has made is not text, whatever it looks like.
            if path.starts_with(CORPORA) {
                continue;
            }
            // A file may be listed and gone, or not be text; neither has lines to check.
            if let Ok(bytes) = std::fs::read(root.join(path))
                && let Ok(text) = String::from_utf8(bytes)
                && !text.contains('\0')
            {
                files.push((path.to_owned(), text));
            }
        }
        files.sort();
        files.dedup();
        Ok(Self::of_texts(files))
    }

    /// A tree of given paths and texts.
    pub(crate) fn of_texts(texts: Vec<(String, String)>) -> Self {
        let mut files: Vec<File> = texts
            .into_iter()
            .map(|(path, text)| {
                let source = path
                    .ends_with(".rs")
                    .then(|| Source::parse(&text))
                    .flatten();
                File {
                    is_test: is_test_path(&path),
                    path,
                    text,
                    source,
                }
            })
            .collect();
        let test_modules: Vec<String> = files.iter().flat_map(test_module_paths).collect();
        for file in &mut files {
            file.is_test |= test_modules.iter().any(|module| {
                file.path
                    .strip_prefix(module.as_str())
                    .is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
            });
        }
        Self { files }
    }

    /// All files, ordered by path.
    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    /// The Rust files.
    pub(crate) fn rust_files(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// The file at `path`.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

fn is_test_path(path: &str) -> bool {
    path.split('/')
        .any(|part| part == "tests" || part == "benches")
        && path.ends_with(".rs")
}

/// The paths, without `.rs`, of the modules that `file` declares as test code.
fn test_module_paths(file: &File) -> Vec<String> {
    let Some(source) = &file.source else {
        return Vec::new();
    };
    let own = file.path.trim_end_matches(".rs");
    let folder = match file.name() {
        "lib.rs" | "main.rs" | "mod.rs" => own.rsplit_once('/').map_or("", |(folder, _)| folder),
        _ => own,
    };
    source
        .test_modules
        .iter()
        .map(|module| format!("{folder}/{module}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_declared_as_test_is_test_code_wherever_it_lies() {
        let tree = Tree::of_texts(vec![
            (
                "crates/a/src/lib.rs".into(),
                "#[cfg(test)]\nmod pair;\nmod path;\n".into(),
            ),
            ("crates/a/src/pair.rs".into(), "//! x\n".into()),
            ("crates/a/src/pair/link.rs".into(), "//! x\n".into()),
            ("crates/a/src/path.rs".into(), "//! x\n".into()),
            ("crates/a/tests/x.rs".into(), "//! x\n".into()),
        ]);
        let tests: Vec<_> = tree.files().iter().map(|file| file.is_test).collect();
        assert_eq!(tests, [false, true, true, false, true]);
    }

    #[test]
    fn packages_are_named_by_their_folder() {
        let tree = Tree::of_texts(vec![
            ("crates/a/src/x/y.rs".into(), String::new()),
            ("xtask/src/main.rs".into(), String::new()),
        ]);
        let packages: Vec<_> = tree.files().iter().map(File::package).collect();
        assert_eq!(packages, ["crates/a", "xtask"]);
    }
}
