//! Flags and environment of `mesh-shim`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::config::{
    App, AppProtocol, Application, Config, DrainTimes, Egress, Given, HEALTH, INBOUND, JoinOptions,
    METRICS, OUTBOUND, Said, Upstream, parse_duration, parse_listen,
};
use crate::error::ShimError;
use crate::ingress::{HttpsRedirect, IngressConfig, IngressListen, Passthrough};
use crate::logging::LogFormat;
use crate::transparent::Rules;

/// The mesh beside an application that cannot link it.
#[derive(Debug, Parser)]
#[command(
    name = "mesh-shim",
    version,
    about = "The mesh beside an application that cannot link it",
    long_about = "The mesh beside an application that cannot link it.\n\n\
        Inbound, it ends mutual TLS and hands requests to the application's plaintext port.\n\
        Outbound, it takes the application's plaintext requests and sends them through the mesh:\n\
        by http_proxy (the host in the URL names the service), or by one local port per service.",
    after_help = "Examples:\n  \
        mesh-shim run --as legacy-stock --port 9000 -- python3 app.py\n  \
        mesh-shim --as batch --upstream reviews=127.0.0.1:9001\n  \
        mesh-shim --app shop/web=9000,outbound=7150 --app shop/redis=6379,protocol=tcp\n  \
        mesh-shim --config shim.yaml --workers 4 --check\n\n\
        The mesh is joined as MESH_CONTROL and MESH_IDENTITY say; `meshctl explain M1002` when it is not.",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
    /// What `--check` prints.
    #[arg(skip)]
    pub(crate) shown: Vec<String>,
    /// Settings that are not defaults, and who says so.
    #[arg(skip)]
    pub(crate) said: Vec<(String, String)>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start an application with the shim around it, and end with the application's exit code
    Run(Run),
    /// Proxy for an application that runs by itself (also without this word)
    Proxy(Flags),
    /// Redirect the connections that this machine makes to the shim's transparent listener
    Init(Init),
    /// Take the rules of `init` away again
    Undo(Undo),
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    flags: Flags,
    /// The application's command, after `--`
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The shim's transparent listener
    #[arg(long, value_name = "PORT", default_value_t = 7141)]
    port: u16,
    /// The user that the shim runs as, whose connections are left alone
    #[arg(long, value_name = "N")]
    uid: Option<u32>,
    /// The mark of the shim's connections (its own --mark), which are left alone
    #[arg(long, value_name = "N")]
    mark: Option<u32>,
    /// A port that is left alone; may be repeated
    #[arg(long = "exclude-port", value_name = "PORT")]
    exclude: Vec<u16>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Undo {
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct Flags {
    /// A YAML file with settings: each flag's name without the dashes. A flag is above its variable
    /// (MESH_SHIM_ and its name), which is above the file
    #[arg(long, value_name = "PATH", env = "MESH_SHIM_CONFIG", hide_env = true)]
    config: Option<PathBuf>,

    /// Print what is in force and where each value comes from, and end
    #[arg(long)]
    check: bool,

    /// How log lines look
    #[arg(long, value_enum, default_value_t)]
    log: LogFormat,

    /// The service that the application is, like legacy-stock or shop/legacy-stock [env: MESH_SERVICE]
    #[arg(long = "as", value_name = "SERVICE")]
    service: Option<String>,

    /// One of several applications of this machine, instead of --as and --port; may be repeated. Keys:
    /// protocol, address, inbound, advertise, outbound, upstream=[tcp://]SERVICE@ADDR (repeated),
    /// identity, forwarded. Several in the variable are separated by `;`
    #[arg(
        long = "app",
        value_name = "SERVICE[=PORT][,KEY=VALUE...]",
        value_delimiter = ';'
    )]
    apps: Vec<Said>,

    /// The application's own port, plaintext; without it nothing is taken in
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,

    /// The address that the application listens on
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    app_address: std::net::IpAddr,

    /// What the application speaks
    #[arg(long, value_enum, default_value_t)]
    app_protocol: AppProtocol,

    /// Tell the application who asked: Forwarded, X-Forwarded-For, -Proto, -Host and Via
    #[arg(
        long,
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        value_name = "BOOL"
    )]
    forwarded: bool,

    /// How long the application may take until its port accepts
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = parse_duration)]
    app_ready: Duration,

    /// Mutual-TLS listener of the mesh
    #[arg(long, value_name = "ADDR", default_value_t = INBOUND, value_parser = parse_listen)]
    inbound: SocketAddr,

    /// The address that others are told, when it is not the one listened on
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    advertise: Option<SocketAddr>,

    /// Forward proxy for the application, or `off`
    #[arg(long, value_name = "ADDR", default_value_t = Outbound(Some(OUTBOUND)))]
    outbound: Outbound,

    /// Hosts that the policy does not know, asked for at the forward proxy
    #[arg(long, value_enum, default_value_t)]
    egress: Egress,

    /// A local port that is one service: requests, or bytes if the policy says `appProtocol: tcp` of
    /// it or the name begins with tcp://; may be repeated
    #[arg(
        long = "upstream",
        value_name = "[tcp://]SERVICE=ADDR",
        value_delimiter = ','
    )]
    upstreams: Vec<Upstream>,

    /// Listener for connections that `mesh-shim init` redirects, such as 127.0.0.1:7141
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    transparent: Option<SocketAddr>,

    /// Listener for TLS that is passed on untouched, to the service that its SNI names
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    sni: Option<SocketAddr>,

    /// Listener for clients outside the mesh, with TLS unless it begins with http://; the routes of the
    /// policy that have the service of --as for a parent decide by host; may be repeated
    #[arg(long, value_name = "[http://]ADDR", value_delimiter = ',')]
    ingress: Vec<IngressListen>,

    /// Directory of NAME.crt with NAME.key (or NAME/tls.crt with NAME/tls.key) for --ingress; changes are
    /// taken over while it runs, and `default` is for clients that ask for no name
    #[arg(long, value_name = "DIR")]
    certificates: Option<PathBuf>,

    /// Answer requests of http:// listeners with https:// of the same host, 308 (at another port than 443:
    /// --https-redirect=8443)
    #[arg(
        long,
        value_name = "PORT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "443",
        default_value_t = HttpsRedirect(None)
    )]
    https_redirect: HttpsRedirect,

    /// TLS for this host (*.example.com for all below it) is not ended at --ingress but carried to the
    /// service; may be repeated
    #[arg(
        long = "passthrough",
        value_name = "HOST=SERVICE[:PORT]",
        value_delimiter = ','
    )]
    passthrough: Vec<Passthrough>,

    /// Mark the shim's own connections (SO_MARK, needs CAP_NET_ADMIN), as `init --mark` leaves alone
    #[arg(long, value_name = "N")]
    mark: Option<u32>,

    /// /livez and /readyz
    #[arg(long, value_name = "ADDR", default_value_t = HEALTH, value_parser = parse_listen)]
    health: SocketAddr,

    /// /metrics
    #[arg(long, value_name = "ADDR", default_value_t = METRICS, value_parser = parse_listen)]
    metrics: SocketAddr,

    /// Worker threads, each with its own runtime and connections
    #[arg(long, value_name = "N", default_value = "1")]
    workers: NonZeroUsize,

    /// On a stop: time from unready until new connections are refused
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    drain_unready: Duration,

    /// On a stop: time for requests in flight after that
    #[arg(long, value_name = "TIME", default_value = "25s", value_parser = parse_duration)]
    drain_in_flight: Duration,

    /// Take the listeners over from the shim that runs with the same PATH, if there is one, and hand
    /// them to the next that starts with it; a Unix socket
    #[arg(long, value_name = "PATH")]
    takeover: Option<PathBuf>,

    /// The control server, https://host:7443 [env: MESH_CONTROL]
    #[arg(long, value_name = "URL")]
    control: Option<String>,

    /// Where the identity comes from: token:PATH or dir:PATH; {service}, {namespace} and {name} are the
    /// application's [env: MESH_IDENTITY]
    #[arg(long, value_name = "SOURCE")]
    identity: Option<String>,

    /// A policy file; with it no control server is needed [env: MESH_POLICY]
    #[arg(long, value_name = "PATH")]
    policy: Option<String>,

    /// Directory for the last good snapshot and identity; {service}, {namespace} and {name} are the
    /// application's [env: MESH_STATE]
    #[arg(long, value_name = "DIR")]
    state: Option<String>,
}

