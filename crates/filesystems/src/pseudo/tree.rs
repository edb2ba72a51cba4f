//! Folders whose names never change: built once, by paths.

use super::{Folder, Listed, Node};
use kernel::{Io, Op};
use std::collections::BTreeMap;

/// A folder under construction, and the folder itself.
#[derive(Default, Clone)]
pub struct Tree {
    names: BTreeMap<Vec<u8>, Node>,
    /// Folders that are not finished yet.
    trees: BTreeMap<Vec<u8>, Below>,
}

#[derive(Default, Clone)]
struct Below(Tree);

impl Tree {
    pub fn new() -> Tree {
        Tree::default()
    }

    /// Puts `node` at a path of names with slashes between them; folders on the way are made (0555).
    pub fn add(&mut self, path: &str, node: Node) -> &mut Tree {
        match path.split_once('/') {
            Some((first, rest)) => {
                self.folder(first).add(rest, node);
            }
            None => {
                self.names.insert(path.into(), node);
            }
        }
        self
    }

    /// Makes an empty folder, as `add` does.
    pub fn add_folder(&mut self, path: &str) -> &mut Tree {
        match path.split_once('/') {
            Some((first, rest)) => {
                self.folder(first).add_folder(rest);
            }
            None => {
                self.folder(path);
            }
        }
        self
    }

    fn folder(&mut self, name: &str) -> &mut Tree {
        &mut self.trees.entry(name.into()).or_default().0
    }

    /// The node of the finished tree.
    pub fn into_node(self) -> Node {
        Node::folder(0o555, self.finish())
    }

    /// The folder itself, with the folders below it made nodes.
    pub fn finish(mut self) -> Tree {
        for (name, Below(tree)) in std::mem::take(&mut self.trees) {
            self.names.insert(name, tree.into_node());
        }
        self
    }

    pub fn get(&self, name: &[u8]) -> Option<Node> {
        self.names.get(name).cloned()
    }

    /// Entries with keys from `first` on.
    pub fn listed(&self, first: u64) -> Vec<Listed> {
        (first..)
            .zip(&self.names)
            .map(|(key, (name, node))| Listed {
                key,
                name: name.clone(),
                kind: node.body.kind(),
                identity: node.identity,
            })
            .collect()
    }
}

impl Folder for Tree {
    fn lookup(&self, _io: &mut Io<'_>, name: &[u8]) -> Op<Option<Node>> {
        Ok(self.get(name))
    }
    fn entries(&self, _io: &mut Io<'_>) -> Op<Vec<Listed>> {
        Ok(self.listed(0))
    }
}
