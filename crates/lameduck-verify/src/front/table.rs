//! The fronts that are known: numbers and their sources.

use std::time::Duration;

use super::{FrontInfo, Retry};

/// In the order of their propagation time; the first one is "no front".
pub(super) const FRONTS: &[FrontInfo] = &[
    FrontInfo {
        name: "none",
        what: "clients connect to the service directly",
        propagation: Duration::ZERO,
        retries: &[],
        source: "nothing stands between: what the service does is what its clients see",
        unknown: "which failures the clients' own libraries retry",
    },
    FrontInfo {
        name: "kubernetes",
        what: "a Service: kube-proxy or another layer-4 data plane, from EndpointSlices",
        propagation: Duration::from_secs(5),
        retries: &[],
        source: "the signal and the removal from the EndpointSlice run side by side (Kubernetes documentation, Pod termination); each node learns of it in low seconds, 10 to 30 s under churn",
        unknown: "how long the slowest node takes: it depends on the number of nodes and endpoints, and on the data plane",
    },
    FrontInfo {
        name: "istio",
        what: "Envoy sidecars or gateways configured by Istio",
        propagation: Duration::from_secs(5),
        retries: &[Retry::Connect, Retry::RefusedH2, Retry::Unavailable],
        source: "Istio's default retry policy: twice, on connect-failure, refused-stream, unavailable, cancelled and retriable-status-codes with 503",
        unknown: "whether a VirtualService turns retries off; Istio 1.24 and later leave 503 out of the default; a connection reset after a request was written is not retried, and comes out as 503",
    },
    FrontInfo {
        name: "ingress-nginx",
        what: "the NGINX ingress controller of the Kubernetes project",
        propagation: Duration::from_secs(5),
        retries: &[Retry::Connect, Retry::Idempotent],
        source: "proxy_next_upstream error timeout, 3 tries: POST, LOCK and PATCH are not passed on once they were sent (ngx_http_proxy_module)",
        unknown: "the annotations of your Ingress (proxy-next-upstream and its tries); a retry may reach another instance that leaves too",
    },
    FrontInfo {
        name: "alb",
        what: "an AWS application load balancer with IP targets",
        propagation: Duration::from_secs(25),
        retries: &[],
        source: "AWS load balancer controller issue 1064: a wait of 5 s was not enough, 25 s was",
        unknown: "how long deregistration takes to reach all nodes of the balancer: AWS states no bound",
    },
    FrontInfo {
        name: "nlb",
        what: "an AWS network load balancer with IP targets",
        propagation: Duration::from_secs(120),
        retries: &[],
        source: "AWS load balancer controller issue 2366: two minutes and more, measured by one user, whatever the deregistration delay",
        unknown: "whether your region and target type behave the same: AWS states no bound",
    },
];
