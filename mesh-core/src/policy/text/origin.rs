use std::fmt;
use std::sync::Arc;

use super::Node;

/// Where a resource was written: file and line, and the located tree while it is at hand.
#[derive(Clone)]
pub struct Origin {
    file: Arc<str>,
    line: u32,
    tree: Option<Node>,
}

impl Origin {
    /// A resource that begins at `line` of `file`.
    pub fn new(file: impl Into<Arc<str>>, line: u32) -> Self {
        Self {
            file: file.into(),
            line,
            tree: None,
        }
    }

    pub(crate) fn of_tree(file: Arc<str>, tree: Node) -> Self {
        Self {
            file,
            line: tree.pos.line,
            tree: Some(tree),
        }
    }

    /// The file.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// Line of its first character, from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    pub(crate) fn tree(&self) -> Option<&Node> {
        self.tree.as_ref()
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
