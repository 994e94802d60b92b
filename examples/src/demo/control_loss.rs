//! The control server is killed, stays away, and comes back.
//!
//! Users must lose nothing; a client that is restarted meanwhile must serve from its disk; and the
//! server that is back must not send everything again.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::breaks::Break;
use super::figures::Figures;
use super::meshctl::Client;
use super::say::{plain, say, short};
use super::shop::{LOOK_EVERY, Shop};

/// Members that subscribe: web, three reviews, ratings, legacy-stock's shim.
const MEMBERS: usize = 6;
/// Everybody is back within this.
const BACK_WITHIN: Duration = Duration::from_secs(20);
/// A restart without a control server does not wait for one.
const FROM_DISK_WITHIN: Duration = Duration::from_secs(3);

pub(crate) fn run() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            plain(error);
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(rehearse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            plain(format_args!("FAILED  {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn rehearse() -> Result<(), String> {
    let mut shop = Shop::open(0, 1).await?;
    let outcome = act(&mut shop).await;
    let left = shop.close().await;
    outcome?;
    if left.is_empty() {
        Ok(())
    } else {
        Err(format!("left behind: {}", left.join(", ")))
    }
}

async fn act(shop: &mut Shop) -> Result<(), String> {
    unharmed(shop, "healthy", Duration::from_secs(2)).await?;
    let before = connected(shop, "before").await?;
    let first: u64 = before.iter().filter_map(|client| client.sent).sum();

    shop.break_it(Break::Control).await?;
    unharmed(shop, "without control server", Duration::from_secs(3)).await?;
    let took = shop.restart_web().await?;
    say(format_args!("web restarted from disk in {}", short(took)));
    if took > FROM_DISK_WITHIN {
        return Err(format!(
            "web took {} to start without control server",
            short(took)
        ));
    }
    unharmed(
        shop,
        "web restarted, without control server",
        Duration::from_secs(3),
    )
    .await?;

    shop.heal(Break::Control).await?;
    let after = connected(shop, "after").await?;
    let again: u64 = after.iter().filter_map(|client| client.sent).sum();
    say(format_args!(
        "resources sent: {first} at the first contact, {again} at the second"
    ));
    unharmed(shop, "control server back", Duration::from_secs(2)).await?;
    if after.iter().any(|client| client.sent.is_none()) || first == 0 {
        return Err("meshctl clients does not say how much was sent".to_owned());
    }
    // Everybody holds what is in force. What may be new is the time of a lease, never the policy.
    if again * 4 > first {
        return Err(format!(
            "{again} resources were sent again, {first} in the first place"
        ));
    }
    if before.first().map(|client| &client.revision) != after.first().map(|client| &client.revision)
    {
        return Err("the revision changed over the restart".to_owned());
    }
    Ok(())
}

/// No call of a user fails for this long.
async fn unharmed(shop: &Shop, when: &str, time: Duration) -> Result<(), String> {
    drop(shop.recorder.take());
    sleep(time).await;
    let users: Figures = shop.recorder.take();
    say(format_args!(
        "{when}: {} calls, users see {:.2}%",
        users.calls(),
        users.success()
    ));
    if users.failed > 0 || users.ok == 0 {
        let told = users.last_failure.as_deref().unwrap_or("-");
        return Err(format!(
            "{when}: {} of {} calls failed: {told}",
            users.failed,
            users.calls()
        ));
    }
    Ok(())
}

/// Waits until all members are connected and up to date.
async fn connected(shop: &Shop, when: &str) -> Result<Vec<Client>, String> {
    let began = Instant::now();
    loop {
        let clients = shop.meshctl().clients().await?;
        let current = clients.iter().filter(|client| !client.behind).count();
        if current >= MEMBERS {
            say(format_args!(
                "{when}: {current} members current after {}",
                short(began.elapsed())
            ));
            return Ok(clients);
        }
        if began.elapsed() > BACK_WITHIN {
            return Err(format!(
                "{when}: only {current} of {MEMBERS} are current: {clients:?}"
            ));
        }
        sleep(LOOK_EVERY).await;
    }
}
