//! Where a process lives: the systemd unit, container and pod that its cgroup tells of.

/// What the cgroup of a process says about its home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Home {
    /// The path of its cgroup, as `/proc/<pid>/cgroup` has it.
    pub(super) cgroup: String,
    /// The innermost systemd unit: `nginx.service`, `session-3.scope`.
    pub(super) unit: Option<String>,
    /// The container's id or name.
    pub(super) container: Option<String>,
    /// Whose container it is: `docker`, `containerd`, `cri-o`, `podman`, `kubernetes`, `ecs`, `lxc`, `machined`.
    pub(super) runtime: Option<&'static str>,
    /// The pod's UID (Kubernetes) or id (podman).
    pub(super) pod: Option<String>,
}

impl Home {
    /// Reads the text of `/proc/<pid>/cgroup` (cgroups(7)): one line for each hierarchy, `id:controllers:path`.
    ///
    /// Of several hierarchies the named one of systemd tells most, then version 2, then the longest path. `None` where no
    /// line is one.
    pub(super) fn read(text: &str) -> Option<Self> {
        let lines = text.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
            let rank = match (id, controllers) {
                _ if path == "/" => 0,
                (_, "name=systemd") => 3,
                ("0", "") => 2,
                _ => 1,
            };
            Some((rank, path))
        });
        let (_, path) = lines.max_by_key(|(rank, path)| (*rank, path.len()))?;
        Some(Self::of(path))
    }

    fn of(path: &str) -> Self {
        let mut home = Self {
            cgroup: path.to_owned(),
            ..Self::default()
        };
        // A path out of a cgroup namespace begins with `..`.
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !part.is_empty() && *part != "..")
            .collect();
        // From the inside out: a container in a container is the inner one.
        for (index, part) in parts.iter().enumerate().rev() {
            let above = index.checked_sub(1).map_or("", |above| parts[above]);
            let outer = index.checked_sub(2).map_or("", |outer| parts[outer]);
            if home.container.is_none()
                && let Some((runtime, id)) = container(part, above, outer)
            {
                home.container = Some(id);
                home.runtime = runtime;
            } else if home.unit.is_none() && is_unit(part, home.container.is_some()) {
                home.unit = Some((*part).to_owned());
            }
            if home.pod.is_none() {
                home.pod = pod(part);
            }
        }
        home
    }

    /// One sentence for people: `container 0123456789ab (docker)`, `nginx.service`.
    ///
    /// `None` where nothing but the path is known.
    pub(super) fn said(&self) -> Option<String> {
        let short = |id: &str| id.get(..12).unwrap_or(id).to_owned();
        let mut said = Vec::new();
        if let Some(container) = &self.container {
            let is_id = container.len() == 64 && is_hex(container);
            let name = if is_id {
                short(container)
            } else {
                container.clone()
            };
            let runtime = self
                .runtime
                .map_or_else(String::new, |runtime| format!(" ({runtime})"));
            said.push(format!("container {name}{runtime}"));
        }
        if let Some(pod) = &self.pod {
            said.push(format!("pod {pod}"));
        }
        if let Some(unit) = &self.unit {
            said.push(unit.clone());
        }
        (!said.is_empty()).then(|| said.join(" of "))
    }
}

/// Whether a directory of a cgroup is a unit of systemd (systemd.unit(5)) that says something.
///
/// Around a container, those that hold all containers or all sessions of a user say nothing.
fn is_unit(part: &str, holds_a_container: bool) -> bool {
    const HOLDERS: [&str; 5] = [
        "containerd.service",
        "crio.service",
        "docker.service",
        "kubelet.service",
        "podman.service",
    ];
    let is_unit = part.ends_with(".service") || part.ends_with(".scope");
    let says_nothing = HOLDERS.contains(&part) || part.starts_with("user@");
    is_unit && !part.contains(':') && !(holds_a_container && says_nothing)
}

/// Prefixes of the scopes that the runtimes make under systemd's driver.
const SCOPES: [(&str, &str); 6] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-payload-", "podman"),
    ("libpod-", "podman"),
];

