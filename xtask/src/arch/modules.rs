//! The order of `kernel`'s modules: crates/kernel/MODULES lists them, lowest first. A `crate::x` in module y is an
//! edge; it must point downwards. Edges that do not are listed in xtask/kernel-edges.txt, a list that only shrinks: a
//! new one is an error, and so is a line there that nothing needs any more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::sources;

/// From module, to module: with one place that has the edge.
type Edges = BTreeMap<(String, String), String>;

pub fn check(checkout: &Path) -> Result<Vec<String>> {
    let order = list(&checkout.join("crates/kernel/MODULES"))?;
    let known = list(&checkout.join("xtask/kernel-edges.txt"))?;
    let (modules, edges) = scan(checkout)?;
    Ok(judge(&order, &known, &modules, &edges))
}

pub fn report(checkout: &Path) -> Result<()> {
    let order = list(&checkout.join("crates/kernel/MODULES"))?;
    let (_, edges) = scan(checkout)?;
    let up: Vec<_> = edges.keys().filter(|(from, to)| upward(&order, from, to)).collect();
    println!("kernel: {} edges among modules, {} of them upward", edges.len(), up.len());
    for (from, to) in up {
        println!("{from} -> {to}");
    }
    Ok(())
}

fn judge(order: &[String], known: &[String], modules: &BTreeSet<String>, edges: &Edges) -> Vec<String> {
    let mut wrong = Vec::new();
    for module in modules.iter().filter(|module| !order.contains(module)) {
        wrong.push(format!(
            "kernel's module `{module}` has no place in crates/kernel/MODULES: add it above all that it uses"
        ));
    }
    for module in order.iter().filter(|module| !modules.contains(*module)) {
        wrong.push(format!("crates/kernel/MODULES lists `{module}`, which does not exist"));
    }
    let mut needed = BTreeSet::new();
    for ((from, to), place) in edges.iter().filter(|(edge, _)| upward(order, &edge.0, &edge.1)) {
        let line = format!("{from} -> {to}");
        if !known.contains(&line) {
            wrong.push(format!(
                "{place}: upward edge {line} among kernel's modules: move the item down, or cut it by a trait"
            ));
        }
        needed.insert(line);
    }
    for line in known.iter().filter(|line| !needed.contains(*line)) {
        wrong.push(format!("xtask/kernel-edges.txt: `{line}` is gone: take the line out"));
    }
    wrong
}

fn upward(order: &[String], from: &str, to: &str) -> bool {
    let place = |name: &str| order.iter().position(|module| module == name);
    match (place(from), place(to)) {
        (Some(from), Some(to)) => to > from,
        _ => false, // A module without a place is an error of its own.
    }
}

/// All modules directly under the crate, and the edges among them.
fn scan(checkout: &Path) -> Result<(BTreeSet<String>, Edges)> {
    let folder = checkout.join("crates/kernel/src");
    let (mut modules, mut texts) = (BTreeSet::new(), Vec::new());
    for file in sources::files(checkout)?.into_iter().filter(|file| file.starts_with(&folder)) {
        let inside = file.strip_prefix(&folder).unwrap_or(&file).to_path_buf();
        let Some(module) = module(&inside) else { continue };
        modules.insert(module.clone());
        texts.push((
            module,
            inside,
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?,
        ));
    }
    let mut edges = Edges::new();
    for (from, file, text) in texts {
        for to in targets(&text).into_iter().filter(|to| *to != from && modules.contains(to)) {
            edges.entry((from.clone(), to)).or_insert_with(|| format!("crates/kernel/src/{}", file.display()));
        }
    }
    Ok((modules, edges))
}

/// `mm/map.rs` and `mm.rs` both belong to `mm`; `lib.rs` is the crate itself and may name all.
fn module(inside: &Path) -> Option<String> {
    let first = PathBuf::from(inside.components().next()?.as_os_str());
    let name = first.with_extension("").to_string_lossy().into_owned();
    (name != "lib").then_some(name)
}

/// The first names after `crate::` in a file's code, `crate::{a, b::c}` included.
fn targets(text: &str) -> BTreeSet<String> {
    let code: String =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).flat_map(|line| [line, "\n"]).collect();
    let mut found = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        match part.strip_prefix('{') {
            Some(list) => found.extend(heads(list)),
            None => {
                found.insert(word(part));
            }
        }
    }
    found.remove("");
    found
}

/// The first word of each entry of a use list, which may nest.
fn heads(list: &str) -> Vec<String> {
    let (mut depth, mut start, mut found) = (0, true, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if start && !c.is_whitespace() => {
                found.push(word(&list[at..]));
                start = false;
            }
            _ => {}
        }
    }
    found
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The lines of a list file; `#` starts a comment. A file that is not there is an empty list.
fn list(path: &Path) -> Result<Vec<String>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let line = |line: &str| line.split('#').next().unwrap_or("").trim().to_string();
    Ok(text.lines().map(line).filter(|line| !line.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).into()).collect()
    }

    fn edge(from: &str, to: &str) -> Edges {
        Edges::from([((from.into(), to.into()), "x.rs".into())])
    }

    #[test]
    fn use_lists_are_read() {
        let text = "use crate::mm::Map;\nuse crate::{\n    vfs::{File, Inode},\n    time,\n};\n// crate::none\nlet x = crate::task::current();";
        assert_eq!(targets(text).into_iter().collect::<Vec<_>>(), names(&["mm", "task", "time", "vfs"]));
    }

    #[test]
    fn a_new_upward_edge_fails_and_a_listed_one_does_not() {
        let (order, modules) = (names(&["mm", "vfs"]), BTreeSet::from(["mm".into(), "vfs".into()]));
        assert!(judge(&order, &[], &modules, &edge("vfs", "mm")).is_empty());
        assert_eq!(judge(&order, &[], &modules, &edge("mm", "vfs")).len(), 1);
        assert!(judge(&order, &names(&["mm -> vfs"]), &modules, &edge("mm", "vfs")).is_empty());
    }

    #[test]
    fn the_list_of_exceptions_only_shrinks() {
        let (order, modules) = (names(&["mm", "vfs"]), BTreeSet::from(["mm".into(), "vfs".into()]));
        assert_eq!(judge(&order, &names(&["mm -> vfs"]), &modules, &edge("vfs", "mm")).len(), 1);
    }

    #[test]
    fn every_module_has_a_place() {
        let modules = BTreeSet::from(["mm".into()]);
        assert_eq!(judge(&[], &[], &modules, &Edges::new()).len(), 1);
        assert_eq!(judge(&names(&["mm", "gone"]), &[], &modules, &Edges::new()).len(), 1);
    }

    #[test]
    fn files_belong_to_their_first_folder() {
        assert_eq!(module(Path::new("mm/map.rs")).as_deref(), Some("mm"));
        assert_eq!(module(Path::new("mm.rs")).as_deref(), Some("mm"));
        assert_eq!(module(Path::new("lib.rs")), None);
    }
}
