//! Reads etcd's history of all groups, revision by revision, and counts what was lent. It uses nothing of the book that it judges.

use std::collections::BTreeMap;

use etcd_client::{Client, EventType, KeyValue, WatchOptions};

use crate::cluster::Cluster;
use crate::suite::within;

/// What the history of a cluster's groups shows.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// How many slots were lent.
    pub(crate) lent: usize,
    /// The last revision that was looked at.
    pub(crate) revision: i64,
}

#[derive(Debug, Default)]
struct Group {
    rules: String,
    /// The zone of each member.
    members: BTreeMap<String, String>,
    /// The create revision of each wish.
    waiting: BTreeMap<String, i64>,
    slots: BTreeMap<String, String>,
}

/// Panics at the first slot that was oversold. Order is not judged here: the suite holds it.
pub(crate) async fn audit(cluster: &Cluster) -> History {
    // Of a node that lives.
    let endpoint = cluster.endpoints().swap_remove(cluster.leader().await);
    let reading = async move {
        let mut client = Client::connect([endpoint], None)
            .await
            .expect("etcd is there");
        within("the history", read(&mut client)).await
    };
    match cluster.home() {
        Some(home) => home.run(reading).await,
        None => reading.await,
    }
}

async fn read(client: &mut Client) -> History {
    const PREFIX: &str = "/lameduck/groups/";
    // Of a key that nobody uses: only its revision is wanted, which is that of the whole.
    let last = client.put("/audit", "", None).await.expect("it is written");
    let last = last.header().expect("a header").revision();
    let options = WatchOptions::new()
        .with_range(vec![0])
        .with_start_revision(1);
    // From the first key to the last.
    let mut watch = client.watch(vec![0], Some(options)).await.expect("a watch");
    let (mut groups, mut history) = (BTreeMap::<String, Group>::new(), History::default());
    let mut lendings: Vec<(String, String)> = Vec::new();
    while history.revision < last {
        let response = watch
            .message()
            .await
            .expect("it goes on")
            .expect("it goes on");
        assert!(!response.canceled(), "{}", response.cancel_reason());
        for event in response.events() {
            let kv = event.kv().expect("an event has a key");
            if kv.mod_revision() > history.revision {
                history.lent += judge(&groups, &mut lendings, history.revision);
                history.revision = kv.mod_revision();
            }
            let Some(path) = kv.key_str().expect("text").strip_prefix(PREFIX) else {
                continue;
            };
            let (group, key) = path.split_once('/').expect("a key of a group");
            let is_there = event.event_type() == EventType::Put;
            let group_now = groups.entry(group.to_owned()).or_default();
            if let Some(member) = group_now.see(key, kv, is_there) {
                lendings.push((group.to_owned(), member));
            }
        }
    }
    history.lent += judge(&groups, &mut lendings, history.revision);
    history
}

/// All of a revision was seen: what was lent in it?
fn judge(
    groups: &BTreeMap<String, Group>,
    lendings: &mut Vec<(String, String)>,
    revision: i64,
) -> usize {
    let lent = lendings.len();
    for (group, member) in lendings.drain(..) {
        groups[&group].judge(&member, &format!("revision {revision} of {group}"));
    }
    lent
}

impl Group {
    /// Who was lent a slot, if that is what it says.
    fn see(&mut self, key: &str, kv: &KeyValue, is_there: bool) -> Option<String> {
        let value = kv.value_str().expect("text").to_owned();
        if key == "ledger" {
            self.rules = value;
            return None;
        }
        let (kind, id) = key.split_once('/').expect("a kind of key");
        let id = id.to_owned();
        match (kind, is_there) {
            ("members", true) => {
                let zone = value.split_once(' ').map_or("", |(_, zone)| zone);
                self.members.insert(id, zone.to_owned());
            }
            ("members", false) => drop(self.members.remove(&id)),
            ("waiting", true) => drop(self.waiting.insert(id, kv.create_revision())),
            ("waiting", false) => {
                self.waiting.remove(&id);
            }
            ("slots", true) => {
                let before = self.slots.insert(id.clone(), value.clone());
                return (value.starts_with("lent ") && before != Some(value)).then_some(id);
            }
            ("slots", false) => drop(self.slots.remove(&id)),
            _ => {}
        }
        None
    }

    /// A slot was just lent to this member.
    fn judge(&self, member: &str, what: &str) {
        let (rules, per_zone) = match self.rules.strip_suffix(" in each zone") {
            Some(rules) => (rules, true),
            None => (self.rules.as_str(), false),
        };
        let zone = self
            .members
            .get(member)
            .unwrap_or_else(|| panic!("{what}: {member} is no member"));
        let counts = |id: &String| !per_zone || self.members.get(id) == Some(zone);
        let members = self.members.keys().filter(|id| counts(id)).count();
        let (share, expected) = match rules.split_once(" of ") {
            Some((share, expected)) => (share, Some(expected.parse::<usize>().expect("a number"))),
            None => (rules, None),
        };
        let allowed = match share.strip_suffix('%') {
            Some(percent) => {
                (expected.unwrap_or(members) * percent.parse::<usize>().expect("a number") / 100)
                    .max(1)
            }
            None => share.parse().expect("a number"),
        };
        let gone = self.slots.keys().filter(|id| counts(id)).count();
        let missing = expected.map_or(0, |expected| expected.saturating_sub(members));
        assert!(
            gone + missing <= allowed,
            "{what}: oversold with {member}: {gone} gone, {missing} missing, {allowed} allowed: {self:?}"
        );
    }
}
