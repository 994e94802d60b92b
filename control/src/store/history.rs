//! The last 50 revisions, one file each: who needs an old one finds its texts there.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::File;
use crate::{Error, events, files};

const KEPT: usize = 50;

#[derive(Debug)]
pub(super) struct History {
    directory: PathBuf,
    /// Numbers of the files, oldest first.
    numbers: VecDeque<u64>,
}

#[derive(Serialize)]
struct Entry<'a> {
    revision: &'a str,
    /// `apply` or `directory`.
    source: &'a str,
    at_unix_ms: i64,
    files: Vec<File>,
}

impl History {
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        let open = || -> io::Result<VecDeque<u64>> {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
            let mut numbers = Vec::new();
            for entry in std::fs::read_dir(directory)? {
                let name = entry?.file_name();
                let number = name.to_str().and_then(|name| name.strip_suffix(".json"));
                numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
            }
            numbers.sort_unstable();
            Ok(numbers.into())
        };
        let numbers = open().map_err(|error| {
            Error::new(
                "M5003",
                format!("state directory: {} is unusable", directory.display()),
                "check the directory's owner",
            )
            .with_source(error)
        })?;
        Ok(Self {
            directory: directory.to_owned(),
            numbers,
        })
    }

    pub(super) fn add(
        &mut self,
        revision: &str,
        source: &str,
        at: SystemTime,
        files: Vec<File>,
    ) -> io::Result<()> {
        let number = self.numbers.back().map_or(1, |last| last + 1);
        let entry = Entry {
            revision,
            source,
            at_unix_ms: events::unix_ms(at),
            files,
        };
        files::write_atomic(&self.path(number), &serde_json::to_vec(&entry)?)?;
        self.numbers.push_back(number);
        while self.numbers.len() > KEPT {
            if let Some(oldest) = self.numbers.pop_front() {
                // Left behind, it costs only room.
                let _ = std::fs::remove_file(self.path(oldest));
            }
        }
        Ok(())
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:08}.json"))
    }
}
