use std::hash::Hasher;
use std::sync::Arc;

use twox_hash::XxHash64;

use crate::policy::spec::Resource;

/// Content hash of resources, 16 hex digits: XXH64 (seed 0) over their canonical JSON in the order
/// of their identities. The same in every process; the order of the list does not matter.
pub fn revision(resources: &[Arc<Resource>]) -> Arc<str> {
    let mut sorted: Vec<&Arc<Resource>> = resources.iter().collect();
    sorted.sort_by_cached_key(|r| r.id());
    let mut hash = Sink(XxHash64::with_seed(0));
    for resource in sorted {
        hash.add(resource);
    }
    hash.hex()
}

/// Content hash of one resource.
pub fn resource_revision(resource: &Resource) -> Arc<str> {
    let mut hash = Sink(XxHash64::with_seed(0));
    hash.add(resource);
    hash.hex()
}

struct Sink(XxHash64);

impl Sink {
    /// Fields come in the order of their definition and maps are sorted, so the JSON of equal
    /// resources is equal.
    fn add(&mut self, resource: &Resource) {
        // Neither writing into a hash nor plain data can fail.
        let _ = serde_json::to_writer(&mut *self, resource);
        self.0.write(b"\n");
    }

    fn hex(&self) -> Arc<str> {
        format!("{:016x}", self.0.finish()).into()
    }
}

impl std::io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
