//! Gives back the pages of a program's own code that only its start needed.
//!
//! Linux maps a file's pages around each one that is touched, and keeps them mapped: what parsing flags, files
//! and certificates has touched stays in the resident set for as long as the process lives, although nothing
//! reads it again. [`trim`] takes the pages out of the process. What is needed after all is mapped again from
//! the page cache, at a microsecond for sixteen pages, once.
//!
//! ```
//! let bytes = mesh_trim::trim()?;
//! println!("{bytes} bytes fewer are resident");
//! # Ok::<_, std::io::Error>(())
//! ```

mod mapping;

/// Takes the unmodified pages of this program's own file out of its resident set: its code and its constants,
/// not its data and not those of libraries. Says how many bytes of them were resident. Elsewhere than on Linux
/// it does nothing.
///
/// # Errors
///
/// When `/proc/self` cannot be read, or the kernel refuses.
#[cfg(target_os = "linux")]
pub fn trim() -> std::io::Result<u64> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let smaps = std::io::BufReader::new(std::fs::File::open("/proc/self/smaps")?);
    let mut resident = 0;
    for mapping in mapping::of_file(smaps, &program)? {
        give_back(&mapping)?;
        resident += mapping.resident;
    }
    Ok(resident)
}

#[cfg(not(target_os = "linux"))]
pub fn trim() -> std::io::Result<u64> {
    Ok(0)
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "madvise has no safe form")]
fn give_back(mapping: &mapping::Mapping) -> std::io::Result<()> {
    use rustix::mm::{Advice, madvise};

    let start = std::ptr::with_exposed_provenance_mut(mapping.start);
    // SAFETY: the range is one whole mapping of this process, as the kernel has just told it. It is private, of
    // a file, cannot be written, and none of its pages is anonymous, in memory or in swap: none differs from the file's. So what any
    // thread reads there, now or later, is the same with and without this call: a page that is not resident is
    // read from the file, as each of them was when it was first touched. That the file does not change under a
    // running program is what the program relies on anyway, for each page that it has not touched yet. Nobody
    // makes the range writable in between: the loader, which does for a moment, has ended before `main`.
    unsafe { madvise(start, mapping.len, Advice::LinuxDontNeed) }?;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    /// Of this test's program, in KiB: what is resident of files.
    fn resident() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("RssFile:"));
        line.unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .unwrap()
    }

    #[test]
    fn the_code_is_given_back_and_the_program_goes_on() {
        // Touches the code of a collection, a formatter and a thread.
        let work = || {
            let words: std::collections::BTreeMap<_, _> =
                (0..100).map(|n| (format!("{n:08x}"), n)).collect();
            std::thread::spawn(move || words.values().sum::<u32>())
                .join()
                .unwrap()
        };
        assert_eq!(work(), 4_950);
        let before = resident();
        let told = super::trim().unwrap() / 1024;
        let after = resident();
        assert_eq!(work(), 4_950);
        println!(
            "of files: {before} KiB resident, {told} KiB of them the program's own, {after} KiB after"
        );
        assert!(told > 100, "{told}");
        assert!(after < before, "{after} KiB after {before} KiB");
    }
}
