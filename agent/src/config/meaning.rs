//! From what was typed to what it means.

use std::net::SocketAddr;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use toml::Spanned;

use super::file::{CaptureFile, ConfigFile, ExceptionFile, HistoryFile, IdentityFile};
use super::*;
use crate::verdict::{FitRule, Selector, Template, network};

/// A value that is refused.
pub(super) struct Refused {
    pub span: Range<usize>,
    pub message: String,
}

pub(super) fn of(file: ConfigFile) -> Result<Config, Refused> {
    let mut config = Config::default();

    let daemon = &mut config.daemon;
    set(&mut daemon.data_dir, &file.daemon.data_dir, |path| absolute(Path::new(path)))?;
    set(&mut daemon.socket, &file.daemon.socket, |path| socket_path(Path::new(path)))?;
    set(&mut daemon.socket_group, &file.daemon.socket_group, |group| {
        Ok((!group.is_empty()).then(|| group.clone()))
    })?;

    let metrics = &mut config.metrics;
    set(&mut metrics.enabled, &file.metrics.enabled, |enabled| Ok(*enabled))?;
    set(&mut metrics.allow_remote, &file.metrics.allow_remote, |allowed| Ok(*allowed))?;
    let allow_remote = metrics.allow_remote;
    set(&mut metrics.listen, &file.metrics.listen, |text| {
        let address = text
            .parse()
            .map_err(|_| format!("`{text}` is not an address and a port, like \"127.0.0.1:19964\""))?;
        metrics_address(address, allow_remote)
    })?;

    history(&mut config.history, &file.history)?;

    config.scope.internal =
        list(&file.scope.internal, |text| network(text).map_err(|error| error.to_string()))?;
    if let Some(beyond) = file.scope.internal.as_ref().and_then(|all| all.get(MAX_INTERNAL_NETWORKS)) {
        return refuse(beyond, format!("more than {MAX_INTERNAL_NETWORKS} networks: join neighbours"));
    }

    capture(&mut config.capture, &file.capture)?;

    let libraries = &mut config.libraries;
    set(&mut libraries.enabled, &file.libraries.enabled, |enabled| Ok(*enabled))?;
    set(&mut libraries.max_files, &file.libraries.max_files, |number| {
        Ok(bounded(*number, 1..=MAX_PROBED_FILES)? as usize)
    })?;

    let limits = &mut config.limits;
    for (limit, typed) in [
        (&mut limits.connections, &file.limits.connections),
        (&mut limits.processes, &file.limits.processes),
        (&mut limits.certificates, &file.limits.certificates),
        (&mut limits.sessions, &file.limits.sessions),
    ] {
        set(limit, typed, |number| Ok(bounded(*number, 1..=MAX_TABLE_ENTRIES)? as usize))?;
    }

    set(&mut config.ownership.file, &file.ownership.file, |path| absolute(Path::new(path)).map(Some))?;
    config.identities = identities(&file.identity)?;

    config.findings.disabled = list(&file.findings.disabled, |code| finding(code))?;

    if let Some(beyond) = file.exception.get(MAX_EXCEPTIONS) {
        return refuse(beyond, format!("more than {MAX_EXCEPTIONS} exceptions"));
    }
    config.exceptions =
        file.exception.iter().map(|rule| exception(rule.get_ref())).collect::<Result<_, _>>()?;

    set(&mut config.log.level, &file.log.level, |text| {
        Ok(match text.as_str() {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "info" => LogLevel::Info,
            "debug" => LogLevel::Debug,
            "trace" => LogLevel::Trace,
            _ => return Err(format!("`{text}` is not one of error, warn, info, debug, trace")),
        })
    })?;
    set(&mut config.log.format, &file.log.format, |text| match text.as_str() {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is not one of text, json")),
    })?;
    Ok(config)
}

fn history(history: &mut HistoryConfig, file: &HistoryFile) -> Result<(), Refused> {
    set(&mut history.enabled, &file.enabled, |enabled| Ok(*enabled))?;
    set(&mut history.max_age, &file.max_age_days, |days| Ok(bounded(*days, 1..=MAX_HISTORY_DAYS)? * DAY))?;
    set(&mut history.max_bytes, &file.max_size_mib, |number| {
        Ok(u64::from(bounded(*number, MIN_HISTORY_MIB..=MAX_HISTORY_MIB)?) << 20)
    })?;
    set(&mut history.fold_after, &file.fold_after_days, |days| {
        let days = bounded(*days, 0..=MAX_HISTORY_DAYS)?;
        Ok((days > 0).then_some(days * DAY))
    })
}

fn capture(capture: &mut CaptureConfig, file: &CaptureFile) -> Result<(), Refused> {
    let budget = |number: &i64| bounded(*number, MIN_BUDGET_BYTES..=MAX_BUDGET_BYTES);
    set(&mut capture.max_budget_bytes, &file.max_budget_bytes, budget)?;
    set(&mut capture.start_budget_bytes, &file.start_budget_bytes, budget)?;
    if capture.start_budget_bytes > capture.max_budget_bytes {
        // Name the one that was typed; the default of the other stands in the message.
        let message = format!(
            "start_budget_bytes is {} and max_budget_bytes {}: the start cannot be above the maximum",
            capture.start_budget_bytes, capture.max_budget_bytes
        );
        let typed = file.start_budget_bytes.as_ref().or(file.max_budget_bytes.as_ref());
        return Err(Refused { span: typed.map_or(0..0, Spanned::span), message });
    }
    set(&mut capture.ring_bytes, &file.ring_bytes, |number| {
        let bytes = bounded(*number, MIN_RING_BYTES..=MAX_RING_BYTES)?;
        if bytes.is_power_of_two() {
            return Ok(bytes);
        }
        Err(format!("{bytes} is not a power of two: the next one is {}", bytes.next_power_of_two()))
    })?;
    set(&mut capture.cgroup_root, &file.cgroup_root, |path| absolute(Path::new(path)).map(Some))
}

