//! The shop's processes: started, broken, healed, stopped.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::breaks::Break;
use super::census;
use super::figures::Recorder;
use super::load;
use super::meshctl::Meshctl;
use super::plans::{control_plan, free_port, has_python};
use super::policy;
use super::process::Process;
use super::say::say_about;
use super::scratch::Scratch;

/// The instance that is broken.
pub(crate) const VICTIM: &str = "reviews-v1#2";

/// Instances of `reviews`: name, version.
const REVIEWS: [(&str, &str); 3] = [
    ("reviews-v1#1", "v1"),
    (VICTIM, "v1"),
    ("reviews-v2#1", "v2"),
];

/// Everything that runs.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(super) run: String,
    pub(super) seed: u64,
    pub(super) scratch: Scratch,
    control: Option<Process>,
    /// Where the control server listens; the same after a restart.
    pub(super) control_addr: SocketAddr,
    page: SocketAddr,
    meshctl: Meshctl,
    pub(super) token: String,
    services: BTreeMap<String, Process>,
    /// Counts names of processes that were started anew.
    restarts: u32,
    pub(super) legacy_port: u16,
    load: Option<(CancellationToken, JoinHandle<()>)>,
    pub(crate) recorder: Arc<Recorder>,
}

/// What the processes that call others have counted since they started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) retries: u64,
    pub(crate) rescued: u64,
    pub(crate) ejections: u64,
}

impl Counters {
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            retries: self.retries.saturating_sub(before.retries),
            rescued: self.rescued.saturating_sub(before.rescued),
            ejections: self.ejections.saturating_sub(before.ejections),
        }
    }
}

impl Shop {
    /// Starts everything; returns when `web` is ready and the load is on.
    pub(crate) async fn open(page_port: u16, seed: u64) -> Result<Self, String> {
        let run = format!("{}-{:04x}", std::process::id(), fastrand::u16(..));
        let scratch =
            Scratch::new(&run).map_err(|error| format!("temporary directory: {error}"))?;
        let logs = scratch
            .dir("logs")
            .map_err(|error| format!("temporary directory: {error}"))?;
        let start = |listen: u16| control_plan(&run, &scratch, &logs, listen, page_port);
        let control = Process::start(&start(0)).await?;
        let address = |key: &str| -> Result<SocketAddr, String> {
            control
                .fact(key)?
                .parse()
                .map_err(|_| format!("control: bad `{key}`"))
        };
        let (control_addr, page) = (address("grpc")?, address("page")?);
        let token = control.fact("token")?.to_owned();
        let meshctl = Meshctl::new(&run, control.fact("admin")?);
        let mut shop = Self {
            seed,
            control_addr,
            page,
            meshctl,
            token,
            services: BTreeMap::new(),
            restarts: 0,
            legacy_port: free_port()?,
            load: None,
            recorder: Arc::new(Recorder::default()),
            control: Some(control),
            run,
            scratch,
        };
        shop.apply(policy::GOOD).await?;

        let mut plans = vec![shop.plan("ratings", &["ratings"])];
        for (name, version) in REVIEWS {
            plans.push(shop.reviews_plan(name, version));
        }
        plans.push(shop.legacy_plan());
        plans.push(shop.plan("web", &["web"]));
        let started = plans.iter().map(Process::start);
        for process in futures_util::future::join_all(started).await {
            let process = process?;
            shop.services.insert(process.name().to_owned(), process);
        }
        shop.start_load()?;
        Ok(shop)
    }

    /// The address of the page.
    pub(crate) fn page(&self) -> SocketAddr {
        self.page
    }

    /// The address that users call.
    pub(crate) fn web(&self) -> &str {
        self.services
            .get("web")
            .and_then(|web| web.fact("addr").ok())
            .unwrap_or("-")
    }

    pub(crate) fn meshctl(&self) -> &Meshctl {
        &self.meshctl
    }

