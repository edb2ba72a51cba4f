//! Rules for single source files: each opens with `//!`; `unsafe` appears in `host` and `platform` only, and every
//! block there says why it is sound (clippy's undocumented_unsafe_blocks, kept on by their manifests); every manifest
//! has lints. The report lists the longest files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The two crates that may hold unsafe code.
const UNSAFE: [&str; 2] = ["host", "platform"];
/// Files longer than this are named in the report.
const LONG: usize = 400;

pub fn check(checkout: &Path) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    for file in files(checkout)? {
        let text = read(&file)?;
        let shown = file.strip_prefix(checkout).unwrap_or(&file);
        let may = UNSAFE.iter().any(|name| shown.starts_with(Path::new("crates").join(name)));
        wrong.extend(check_text(&text, may).into_iter().map(|line| format!("{}: {line}", shown.display())));
    }
    for folder in manifests(checkout)? {
        let path = folder.join("Cargo.toml");
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        wrong.extend(check_manifest(&name, &read(&path)?).map(|line| format!("{}: {line}", path.display())));
    }
    Ok(wrong)
}

/// The rules for one file's text.
fn check_text(text: &str, may_be_unsafe: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    if !text.trim_start_matches("#!").starts_with("//!") {
        wrong.push("does not open with `//!` that says what it is".into());
    }
    if !may_be_unsafe {
        for (number, line) in text.lines().enumerate() {
            if code(line).split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
                wrong.push(format!("line {}: `unsafe` outside host and platform", number + 1));
            }
        }
    }
    wrong
}

fn check_manifest(name: &str, text: &str) -> Option<String> {
    let lints: &[&str] = if UNSAFE.contains(&name) {
        &["undocumented_unsafe_blocks = \"deny\"", "unwrap_used = \"deny\""]
    } else {
        &["[lints]\nworkspace = true"]
    };
    let missing = lints.iter().find(|lint| !text.contains(**lint))?;
    Some(format!("lints are missing: {missing:?}"))
}

/// A line without its comment and without its string literals, roughly: enough to find keywords.
fn code(line: &str) -> String {
    let mut out = String::new();
    let mut quoted = false;
    let mut before = ' ';
    for c in line.chars() {
        if c == '"' && before != '\\' && before != '\'' {
            quoted = !quoted;
        } else if !quoted {
            if c == '/' && before == '/' {
                break;
            }
            out.push(c);
        }
        before = c;
    }
    out
}

pub fn report(checkout: &Path) -> Result<()> {
    let mut sizes = Vec::new();
    for file in files(checkout)? {
        sizes.push((read(&file)?.lines().count(), file));
    }
    sizes.sort_by(|a, b| b.cmp(a));
    let total: usize = sizes.iter().map(|size| size.0).sum();
    println!("{} files, {total} lines; longer than {LONG} lines:", sizes.len());
    for (lines, file) in sizes.iter().filter(|size| size.0 > LONG) {
        println!("{lines:6} {}", file.strip_prefix(checkout).unwrap_or(file).display());
    }
    Ok(())
}

/// Every Rust file of the workspace.
pub fn files(checkout: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in ["crates", "xtask", "guest-tests"] {
        walk(&checkout.join(folder), &mut found)?;
    }
    found.sort();
    Ok(found)
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            walk(&path, found)?;
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn manifests(checkout: &Path) -> Result<Vec<PathBuf>> {
    let mut folders = vec![checkout.join("xtask"), checkout.join("guest-tests")];
    for entry in fs::read_dir(checkout.join("crates"))? {
        folders.push(entry?.path());
    }
    Ok(folders.into_iter().filter(|folder| folder.join("Cargo.toml").is_file()).collect())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_description_fails() {
        assert_eq!(check_text("use std::fs;\n", false).len(), 1);
        assert!(check_text("//! What it is.\n", false).is_empty());
    }

    #[test]
    fn unsafe_is_found_as_code_and_only_as_code() {
        let text = |line: &str| format!("//! x\n{line}\n");
        assert_eq!(check_text(&text("let x = unsafe { y() };"), false).len(), 1);
        assert_eq!(check_text(&text("unsafe impl Send for X {}"), false).len(), 1);
        assert!(check_text(&text("let x = unsafe { y() };"), true).is_empty());
        assert!(check_text(&text("// unsafe is not used here"), false).is_empty());
        assert!(check_text(&text("let x = \"unsafe\";"), false).is_empty());
        assert!(check_text(&text("#![forbid(unsafe_code)]"), false).is_empty());
    }

    #[test]
    fn manifests_must_have_lints() {
        assert!(check_manifest("kernel", "[package]\n").is_some());
        assert!(check_manifest("kernel", "[lints]\nworkspace = true\n").is_none());
        assert!(check_manifest("host", "[lints]\nworkspace = true\n").is_some());
    }
}