/// The container that a directory is, with its runtime where that can be told.
fn container(part: &str, above: &str, outer: &str) -> Option<(Option<&'static str>, String)> {
    let plain = part.strip_suffix(".scope").unwrap_or(part);
    if let Some((runtime, id)) = SCOPES.iter().find_map(|(prefix, runtime)| {
        let id = plain.strip_prefix(prefix)?;
        is_id(id).then(|| (*runtime, id.to_owned()))
    }) {
        return Some((Some(runtime), id));
    }
    // runc under systemd's driver without a slice of its own: `kubepods-…-pod….slice:cri-containerd:<id>`.
    if let [_, prefix, id] = part.split(':').collect::<Vec<_>>()[..]
        && is_id(id)
    {
        let runtime = match prefix {
            "cri-containerd" | "nerdctl" => Some("containerd"),
            "crio" => Some("cri-o"),
            "docker" => Some("docker"),
            _ => None,
        };
        return Some((runtime, id.to_owned()));
    }
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return Some((Some("lxc"), name.to_owned()));
    }
    if above == "lxc" {
        return Some((Some("lxc"), part.to_owned()));
    }
    if above == "machine.slice"
        && let Some(name) = plain.strip_prefix("machine-")
        && part.ends_with(".scope")
    {
        return Some((Some("machined"), name.replace("\\x2d", "-")));
    }
    if part.len() == 64 && is_hex(part) {
        let runtime = match (above, outer) {
            ("docker", _) => Some("docker"),
            ("libpod_parent", _) => Some("podman"),
            ("default" | "k8s.io" | "moby", _) => Some("containerd"),
            (_, "ecs") => Some("ecs"),
            (pod, _) if pod.starts_with("pod") => Some("kubernetes"),
            _ => None,
        };
        return Some((runtime, part.to_owned()));
    }
    None
}

/// The pod that a directory is: kubelet's, by either cgroup driver, or podman's.
fn pod(part: &str) -> Option<String> {
    let slice = part.split(':').next().unwrap_or(part);
    let plain = slice.strip_suffix(".slice").unwrap_or(slice);
    if let Some((_, id)) = plain.split_once("libpod_pod_") {
        return is_id(id).then(|| id.to_owned());
    }
    let uid = match plain.strip_prefix("pod") {
        Some(uid) => uid,
        None => plain.rsplit_once("-pod")?.1,
    };
    // systemd's driver writes `_` for `-`; a static pod's UID is a hash without any.
    let uid = uid.replace('_', "-");
    let digits = uid.chars().filter(|c| *c != '-').count();
    let plain = uid.chars().all(|c| c == '-' || c.is_ascii_hexdigit());
    (plain && digits == 32).then_some(uid)
}

