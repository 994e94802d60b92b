use super::*;

fn with(file: &str, args: &[&str]) -> Result<Cli, String> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("mesh-shim-config-{}-{next}.yaml", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, file).unwrap();
    let text = path.display().to_string();
    let all = ["mesh-shim"]
        .into_iter()
        .chain(args.iter().copied())
        .chain(["--config", text.as_str()]);
    let parsed = parse(all.map(OsString::from).collect());
    let _ = std::fs::remove_file(&path);
    parsed.map_err(|failure| match failure {
        Failure::Clap(error) => error.to_string(),
        Failure::Shim(error) => error.to_string().replace(&text, "shim.yaml"),
    })
}

#[test]
fn a_flag_is_above_the_file_and_the_file_above_the_default() {
    let file = "as: shop/web\nworkers: 3\ndrain-unready: 2s\n\
                upstream:\n- reviews=9001\n- tcp://redis:6379=6379\n";
    let cli = with(file, &["--workers", "2", "--outbound", "off"]).unwrap();
    let shown = cli.shown.join("\n");
    let line = |name: &str| {
        let mut lines = shown.lines();
        let line = lines.find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} in {shown}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("workers"), "workers 2 flag");
    assert!(line("drain-unready").ends_with(".yaml:3:1"), "{shown}");
    assert_eq!(line("drain-in-flight"), "drain-in-flight 25s default");
    let config = cli.into_config().unwrap();
    assert_eq!(config.workers.get(), 2);
    assert_eq!(config.drain.unready, std::time::Duration::from_secs(2));
    let one = &config.applications[0];
    assert_eq!((one.service.as_str(), one.upstreams.len()), ("shop/web", 2));
    assert!(one.upstreams[1].tcp);
}

#[test]
fn the_file_serves_run_and_proxy_too() {
    let args = ["proxy", "--workers", "2"];
    let config = with("as: shop/web\nport: 9000\n", &args).unwrap();
    let config = config.into_config().unwrap();
    let app = config.applications[0].app.unwrap();
    assert_eq!((config.workers.get(), app.addr.port()), (2, 9000));
}

#[test]
fn several_applications_are_a_list_and_what_is_of_one_is_refused_with_its_place() {
    let file = "state: /s/{name}\nforwarded: true\napp:\n- shop/web=9000,outbound=7150\n\
                - shop/redis=6379,protocol=tcp\n";
    let config = with(file, &[]).unwrap().into_config().unwrap();
    assert!(config.node && config.applications.len() == 2);
    assert!(config.applications[1].app.unwrap().forwarded);
    assert_eq!(
        config.applications[1].join.state.as_deref(),
        Some("/s/redis")
    );
    for (file, args, expected) in [
        ("app: shop/web=1\noutbound: off\n", &[][..], "--outbound ("),
        (
            "app: shop/web=1\n",
            &["--port", "9000"],
            "--port (flag) with --app",
        ),
        (
            "app: shop/web=1\n",
            &["--as", "x"],
            "--as (flag) with --app",
        ),
    ] {
        let error = with(file, args).unwrap().into_config().unwrap_err();
        assert_eq!(error.code(), Some("M1003"));
        assert!(error.to_string().contains(expected), "{error}");
    }
    let error = with("workers: 1\napp: shop/web\n", &[]).map(|cli| cli.shown);
    let error = error.unwrap_err();
    assert!(
        error.starts_with("shim.yaml:2:1: ") && error.contains("nothing to do"),
        "{error}"
    );
}

#[test]
fn a_mistake_is_told_with_its_place() {
    for (file, expected) in [
        (
            "as: shop/web\nwrokers: 2\n",
            "shim.yaml:2:1: unknown key `wrokers`, did you mean `workers`? [M1003]",
        ),
        (
            "as: x\n\nworkers: none\n",
            "shim.yaml:3:1: invalid value 'none'",
        ),
        ("drain-unready: 5\n", "shim.yaml:1:1: invalid value '5'"),
        ("workers: 1\nworkers: 2\n", "shim.yaml:2:1"),
        ("- a\n", "shim.yaml:1:1"),
        ("a: [\n", "shim.yaml:"),
    ] {
        let error = with(file, &[]).map(|cli| cli.shown).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
        assert!(error.contains("M1003"), "{error}");
    }
}

#[test]
fn help_is_in_groups() {
    let args = ["mesh-shim", "--help"].map(OsString::from).to_vec();
    let Err(Failure::Clap(help)) = parse(args) else {
        panic!("no help");
    };
    let help = help.to_string();
    for heading in [
        "Application:",
        "Node:",
        "Outbound:",
        "Ingress:",
        "Mesh:",
        "Life:",
        "Examples:",
    ] {
        assert!(help.contains(heading), "{heading} in {help}");
    }
}
