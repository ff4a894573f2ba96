//! Owns what a target may declare about itself so that checks hold it to its own word: late requests, TLS trust,
//! accepted codes; and the waivers of a run.
//! Not: where that is written down (see `profile`), or the judging (see `scenario`).

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::observe::outcome::Outcome;
use crate::options::{Options, StopSignal, TargetSpec};
use crate::verdict::{Finding, Verdict};

/// What a target does with requests that are sent after the signal on connections that it still has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LatePolicy {
    /// Serves them; what the contract asks for.
    #[default]
    Serve,
    /// Refuses them, so that a client may send them again elsewhere: over HTTP/1.1 and TLS with 503, `Retry-After` and
    /// `Connection: close`, over HTTP/2 with REFUSED_STREAM, or with 503 and `Retry-After` behind a GOAWAY. That is then no
    /// failure of H1-01 (heads completed late), H1-02, H1-04, H1-06, H2-03, H2-10 and TLS-1.
    Refuse,
}

impl LatePolicy {
    /// A request sent after the signal got what a target of this policy owes it.
    pub(crate) fn is_kept_by(self, outcome: Outcome) -> bool {
        outcome.is_served() || self.is_refusal(outcome)
    }

    /// It was refused as declared: on an open connection, and safe to send again elsewhere.
    pub(crate) fn is_refusal(self, outcome: Outcome) -> bool {
        self == Self::Refuse && matches!(outcome, Outcome::Refused503 | Outcome::RefusedH2)
    }
}

/// What a first SIGINT does to a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Interrupt {
    /// The same as SIGTERM; what the contract asks for.
    #[default]
    Stops,
    /// Nothing, or something else: declared off.
    LeftAlone,
}

/// How a target reads its configuration again while it runs, and how one sees which one is in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// Added to its arguments for this check; `{config}` becomes the path of the file.
    pub arguments: Vec<String>,
    /// The file that it reads; default: one in a directory of our own. What stands in it is put back afterwards.
    pub file: Option<PathBuf>,
    /// Its contents at the start.
    pub first: String,
    /// Other contents that are good.
    pub second: String,
    /// Contents that the target has to refuse.
    pub broken: String,
    /// A path whose answer differs between the first and the second.
    pub path: String,
    /// The signal that asks for it.
    pub signal: StopSignal,
    /// A command that asks for it, instead of the signal; `{config}`, `{pid}` and the ports are filled in.
    pub command: Option<Vec<String>>,
}

impl Default for Reload {
    /// By SIGHUP, seen on `/`.
    fn default() -> Self {
        Self {
            arguments: Vec::new(),
            file: None,
            first: String::new(),
            second: String::new(),
            broken: String::new(),
            path: "/".to_owned(),
            signal: StopSignal::Hup,
            command: None,
        }
    }
}

/// Where participants in other processes connect to a target, to negotiate its exit (`lameduck.negotiation/1`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlSocket {
    /// The path of its Unix socket; `{control}` becomes one in a directory of our own.
    pub path: String,
    /// Added to its arguments for the checks that need it; `{control}` is filled in here too.
    pub arguments: Vec<String>,
}

impl ControlSocket {
    /// What becomes a path in a directory of our own.
    pub(crate) const OURS: &'static str = "{control}";
}

impl Default for ControlSocket {
    /// At `{control}`, with no more arguments.
    fn default() -> Self {
        Self {
            path: Self::OURS.to_owned(),
            arguments: Vec::new(),
        }
    }
}

/// Which certificates of the target's TLS listener will do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TlsTrust {
    /// Any: what is judged is how a service leaves, not who it is.
    #[default]
    Any,
    /// Those that these authorities vouch for, for the name in the URL or the one given.
    Authorities(Authorities),
}

/// Certificates of authorities, read from PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorities {
    certificates: Arc<[CertificateDer<'static>]>,
}

impl Authorities {
    /// Reads every certificate of `pem`.
    ///
    /// # Errors
    /// Fails when there is none, or when one can not be read.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BadAuthorities> {
        let certificates: Result<Arc<[_]>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let certificates = certificates.map_err(|error| BadAuthorities(error.to_string()))?;
        if certificates.is_empty() {
            return Err(BadAuthorities("there is no certificate in it".to_owned()));
        }
        let mut roots = rustls::RootCertStore::empty();
        for certificate in certificates.iter() {
            roots
                .add(certificate.clone())
                .map_err(|error| BadAuthorities(error.to_string()))?;
        }
        Ok(Self { certificates })
    }

    /// As rustls wants them.
    pub(crate) fn roots(&self) -> rustls::RootCertStore {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(self.certificates.iter().cloned());
        roots
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authorities({})", self.certificates.len())
    }
}

/// The text holds no certificates that could vouch for a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadAuthorities(String);

impl fmt::Display for BadAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no certificates to trust in PEM: {}", self.0)
    }
}

impl std::error::Error for BadAuthorities {}

/// A check that does not decide this run's verdict, and why.
///
/// It runs all the same: a waiver of something that passes is visible, and can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    /// The id of the contract.
    pub id: String,
    /// Why; shown in every report.
    pub reason: String,
}