fn identities(rules: &[Spanned<IdentityFile>]) -> Result<Vec<FitRule>, Refused> {
    if let Some(beyond) = rules.get(MAX_IDENTITY_RULES) {
        return refuse(beyond, format!("more than {MAX_IDENTITY_RULES} rules: join them with *"));
    }
    let mut meant: Vec<FitRule> = Vec::new();
    for rule in rules {
        let rule = identity(rule.get_ref(), &meant)?;
        meant.push(rule);
    }
    Ok(meant)
}

fn identity(rule: &IdentityFile, before: &[FitRule]) -> Result<FitRule, Refused> {
    let workload = each(&rule.workload, |text| workload(text))?;
    if before.iter().any(|before| before.workload == workload) {
        let message =
            format!("an earlier rule is for `{workload}`, too, and the first one decides: join them");
        return refuse(&rule.workload, message);
    }
    let identities = rule.may_present.get_ref();
    if identities.is_empty() || identities.len() > MAX_MAY_PRESENT {
        return refuse(
            &rule.may_present,
            format!("names {} identities: 1 to {MAX_MAY_PRESENT}", identities.len()),
        );
    }
    let template = |text: &String| text.parse::<Template>().map_err(|error| error.to_string());
    let may_present =
        identities.iter().map(|identity| each(identity, template)).collect::<Result<Vec<_>, _>>()?;
    Ok(FitRule::new(workload, may_present))
}

pub(super) fn workload(text: &str) -> Result<Selector, String> {
    Selector::of_workloads(text).map_err(|error| error.to_string())
}

fn exception(file: &ExceptionFile) -> Result<Exception, Refused> {
    let selector = |text: &String| text.parse::<Selector>().map_err(|error| error.to_string());
    let filled = |text: &String| {
        if text.trim().is_empty() { Err("is empty".to_owned()) } else { Ok(text.clone()) }
    };
    Ok(Exception {
        code: each(&file.finding, |code| finding(code))?,
        from: each(&file.from, selector)?,
        to: each(&file.to, selector)?,
        port: each(&file.port, |value| match value {
            toml::Value::String(text) if text == "any" => Ok(None),
            toml::Value::Integer(number) => {
                bounded(*number, 1..=u32::from(u16::MAX)).map(|port| u16::try_from(port).ok())
            }
            other => Err(format!("`{other}` is not a port number or \"any\"")),
        })?,
        owner: each(&file.owner, filled)?,
        reason: each(&file.reason, filled)?,
        expires: each(&file.expires, |value| {
            let text = match value {
                toml::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let wrong = || format!("`{text}` is not a date, like \"2030-12-31\"");
            // Only the one form: jiff alone would also take a date with a time.
            if text.len() != "2030-12-31".len() {
                return Err(wrong());
            }
            text.parse().map_err(|_| wrong())
        })?,
    })
}

fn set<T, V>(
    value: &mut V,
    typed: &Option<Spanned<T>>,
    meaning: impl Fn(&T) -> Result<V, String>,
) -> Result<(), Refused> {
    if let Some(typed) = typed {
        *value = each(typed, meaning)?;
    }
    Ok(())
}

fn list<V>(
    typed: &Option<Vec<Spanned<String>>>,
    meaning: impl Fn(&String) -> Result<V, String>,
) -> Result<Vec<V>, Refused> {
    typed.iter().flatten().map(|element| each(element, &meaning)).collect()
}

pub(super) fn each<T, V>(
    typed: &Spanned<T>,
    meaning: impl Fn(&T) -> Result<V, String>,
) -> Result<V, Refused> {
    meaning(typed.get_ref()).map_err(|message| Refused { span: typed.span(), message })
}

pub(super) fn refuse<T, V>(typed: &Spanned<T>, message: String) -> Result<V, Refused> {
    Err(Refused { span: typed.span(), message })
}

fn bounded(number: i64, bounds: RangeInclusive<u32>) -> Result<u32, String> {
    u32::try_from(number)
        .ok()
        .filter(|number| bounds.contains(number))
        .ok_or_else(|| format!("{number} is not within {} to {}", bounds.start(), bounds.end()))
}

fn finding(code: &str) -> Result<Code, String> {
    Code::from_name(code)
        .ok_or_else(|| format!("`{code}` is not a finding code: they are {}", Code::NAMES.join(", ")))
}

pub(super) fn absolute(path: &Path) -> Result<PathBuf, String> {
    if path.is_absolute() {
        return Ok(path.to_path_buf());
    }
    Err(format!("`{}` is not an absolute path", path.display()))
}

pub(super) fn socket_path(path: &Path) -> Result<PathBuf, String> {
    let path = absolute(path)?;
    let bytes = path.as_os_str().len();
    if bytes > MAX_SOCKET_PATH_BYTES {
        return Err(format!("is {bytes} bytes long: a socket's path has at most {MAX_SOCKET_PATH_BYTES}"));
    }
    if path.file_name().is_none() {
        return Err(format!("`{}` names no file", path.display()));
    }
    Ok(path)
}

pub(super) fn metrics_address(address: SocketAddr, allow_remote: bool) -> Result<SocketAddr, String> {
    if address.ip().to_canonical().is_loopback() || allow_remote {
        return Ok(address);
    }
    Err(format!(
        "`{address}` can be reached by other hosts: use 127.0.0.1 or [::1], or set metrics.allow_remote = true"
    ))
}
