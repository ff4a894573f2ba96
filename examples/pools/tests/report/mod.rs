//! What the reports of these services say of what they lent.

use super::support::service::Service;

/// Asserts that a service that was told to stop drains, and says of this participant that nothing of it is left.
#[track_caller]
pub(crate) fn says_empty(service: Service, participant: &str) {
    let report = service.end().assert_drained();
    let begins = format!("{participant}: none of ");
    let events = report["events"].as_array().expect("a list").iter();
    let said = events.filter_map(|event| event["what"].as_str());
    let figures = said.filter(|what| what.starts_with(&begins)).count();
    assert_eq!(figures, 1, "{report:#}");
}

/// Asserts that a service that was told to stop fails because so many of what this participant lends are left, this one among them.
#[track_caller]
pub(crate) fn names_leak(service: Service, participant: &str, left: usize, leak: &str) {
    let ended = service.end();
    assert_eq!(ended.how(), "exit 1", "{}", ended.stderr);
    let report = ended.report();
    assert_eq!(report["outcome"], "failed", "{report:#}");
    let mut participants = report["participants"].as_array().expect("a list").iter();
    let pool = participants.find(|one| one["name"] == participant);
    let why = pool.expect(participant)["why"].as_str();
    let why = why.expect("it failed");
    let begins = format!("{left} left after ");
    assert!(why.starts_with(&begins), "{why}");
    assert!(why.contains(leak), "{why}");
}
