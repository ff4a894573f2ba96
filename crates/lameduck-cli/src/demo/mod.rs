//! `lameduck demo`: a small service on our own server. What it means is decided here, what it answers in `routes`.

mod config;
mod debug;
mod echo;
mod events;
mod group;
mod grpc;
mod routes;
mod telemetry;
mod tls;

use std::{
    error::Error,
    fmt::Write as _,
    io::Write as _,
    path::Path,
    process::{ExitCode, Termination as _},
    sync::Arc,
};

use arc_swap::ArcSwap;
use lameduck::{
    Audit, History, Late, Lifecycle, Outcome, Plan, PlanError, Repeat, Report, Signal, SignalSet,
    StackSignal, Start,
};

use lameduck_http::{Control, Limits, LocalAddr, ServeError};
use lameduck_otlp::Otlp;

use self::config::Config;
use crate::{
    args::{DemoArguments, LateArgument, ParkArgument, RepeatArgument},
    exit::Failure,
};

/// `EX_CONFIG` of sysexits.h: a plan or a configuration that cannot be kept.
const IMPOSSIBLE: u8 = 78;

/// Runs until it was told to stop; the exit code is the outcome's.
pub(crate) fn run(arguments: DemoArguments) -> Result<ExitCode, Failure> {
    let prepared = prepare(&arguments).inspect_err(|failure| {
        // A platform that collects reports finds one also where nothing began.
        if failure.exits_with(IMPOSSIBLE) {
            eprintln!("{}", Report::refusal(Outcome::Impossible, failure.what()));
        }
    });
    let Prepared {
        plan,
        start,
        config,
        otlp,
    } = prepared?;
    let config = Arc::new(ArcSwap::from_pointee(config));
    if let Some(form) = arguments.log {
        telemetry::log(form);
    }
    let outcome = lameduck::run(start, async move |life| {
        observe(&life, &arguments, otlp)?;
        serve(life, arguments, plan, config).await
    });
    Ok(outcome.report())
}

/// What was found in order before anything starts.
struct Prepared {
    plan: Plan,
    start: Start,
    config: Config,
    otlp: Option<Otlp>,
}

fn prepare(arguments: &DemoArguments) -> Result<Prepared, Failure> {
    let (plan, start) = start(arguments)?;
    let config = match &arguments.config {
        Some(path) => Config::read(path).map_err(|error| Failure::new(error).code(IMPOSSIBLE))?,
        None => Config::default(),
    };
    tls::check(arguments).map_err(|error| Failure::new(error).code(IMPOSSIBLE))?;
    let otlp = telemetry::otlp(arguments).map_err(|error| Failure::of(&error).code(IMPOSSIBLE))?;
    Ok(Prepared {
        plan,
        start,
        config,
        otlp,
    })
}

/// Those who tell elsewhere what happens.
fn observe(
    life: &Lifecycle,
    arguments: &DemoArguments,
    otlp: Option<Otlp>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    if arguments.log.is_some() {
        life.observe("log", telemetry::logger(life))?;
    }
    if let Some(otlp) = otlp {
        life.observe("otlp", telemetry::exporter(life, otlp)?)?;
    }
    Ok(())
}

/// The plan: what was detected, then the flags.
fn start(arguments: &DemoArguments) -> Result<(Plan, Start), Failure> {
    let failed = |error: PlanError| Failure::of(&error).code(IMPOSSIBLE);
    let mut detected = Plan::detect().map_err(failed)?;
    let mut plan = detected.plan.clone();
    if let Some(grace) = arguments.grace {
        plan = plan.with_grace(grace).map_err(failed)?;
    }
    if let Some(text) = &arguments.window {
        let window = lameduck::parse_window(text, plan.grace()).ok_or_else(|| {
            Failure::new(format_args!("--window {text} is no window"))
                .hint("give none, the name of a preset such as local or kubernetes, or FLOOR,QUIET,CEILING such as 0.5,0.2,3")
        })?;
        plan = plan.with_window(window).map_err(failed)?;
    }
    plan = match arguments.late {
        Some(LateArgument::Serve) => plan.with_late(Late::Serve),
        Some(LateArgument::Refuse) => plan.with_late(Late::Refuse),
        None => plan,
    };
    plan = match arguments.repeat {
        Some(RepeatArgument::Record) => plan.with_repeat(Repeat::Record),
        Some(RepeatArgument::Escalate) => plan.with_repeat(Repeat::Escalate),
        None => plan,
    };
    if plan != detected.plan {
        detected.reason.push_str(", changed by flags");
    }
    for warning in &detected.warnings {
        eprintln!("warning: {warning}");
    }
    detected.plan = plan.clone();
    let mut start = Start::from(detected)
        .signals(SignalSet::default().with(Signal::Usr1))
        .dump_stacks(StackSignal::default())
        .systemd();
    if arguments.no_sigint {
        start = start.without_sigint();
    }
    if let Some(path) = &arguments.report {
        start = start.report_to(path);
    }
    // An empty variable is none.
    if let Some(place) = arguments.audit.as_deref().filter(|place| !place.is_empty()) {
        let mut audit: Audit = place.parse().map_err(|error| {
            Failure::new(format_args!("--audit {place:?} is {error}")).code(IMPOSSIBLE)
        })?;
        if arguments.audit_argv {
            audit = audit.with_argv();
        }
        if arguments.audit_rotate.is_some() || arguments.audit_keep.is_some() {
            audit = audit.rotate(
                arguments.audit_rotate.unwrap_or(Audit::ROTATE),
                arguments.audit_keep.unwrap_or(Audit::KEEP),
            );
        }
        start = start.audit(audit);
    }
    // An empty variable is none.
    if let Some(path) = arguments
        .history
        .as_deref()
        .filter(|path| !path.as_os_str().is_empty())
    {
        start = start.history(History::file(path));
    }
    Ok((plan, start))
}