/// Codes that tell a client of a WebSocket to come back elsewhere: going away, service restart.
const LEAVING: [u16; 2] = [1001, 1012];

impl TargetSpec {
    /// Where participants connect: as declared, or because its command names a path for a socket.
    pub(crate) fn control(&self) -> Option<ControlSocket> {
        let names_it = || {
            self.templates()
                .any(|text| text.contains(ControlSocket::OURS))
        };
        self.control
            .clone()
            .or_else(|| names_it().then(ControlSocket::default))
    }

    /// A Close with this code keeps the promise of WS-01.
    pub(crate) fn accepts_close(&self, code: u16) -> bool {
        LEAVING.contains(&code) || self.close_codes.contains(&code)
    }

    /// "1001, 1012 or 4000": the codes that a Close may have.
    pub(crate) fn close_codes_in_words(&self) -> String {
        let mut codes: Vec<String> = LEAVING
            .iter()
            .chain(
                self.close_codes
                    .iter()
                    .filter(|code| !LEAVING.contains(code)),
            )
            .map(u16::to_string)
            .collect();
        let last = codes.pop().expect("there are always two");
        format!("{} or {last}", codes.join(", "))
    }
}

impl Options {
    /// How long the process is waited for: the grace period, and what the target is allowed beyond it.
    pub(crate) fn patience(&self) -> Duration {
        self.grace + self.target.extra_time
    }
}

/// Lifts the verdicts of waived checks; what was seen stays.
pub(crate) fn waive(waivers: &[Waiver], checks: &mut [Finding]) {
    for check in checks {
        let mut waivers = waivers.iter();
        let Some(waiver) = waivers.find(|waiver| waiver.id.eq_ignore_ascii_case(&check.id)) else {
            continue;
        };
        let lead = match check.verdict {
            Verdict::Pass => "waived, but it passed: the waiver can go",
            Verdict::NotApplicable => "waived, but it does not apply",
            Verdict::Fail => "waived; it would fail",
            Verdict::Differs => "waived; it would differ",
            Verdict::Inconclusive | Verdict::Waived => "waived; it would be inconclusive",
        };
        check.detail = format!(
            "{lead} ({}); waived because: {}",
            check.detail, waiver.reason
        );
        check.without_waiver = Some(check.verdict);
        check.waiver = Some(waiver.reason.clone());
        check.verdict = Verdict::Waived;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::finding;
    use crate::verdict::overall;

    fn found(verdicts: &[(&'static str, Verdict)]) -> Vec<Finding> {
        let options = Options::new(TargetSpec::default());
        let seen = |verdict| finding(&options, 7, "P1", verdict, "seen".to_owned());
        let mut all: Vec<Finding> = verdicts.iter().map(|(_, verdict)| seen(*verdict)).collect();
        for (finding, (id, _)) in all.iter_mut().zip(verdicts) {
            finding.id = (*id).into();
        }
        all
    }

    fn waiver(id: &str) -> Waiver {
        Waiver {
            id: id.to_owned(),
            reason: "the balancer hides it".to_owned(),
        }
    }

    #[test]
    fn a_waived_failure_decides_nothing_and_is_shown() {
        let mut checks = found(&[("P1", Verdict::Fail), ("P2", Verdict::Pass)]);
        assert_eq!(overall(&checks), Verdict::Fail);
        waive(&[waiver("p1")], &mut checks);
        assert_eq!(overall(&checks), Verdict::Pass);
        let waived = &checks[0];
        assert_eq!(waived.verdict, Verdict::Waived);
        assert_eq!(waived.without_waiver, Some(Verdict::Fail));
        assert_eq!(waived.waiver.as_deref(), Some("the balancer hides it"));
        assert!(
            waived.detail.contains("would fail (seen)"),
            "{}",
            waived.detail
        );
        assert_eq!(checks[1].waiver, None);
    }

    #[test]
    fn a_waiver_that_is_not_needed_says_so() {
        let mut checks = found(&[("P1", Verdict::Pass)]);
        waive(&[waiver("P1")], &mut checks);
        assert!(checks[0].detail.contains("it passed: the waiver can go"));
        // All waived: nothing was shown, which is no pass.
        assert_eq!(overall(&checks), Verdict::Inconclusive);
    }

    #[test]
    fn codes_of_a_close_are_the_contracts_and_those_declared() {
        let mut spec = TargetSpec::default();
        assert!(spec.accepts_close(1001) && spec.accepts_close(1012) && !spec.accepts_close(1000));
        assert_eq!(spec.close_codes_in_words(), "1001 or 1012");
        spec.close_codes = vec![1012, 4000];
        assert!(spec.accepts_close(4000));
        assert_eq!(spec.close_codes_in_words(), "1001, 1012 or 4000");
    }

    #[test]
    fn authorities_need_a_certificate() {
        let empty = Authorities::from_pem(b"nothing here").unwrap_err();
        assert!(empty.to_string().contains("no certificate"), "{empty}");
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(Authorities::from_pem(broken).is_err());
    }
}