/// Settings of one application, which `--app` has keys for or does without.
const ONE: [&str; 12] = [
    "as",
    "port",
    "inbound",
    "advertise",
    "outbound",
    "upstream",
    "transparent",
    "sni",
    "ingress",
    "certificates",
    "https-redirect",
    "passthrough",
];

/// An address, or nothing for `off`.
#[derive(Debug, Clone, Copy)]
struct Outbound(Option<SocketAddr>);

impl std::fmt::Display for Outbound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(addr) => addr.fmt(f),
            None => f.write_str("off"),
        }
    }
}

impl std::str::FromStr for Outbound {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // YAML reads `off` as a boolean.
        if text == "off" || text == "false" {
            Ok(Self(None))
        } else {
            parse_listen(text).map(|addr| Self(Some(addr)))
        }
    }
}

impl Cli {
    fn flags(&self) -> &Flags {
        match &self.command {
            Some(Command::Run(run)) => &run.flags,
            Some(Command::Proxy(flags)) => flags,
            _ => &self.flags,
        }
    }

    /// Whether the settings are only to be looked at.
    pub(crate) fn is_check(&self) -> bool {
        self.flags().check
    }

    /// How log lines look.
    pub(crate) fn log(&self) -> LogFormat {
        self.flags().log
    }

    /// What `init` and `undo` have to say; `None` for everything else.
    pub(crate) fn rules(&self) -> Option<Result<String, ShimError>> {
        match &self.command {
            Some(Command::Init(init)) => {
                let rules = Rules {
                    port: init.port,
                    uid: init.uid,
                    mark: init.mark,
                    exclude: init.exclude.clone(),
                };
                Some(rules.init(init.dry_run))
            }
            Some(Command::Undo(undo)) => Some(Rules::undo(undo.dry_run)),
            _ => None,
        }
    }