    /// How the legacy application runs: `python3` or `built-in`.
    pub(crate) fn legacy(&self) -> &'static str {
        if has_python() { "python3" } else { "built-in" }
    }

    /// Does it. What is broken already is broken once more.
    pub(crate) async fn break_it(&mut self, what: Break) -> Result<(), String> {
        match what {
            Break::Flaky => self.tell(VICTIM, "fail 30").await,
            Break::Slow => self.tell(VICTIM, "slow 400").await,
            Break::Kill => {
                if let Some(victim) = self.services.remove(VICTIM) {
                    victim.kill().await;
                }
                Ok(())
            }
            Break::Cert => self.replace_ratings(true).await,
            Break::Policy => self.apply(&policy::denying()).await,
            Break::Control => {
                if let Some(control) = self.control.take() {
                    control.kill().await;
                }
                Ok(())
            }
        }
    }

    /// Takes one break back.
    pub(crate) async fn heal(&mut self, what: Break) -> Result<(), String> {
        match what {
            Break::Flaky | Break::Slow => self.tell(VICTIM, "heal").await,
            Break::Kill => {
                if !self.services.contains_key(VICTIM) {
                    let victim = Process::start(&self.reviews_plan(VICTIM, "v1")).await?;
                    self.services.insert(VICTIM.to_owned(), victim);
                }
                Ok(())
            }
            Break::Cert => self.replace_ratings(false).await,
            Break::Policy => self.apply(policy::GOOD).await,
            Break::Control => {
                if self.control.is_none() {
                    let logs = self.scratch.path().join("logs");
                    let (listen, page) = (self.control_addr.port(), self.page.port());
                    let plan = control_plan(&self.run, &self.scratch, &logs, listen, page);
                    self.control = Some(Process::start(&plan).await?);
                }
                Ok(())
            }
        }
    }

    /// Whether the control server runs.
    pub(crate) fn has_control(&self) -> bool {
        self.control.is_some()
    }

    /// What was counted by all who call others.
    pub(crate) fn counters(&self) -> BTreeMap<String, Counters> {
        self.services
            .iter()
            .map(|(name, process)| {
                let counters = Counters {
                    retries: process.stat("retries"),
                    rescued: process.stat("rescued"),
                    ejections: process.stat("ejections"),
                };
                (name.clone(), counters)
            })
            .collect()
    }

    /// Endpoints that `web` has out of rotation now.
    pub(crate) fn out_of_rotation(&self) -> u64 {
        self.services.get("web").map_or(0, |web| web.stat("out"))
    }

    /// Says which endpoints are out of rotation, and why.
    pub(crate) async fn tell_why_out(&self) {
        if !self.has_control() {
            return;
        }
        match self.meshctl.out_of_rotation().await {
            Ok(out) => {
                for (instance, reason) in out {
                    say_about("EJECTED", format_args!("{instance} ({reason})"));
                }
            }
            Err(error) => say_about("EJECTED", error),
        }
    }

    fn start_load(&mut self) -> Result<(), String> {
        let web = self.service("web")?.fact("addr")?;
        let web: SocketAddr = web.parse().map_err(|_| "web: bad address".to_owned())?;
        let stop = CancellationToken::new();
        let load = tokio::spawn(load::run(web, self.recorder.clone(), stop.clone()));
        self.load = Some((stop, load));
        Ok(())
    }

    /// Stops everything in order and says what was left behind: nothing, if all is well.
    pub(crate) async fn close(mut self) -> Vec<String> {
        let mut left = Vec::new();
        if let Some((stop, load)) = self.load.take() {
            stop.cancel();
            if load.await.is_err() {
                left.push("the load ended by a panic".to_owned());
            }
        }
        let mut addresses: Vec<SocketAddr> = [
            self.web(),
            &self.control_addr.to_string(),
            &self.page.to_string(),
        ]
        .iter()
        .filter_map(|addr| addr.parse().ok())
        .collect();
        addresses.push(SocketAddr::from((Ipv4Addr::LOCALHOST, self.legacy_port)));
        // Callers first, so that nobody calls what is gone.
        let services = std::mem::take(&mut self.services);
        let (web, others): (Vec<_>, Vec<_>) = services
            .into_values()
            .partition(|process| process.name() == "web");
        for group in [web, others, self.control.take().into_iter().collect()] {
            let stops = group.into_iter().map(|process| async {
                let name = process.name().to_owned();
                (!process.stop().await).then(|| format!("{name} did not stop by itself"))
            });
            left.extend(
                futures_util::future::join_all(stops)
                    .await
                    .into_iter()
                    .flatten(),
            );
        }
        for member in census::members(&self.run) {
            left.push(format!("process {}: {}", member.pid, member.command));
            if let Some(pid) = rustix::process::Pid::from_raw(member.pid) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        for addr in addresses {
            if let Err(error) = std::net::TcpListener::bind(addr) {
                left.push(format!("port {addr}: {error}"));
            }
        }
        let path = self.scratch.path().to_owned();
        drop(self);
        if path.exists() {
            left.push(format!("files in {}", path.display()));
        }
        left
    }

    /// Resident memory of everything, in MiB.
    pub(crate) fn memory_mib(&self) -> u64 {
        census::total_rss_kib(&self.run) / 1024
    }

    async fn apply(&self, text: &str) -> Result<(), String> {
        let path = self.scratch.path().join("shop.yaml");
        std::fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        self.meshctl.apply(&path).await
    }

    async fn tell(&mut self, name: &str, line: &str) -> Result<(), String> {
        match self.services.get_mut(name) {
            Some(process) => {
                process.tell(line).await;
                Ok(())
            }
            None => Err(format!("{name} is not running: `heal` first")),
        }
    }

    /// A second `ratings` first, then the first one leaves: no call falls between them.
    async fn replace_ratings(&mut self, rogue: bool) -> Result<(), String> {
        self.restarts += 1;
        let args: &[&str] = if rogue {
            &["ratings", "--rogue"]
        } else {
            &["ratings"]
        };
        let mut plan = self.plan("ratings", args);
        plan.name = format!("ratings-{}", self.restarts);
        let fresh = Process::start(&plan).await?;
        if let Some(old) = self.services.insert("ratings".to_owned(), fresh) {
            old.stop().await;
        }
        Ok(())
    }

    fn service(&self, name: &str) -> Result<&Process, String> {
        self.services
            .get(name)
            .ok_or_else(|| format!("{name} is not running"))
    }
}

/// Between two looks at a figure that a process prints.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(50);
