//! The policy from its text to the snapshot: forms, errors, precedence, sharing, the store.

mod arbitrary;
mod forms;
mod gateway;
mod golden;
mod knobs;
mod meaning;
mod robust;
mod sample;
mod sharing;
mod traffic;

use mesh_core::policy::{Checked, Options, Source, check};

/// Checks one text under the name `mesh.yaml`.
fn checked(text: &str, options: &Options) -> Checked {
    check(&[Source::new("mesh.yaml", text)], options)
}

/// The snapshot of a text without errors.
fn snapshot(text: &str, options: &Options) -> mesh_core::policy::Snapshot {
    let checked = checked(text, options);
    checked
        .snapshot
        .unwrap_or_else(|| panic!("refused:\n{}", checked.rendered))
}