    /// Checks what no single flag can know.
    pub(crate) fn into_config(self) -> Result<Config, ShimError> {
        let (flags, command) = match self.command {
            Some(Command::Run(run)) => (run.flags, run.command),
            Some(Command::Proxy(flags)) => (flags, Vec::new()),
            // They end before there is anything to configure.
            Some(Command::Init(_) | Command::Undo(_)) => (self.flags, Vec::new()),
            None => (self.flags, Vec::new()),
        };
        let node = !flags.apps.is_empty();
        let applications = match node {
            true => flags.applications(&command, &self.said)?,
            false => vec![flags.application()?],
        };
        if flags.takeover.is_some() && !command.is_empty() {
            return Err(ShimError::configuration(
                "--takeover with `run`: the application is the child of one shim and cannot be handed over",
                "start the application by itself, and the shim with `proxy`",
            ));
        }
        Ok(Config {
            applications,
            node,
            command,
            mark: flags.mark,
            egress: flags.egress,
            health: flags.health,
            metrics: flags.metrics,
            workers: flags.workers,
            drain: DrainTimes {
                unready: flags.drain_unready,
                in_flight: flags.drain_in_flight,
            },
            takeover: flags.takeover,
        })
    }
}

impl Flags {
    /// The one that `--as` names.
    fn application(&self) -> Result<Application, ShimError> {
        let service = given(&self.service).ok_or_else(|| {
            ShimError::configuration(
                "the name of the service is missing",
                "give --as legacy-stock, or set MESH_SERVICE; `mesh-shim --help` shows all flags",
            )
        })?;
        if self.port == Some(0) {
            return Err(ShimError::configuration(
                "--port 0: the application's port must be known",
                "give the port that the application listens on; it is also set as PORT for it",
            ));
        }
        let app = self.port.map(|port| App {
            addr: SocketAddr::new(self.app_address, port),
            protocol: self.app_protocol,
            forwarded: self.forwarded,
            ready_within: self.app_ready,
        });
        let ingress = IngressConfig {
            listen: self.ingress.clone(),
            certificates: self.certificates.clone(),
            https_redirect: self.https_redirect.0,
            passthrough: self.passthrough.clone(),
        }
        .checked()?;
        let others = self.transparent.or(self.sni);
        if app.is_none()
            && self.outbound.0.is_none()
            && self.upstreams.is_empty()
            && others.is_none()
            && ingress.listen.is_empty()
        {
            return Err(ShimError::configuration(
                "nothing to do: no --port to take requests in, no outbound listener",
                "give --port, --outbound, --upstream or --ingress",
            ));
        }
        Ok(Application {
            app,
            inbound: self.inbound,
            advertise: self.advertise,
            outbound: self.outbound.0,
            upstreams: self.upstreams.clone(),
            transparent: self.transparent,
            sni: self.sni,
            ingress,
            join: self.join().of(&service),
            service,
        })
    }

