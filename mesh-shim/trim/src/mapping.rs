//! The mappings of a file, as `/proc/PID/smaps` tells of them.

use std::io::{self, BufRead};
use std::path::Path;

/// A mapping that is the file's content, unchanged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: usize,
    pub(crate) len: usize,
    /// Bytes of it in memory.
    pub(crate) resident: u64,
}

/// Those of `path` that are private, cannot be written, and have no page that differs from the file, neither
/// in memory nor in swap.
pub(crate) fn of_file(smaps: impl BufRead, path: &Path) -> io::Result<Vec<Mapping>> {
    let mut found = Vec::new();
    let mut current: Option<Mapping> = None;
    for line in smaps.lines() {
        let line = line?;
        if let Some((name, value)) = field(&line) {
            match (name, current.as_mut()) {
                ("Rss", Some(mapping)) => mapping.resident = value * 1024,
                // Relocated, or written by a debugger: not what is in the file. Such a page that is in
                // swap is counted there alone.
                ("Anonymous" | "Swap", Some(_)) if value > 0 => current = None,
                // The later of the two; without it nothing is known.
                ("Swap", Some(_)) => found.extend(current.take()),
                _ => {}
            }
        } else {
            current = head(&line, path);
        }
    }
    Ok(found)
}

/// `Rss:   120 kB`.
fn field(line: &str) -> Option<(&str, u64)> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim_start().strip_suffix(" kB")?;
    Some((name, value.parse().ok()?))
}

/// `55a781779000-55a7823c8000 r-xp 0032d000 fe:00 131 /usr/bin/program`.
fn head(line: &str, path: &Path) -> Option<Mapping> {
    let (range, rest) = line.split_once(' ')?;
    let mut rest = rest.splitn(5, ' ');
    let permissions = rest.next()?.as_bytes();
    // The path is the fifth and may have spaces of its own.
    let file = rest.nth(3)?.trim_start();
    let is_content = permissions.len() == 4 && permissions[1] == b'-' && permissions[3] == b'p';
    if !is_content || Path::new(file) != path {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    Some(Mapping {
        start,
        len: end.checked_sub(start)?,
        resident: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-5000 r--p 00000000 fe:00 131                  /usr/bin/a program
Size:                 16 kB
Rss:                   8 kB
Anonymous:             0 kB
Swap:                  0 kB
SwapPss:               0 kB
VmFlags: rd mr mw me sd
5000-9000 r-xp 00004000 fe:00 131                  /usr/bin/a program
Rss:                  12 kB
Anonymous:             0 kB
Swap:                  0 kB
9000-a000 r--p 00008000 fe:00 131                  /usr/bin/a program
Rss:                   4 kB
Anonymous:             4 kB
Swap:                  0 kB
9000-a000 r--p 00008000 fe:00 131                  /usr/bin/a program
Rss:                   0 kB
Anonymous:             0 kB
Swap:                  4 kB
a000-b000 rw-p 00009000 fe:00 131                  /usr/bin/a program
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
b000-c000 r-xs 00009000 fe:00 131                  /usr/bin/a program
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
c000-d000 r-xp 00000000 fe:00 99                   /usr/lib/libc.so.6
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
d000-e000 r-xp 00000000 00:00 0                    [vdso]
Rss:                   4 kB
Anonymous:             0 kB
Swap:                  0 kB
e000-f000 r-xp 00009000 fe:00 131                  /usr/bin/a program
Rss:                   4 kB
Anonymous:             0 kB
";

    #[test]
    fn only_what_is_the_files_own_and_unchanged_is_found() {
        let found = of_file(SMAPS.as_bytes(), Path::new("/usr/bin/a program")).unwrap();
        let expected = [(0x1000, 0x4000, 8), (0x5000, 0x4000, 12)];
        let expected = expected.map(|(start, len, kib)| Mapping {
            start,
            len,
            resident: kib * 1024,
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn nonsense_is_nothing() {
        for text in [
            "",
            "x",
            "1-2",
            "zz-yy r-xp 0 0 0 /p",
            "5-1 r-xp 0 0 0 /p\nAnonymous: 0 kB\nSwap: 0 kB",
        ] {
            assert_eq!(of_file(text.as_bytes(), Path::new("/p")).unwrap(), []);
        }
    }
}
