//! The group that the demo leaves in turn with: which carrier, and under which name.

use std::{error::Error, sync::Arc};

use lameduck::{
    Lifecycle,
    group::{Carrier, Group, Identity, UnixCarrier},
};

use crate::args::DemoArguments;

/// Joins the group that the arguments name, if they name one.
pub(super) fn join(
    life: &Lifecycle,
    arguments: &DemoArguments,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let carrier: Arc<dyn Carrier> = match &arguments.slots {
        // An empty variable is none.
        Some(path) if !path.as_os_str().is_empty() => Arc::new(UnixCarrier::new(path)),
        _ if !arguments.etcd.is_empty() => Etcd(arguments).carrier()?,
        _ => return Ok(()),
    };
    let name = match &arguments.member {
        Some(name) => name.clone(),
        None => format!("{}-{}", host(), std::process::id()),
    };
    let who = Identity::new(&name)?.in_zone(&arguments.zone)?;
    life.leave_in_turn(Group::join_by(carrier, who), None)?;
    Ok(())
}

/// The carrier over etcd, in a build that has it.
struct Etcd<'a>(#[allow(dead_code, reason = "read with the feature `etcd`")] &'a DemoArguments);

/// What a build without the feature `etcd` answers: with it, the method of the same name below comes first.
#[allow(dead_code, reason = "with the feature `etcd` nobody calls it")]
trait Absent {
    fn carrier(&self) -> Result<Arc<dyn Carrier>, Box<dyn Error + Send + Sync>> {
        Err("this build has no etcd; build lameduck-cli with the feature `etcd`, which needs protoc".into())
    }
}

impl Absent for Etcd<'_> {}

#[cfg(feature = "etcd")]
impl Etcd<'_> {
    fn carrier(&self) -> Result<Arc<dyn Carrier>, Box<dyn Error + Send + Sync>> {
        let (Some(group), Some(rules)) = (&self.0.group, self.0.max_unavailable) else {
            return Err("--etcd needs --group and --max-unavailable".into());
        };
        let endpoints = self.0.etcd.iter().map(String::as_str);
        let etcd = lameduck_etcd::EtcdCarrier::new(endpoints, group, rules)?;
        Ok(Arc::new(etcd))
    }
}

/// The name of the machine, as far as it can be one of a member.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let name: String = name.trim().chars().filter(plain).take(64).collect();
    if name.is_empty() {
        "demo".to_owned()
    } else {
        name
    }
}