    /// Those of `--app`.
    fn applications(
        &self,
        command: &[OsString],
        said: &[(String, String)],
    ) -> Result<Vec<Application>, ShimError> {
        let next = "give each application what is its own in its --app, as in \
                    --app shop/web=9000,outbound=7150";
        if !command.is_empty() {
            let what = "--app with `run`: only one application is started";
            return Err(ShimError::configuration(what, next));
        }
        // Of one application, so of none in particular.
        if let Some((long, from)) = said.iter().find(|(long, _)| ONE.contains(&long.as_str())) {
            let what = format!("--{long} ({from}) with --app: whose is it?");
            return Err(ShimError::configuration(what, next));
        }
        for (variable, why) in [
            (
                "MESH_ADMIN",
                "each application would open it; --health and --metrics are there",
            ),
            (
                "OTEL_SERVICE_NAME",
                "the spans of all applications would have one name",
            ),
        ] {
            if std::env::var_os(variable).is_some_and(|value| !value.is_empty()) {
                return Err(ShimError::configuration(
                    format!("{variable} with --app: {why}"),
                    format!("unset {variable}"),
                ));
            }
        }
        Given {
            address: self.app_address,
            protocol: self.app_protocol,
            forwarded: self.forwarded,
            ready_within: self.app_ready,
            join: self.join(),
        }
        .applications(self.apps.clone())
    }

    fn join(&self) -> JoinOptions {
        JoinOptions {
            control: given(&self.control),
            identity: given(&self.identity),
            policy: given(&self.policy),
            state: given(&self.state),
        }
    }
}

/// An empty variable says nothing.
fn given(text: &Option<String>) -> Option<String> {
    text.clone().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Config, ShimError> {
        let cli = Cli::try_parse_from(std::iter::once(&"mesh-shim").chain(args)).unwrap();
        cli.into_config()
    }

    #[test]
    fn run_takes_the_command_after_the_two_dashes() {
        let config = parse(&[
            "run", "--as", "legacy", "--port", "9000", "--", "python3", "app.py", "--port", "1",
        ])
        .unwrap();
        assert_eq!(config.command, ["python3", "app.py", "--port", "1"]);
        let one = &config.applications[0];
        assert_eq!(one.app.unwrap().addr.port(), 9000);
        assert_eq!((one.inbound, one.outbound), (INBOUND, Some(OUTBOUND)));
    }

    #[test]
    fn without_a_word_it_proxies() {
        let a = parse(&[
            "--as",
            "batch",
            "--upstream",
            "reviews=127.0.0.1:9001",
            "--outbound",
            "off",
        ]);
        let a = a.unwrap();
        let one = &a.applications[0];
        assert!(a.command.is_empty() && one.app.is_none() && one.outbound.is_none());
        let b = parse(&["proxy", "--as", "batch", "--upstream", "reviews=9001"]).unwrap();
        assert_eq!(one.upstreams, b.applications[0].upstreams);
    }

    #[test]
    fn what_cannot_work_is_refused_with_a_next_step() {
        for args in [
            &["proxy", "--port", "1"][..],
            &["--as", "x", "--outbound", "off"],
            &["--as", "x", "--port", "0"],
            &["--as", "x", "--ingress", "0.0.0.0:443"],
            &["--as", "x", "--certificates", "/tmp"],
            &["--as", "x", "--passthrough", "a.example.com=web"],
            &["--as", "x", "--https-redirect"],
            &[
                "--as",
                "x",
                "--ingress",
                "http://127.0.0.1:80,127.0.0.1:80",
                "--certificates",
                "/tmp",
            ],
            &["run", "--app", "x=1", "--", "true"],
            &["--app", "x=1", "--app", "x=2"],
        ] {
            let error = parse(args).unwrap_err();
            assert_eq!(error.code(), Some("M1003"));
            assert!(error.to_string().contains("\nnext: "));
        }
    }

    #[test]
    fn help_shows_how_to_run_an_application() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("mesh-shim run --as legacy-stock --port 9000 -- python3 app.py"));
    }
}