async fn serve(
    life: Lifecycle,
    arguments: DemoArguments,
    plan: Plan,
    config: Arc<ArcSwap<Config>>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    group::join(&life, &arguments)?;
    let mut ready = String::new();
    // Probes and admin first: they answer while the service is still starting.
    if let Some(addr) = &arguments.probes {
        let probes = lameduck_http::probes(&life, addr.as_str()).await?;
        write!(ready, "  probes {}", probes.local_addr())?;
    }
    if let Some(addr) = &arguments.admin {
        let mut admin =
            lameduck_http::admin(&life, addr.as_str()).route(lameduck_http::admin_metrics());
        if let Some(path) = &arguments.admin_token_file {
            admin = admin.token_file(path);
        }
        for name in &arguments.admin_host {
            admin = admin.host(name);
        }
        if arguments.admin_debug {
            admin = debug::routes()
                .into_iter()
                .fold(admin.with_debug(), lameduck_http::Admin::route);
        }
        let admin = admin.await?;
        write!(ready, "  admin {}", admin.local_addr())?;
    } else if arguments.admin_token_file.is_some() {
        // A platform may set the variable for every service.
        eprintln!("warning: a token file without --admin: there is nothing to act on");
    }
    if let Some(path) = &arguments.control {
        write!(ready, "  control {}", control(&life, path).await?)?;
    }
    if let Some(path) = arguments.config.clone() {
        let config = Arc::clone(&config);
        life.on_reload(path.display().to_string(), move || {
            Config::read(&path).map(|fresh| config.store(Arc::new(fresh)))
        });
    }
    let limits = limits(&arguments);
    let app = routes::router(Arc::clone(&config)).merge(grpc::router(&life, config));
    let mut listening = String::new();
    if let Some(addr) = &arguments.tls_listen {
        let server = lameduck_http::serve(&life, addr.as_str(), app.clone())
            .tls(tls::load(&arguments, &life)?)
            .limits(limits.clone())
            .trim_heap()
            .await?;
        write!(listening, "  tls {}", server.local_addr())?;
    }
    let server = lameduck_http::serve(&life, arguments.listen.as_str(), app)
        .limits(limits)
        .trim_heap()
        .await?;
    let line = format!(
        "lameduck demo listening on {}{listening}{ready}  plan {plan}\n",
        server.local_addr()
    );
    tokio::spawn(async move {
        if life.running().await {
            // Whoever started us without reading our stdout does not need the line.
            let _ = std::io::stdout().write_all(line.as_bytes());
        }
    });
    Ok(())
}

/// Opens the control socket: whoever may ask there may also look inside.
async fn control(life: &Lifecycle, path: &Path) -> Result<LocalAddr, ServeError> {
    let control = lameduck_http::control(life, path).route(lameduck_http::admin_metrics());
    let control = debug::routes().into_iter().fold(control, Control::route);
    Ok(control.await?.local_addr().clone())
}

fn limits(arguments: &DemoArguments) -> Limits {
    let mut limits = Limits::default();
    if let Some(most) = arguments.max_connections {
        limits.connections = most;
    }
    match arguments.park_after {
        Some(ParkArgument::Never) => limits.park_after = None,
        Some(ParkArgument::After(idle)) => limits.park_after = Some(idle),
        None => {}
    }
    limits
}
