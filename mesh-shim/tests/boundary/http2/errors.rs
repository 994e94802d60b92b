//! Framing errors, each at each front: the connection or the stream ends with the code of RFC 9113, and
//! others are served all the same.

use super::{PROTOCOL, control, messages};
use crate::Fronts;
use crate::frames::{Client, End};

/// A name, what is sent after the SETTINGS, the stream that is looked at, and the ends that are right.
pub(super) type Case = (&'static str, fn() -> Vec<u8>, u32, &'static [End]);

fn cases() -> impl Iterator<Item = &'static Case> {
    messages::CASES.iter().chain(control::CASES)
}

#[tokio::test]
async fn framing_errors_have_the_codes_of_the_rfc() {
    let fronts = Fronts::start().await;
    let (mut bad, mut others) = (Vec::new(), 0);
    for (front, addr) in fronts.all() {
        for (name, sent, stream, ends) in cases() {
            let mut client = Client::connect(addr).await;
            client.wire.send(sent()).await;
            let mut end = client.end(*stream).await;
            // Where the connection ends with an error of another name, it is h2's choice of the name.
            let ends_it = ends.iter().any(|end| matches!(end, End::GoAway(_)));
            let allowed =
                |end: &End| ends.contains(end) || (ends_it && *end == End::GoAway(PROTOCOL));
            if !allowed(&end) && matches!(end, End::Status(200)) {
                end = client.end(*stream).await;
            }
            others += usize::from(allowed(&end) && !ends.contains(&end));
            if !allowed(&end) {
                bad.push(format!("{front}: {name}: {end:?}, and not {ends:?}"));
            }
        }
        // The others are served all the same.
        fronts.seen(addr).await;
    }
    println!(
        "{} cases at {} fronts, {others} with PROTOCOL_ERROR in place of the nearer code",
        cases().count(),
        fronts.all().len()
    );
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