/// A container's id, whole or shortened as people do.
fn is_id(text: &str) -> bool {
    (12..=64).contains(&text.len()) && is_hex(text)
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4b0c1d2e5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0";
    const UID: &str = "6c9d9e2b-2b1d-4c7e-9a55-8d1f7f0c1a2b";

    struct Row {
        from: &'static str,
        path: String,
        unit: Option<&'static str>,
        runtime: Option<&'static str>,
        container: Option<&'static str>,
        pod: Option<&'static str>,
    }

    fn row(from: &'static str, path: impl Into<String>) -> Row {
        Row {
            from,
            path: path.into(),
            unit: None,
            runtime: None,
            container: None,
            pod: None,
        }
    }

    impl Row {
        fn unit(self, unit: &'static str) -> Self {
            Self {
                unit: Some(unit),
                ..self
            }
        }

        fn container(self, runtime: &'static str, container: &'static str) -> Self {
            Self {
                runtime: Some(runtime),
                container: Some(container),
                ..self
            }
        }

        fn pod(self, pod: &'static str) -> Self {
            Self {
                pod: Some(pod),
                ..self
            }
        }
    }

    fn rows() -> Vec<Row> {
        let under = UID.replace('-', "_");
        let slice =
            format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice");
        vec![
            row("systemd, a service", "/system.slice/nginx.service").unit("nginx.service"),
            row("systemd, an instance", "/system.slice/system-web.slice/web@8080.service").unit("web@8080.service"),
            row("a login", "/user.slice/user-1000.slice/session-3.scope").unit("session-3.scope"),
            row("a user's unit", "/user.slice/user-1000.slice/user@1000.service/app.slice/api.service").unit("api.service"),
            row("PID 1", "/init.scope").unit("init.scope"),
            row("no unit", "/"),
            row("docker, cgroupfs", format!("/docker/{ID}")).container("docker", ID),
            row("docker, systemd", format!("/system.slice/docker-{ID}.scope")).container("docker", ID),
            row("docker in docker", format!("/docker/{}/docker/{ID}", "0".repeat(64))).container("docker", ID),
            row("systemd in docker", format!("/docker/{ID}/system.slice/cron.service")).container("docker", ID).unit("cron.service"),
            row("containerd, ctr", format!("/default/{ID}")).container("containerd", ID),
            row("nerdctl", format!("/system.slice/nerdctl-{ID}.scope")).container("containerd", ID),
            row("kubelet, cgroupfs", format!("/kubepods/besteffort/pod{UID}/{ID}")).container("kubernetes", ID).pod(UID),
            row("kubelet, cgroupfs, guaranteed", format!("/kubepods/pod{UID}/{ID}")).container("kubernetes", ID).pod(UID),
            row("containerd by CRI", format!("{slice}/cri-containerd-{ID}.scope")).container("containerd", ID).pod(UID),
            row("kind", format!("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{under}.slice/cri-containerd-{ID}.scope")).container("containerd", ID).pod(UID),
            row("containerd, colons", format!("/system.slice/containerd.service/kubepods-burstable-pod{under}.slice:cri-containerd:{ID}")).container("containerd", ID).pod(UID),
            row("cri-o", format!("{slice}/crio-{ID}.scope")).container("cri-o", ID).pod(UID),
            row("cri-o's monitor", format!("{slice}/crio-conmon-{ID}.scope")).unit("crio-conmon-3f4b0c1d2e5a69788796a5b4c3d2e1f00f1e2d3c4b5a69788796a5b4c3d2e1f0.scope").pod(UID),
            row("a static pod", format!("/kubepods/pod{}/{ID}", "d7".repeat(16))).container("kubernetes", ID).pod("d7d7d7d7d7d7d7d7d7d7d7d7d7d7d7d7"),
            row("podman", format!("/machine.slice/libpod-{ID}.scope/container")).container("podman", ID),
            row("podman, a pod", format!("/machine.slice/machine-libpod_pod_{ID}.slice/libpod-{ID}.scope")).container("podman", ID).pod(ID),
            row("podman, rootless", format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope")).container("podman", ID),
            row("podman, quadlet", format!("/system.slice/web.service/libpod-payload-{ID}")).container("podman", ID).unit("web.service"),
            row("podman, cgroupfs", format!("/libpod_parent/libpod-{ID}")).container("podman", ID),
            row("ECS", format!("/ecs/0123456789abcdef/{ID}")).container("ecs", ID),
            row("LXC", "/lxc.payload.web/system.slice/cron.service").container("lxc", "web").unit("cron.service"),
            row("nspawn", "/machine.slice/machine-web\\x2d1.scope").container("machined", "web-1"),
            row("another cgroup namespace", format!("/../../besteffort/pod{UID}/{ID}")).container("kubernetes", ID).pod(UID),
            row("no id", "/docker/buildx"),
            row("no pod", "/system.slice/app-podium.slice/x.service").unit("x.service"),
        ]
    }

    #[test]
    fn each_kind_of_path_is_known() {
        for row in rows() {
            let home = Home::of(&row.path);
            let found = (
                home.unit.as_deref(),
                home.runtime,
                home.container.as_deref(),
                home.pod.as_deref(),
            );
            let expected = (row.unit, row.runtime, row.container, row.pod);
            assert_eq!(found, expected, "{}: {}", row.from, row.path);
        }
    }

    #[test]
    fn of_several_hierarchies_the_most_telling_is_read() {
        let docker = format!("/docker/{ID}");
        let rows = [
            (
                "0::/system.slice/nginx.service\n".to_owned(),
                "/system.slice/nginx.service",
            ),
            (
                format!(
                    "12:pids:{docker}\n1:name=systemd:{docker}\n0::/system.slice/containerd.service\n"
                ),
                docker.as_str(),
            ),
            (
                "12:pids:/\n11:cpu,cpuacct:/a/b\n1:name=systemd:/\n".to_owned(),
                "/a/b",
            ),
            ("0::/\n".to_owned(), "/"),
            ("5:devices:/with:colons\n".to_owned(), "/with:colons"),
        ];
        for (text, path) in rows {
            assert_eq!(
                Home::read(&text).map(|home| home.cgroup).as_deref(),
                Some(path)
            );
        }
        for nothing in ["", "\n", "no line of it"] {
            assert_eq!(Home::read(nothing), None);
        }
    }

    #[test]
    fn it_is_said_in_a_few_words() {
        let said = |path: &str| Home::of(path).said();
        assert_eq!(
            said("/system.slice/nginx.service").as_deref(),
            Some("nginx.service")
        );
        assert_eq!(said("/"), None);
        assert_eq!(
            said(&format!("/kubepods/pod{UID}/{ID}")).expect("it is known"),
            format!("container 3f4b0c1d2e5a (kubernetes) of pod {UID}")
        );
    }
}
