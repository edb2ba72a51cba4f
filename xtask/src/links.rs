//! The links check: every relative link of every Markdown file points at a file or folder of the checkout, and every
//! `#anchor` within it at a heading.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::checkout;

pub fn check() -> Result<()> {
    let mut wrong = Vec::new();
    for page in pages(&checkout())? {
        let text = fs::read_to_string(&page)?;
        for link in links(&text) {
            if let Some(reason) = broken(&page, &link) {
                wrong.push(format!("{}: link {link}: {reason}", page.display()));
            }
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("broken links in documents:\n{}", wrong.join("\n"));
}

/// All Markdown files that git would keep: hidden folders and build output are left out.
fn pages(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            found.extend(pages(&path)?);
        } else if name.ends_with(".md") {
            found.push(path);
        }
    }
    Ok(found)
}

/// The targets of `[text](target)`, outside code blocks and code spans.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        if fenced {
            continue;
        }
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("");
        for part in plain.split("](").skip(1) {
            if let Some((target, _)) = part.split_once(')') {
                found.push(target.to_string());
            }
        }
    }
    found
}

fn broken(page: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.starts_with("mailto:") {
        return None;
    }
    let (file, anchor) = link.split_once('#').map_or((link, None), |(file, anchor)| (file, Some(anchor)));
    let target = if file.is_empty() { page.to_path_buf() } else { page.parent()?.join(file) };
    if !target.exists() {
        return Some(format!("{} does not exist", target.display()));
    }
    let anchor = anchor?;
    let text = fs::read_to_string(&target).ok()?;
    let known = text.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
    (!known).then(|| format!("no heading `{anchor}` in {}", target.display()))
}

/// The anchor that the usual hosts make of a heading.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars()
        .filter_map(|c| if c == ' ' { Some('-') } else { (c.is_alphanumeric() || "-_".contains(c)).then_some(c) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_outside_code() {
        let text = "see [a](b.md) and `[no](x)`\n```\n[no](y)\n```\n[c](#d) [e](f.md#g)";
        assert_eq!(links(text), ["b.md", "#d", "f.md#g"]);
    }

    #[test]
    fn anchors_are_made_as_the_hosts_make_them() {
        assert_eq!(slug("## What it's for, in short"), "what-its-for-in-short");
    }

    #[test]
    fn a_missing_file_is_broken_and_an_address_is_not() {
        let page = checkout().join("README.md");
        assert!(broken(&page, "no-such-file.md").is_some());
        assert!(broken(&page, "https://example.org/x").is_none());
        assert!(broken(&page, "Cargo.toml").is_none());
    }
}
