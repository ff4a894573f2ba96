//! The names of a group's keys.

use lameduck::group::MemberId;

/// The keys of one group.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    prefix: String,
}

/// What a key is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Ledger,
    Member(MemberId),
    Waiting(MemberId),
    Slot(MemberId),
    Work(MemberId, String),
    Taken(MemberId, String),
}

impl Keys {
    /// `group` is a name as those of members are.
    pub(crate) fn new(group: &MemberId) -> Self {
        Self {
            prefix: format!("/lameduck/groups/{group}/"),
        }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    pub(crate) fn name(&self, key: &Key) -> String {
        let prefix = &self.prefix;
        match key {
            Key::Ledger => format!("{prefix}ledger"),
            Key::Member(id) => format!("{prefix}members/{id}"),
            Key::Waiting(id) => format!("{prefix}waiting/{id}"),
            Key::Slot(id) => format!("{prefix}slots/{id}"),
            Key::Work(from, name) => format!("{prefix}work/{from}/{name}"),
            Key::Taken(from, name) => format!("{prefix}taken/{from}/{name}"),
        }
    }

    /// What all keys of a member's work begin with, and those of who has taken it.
    pub(crate) fn work_of(&self, id: &MemberId) -> [String; 2] {
        let work = |kind: &str| format!("{}{kind}/{id}/", self.prefix);
        [work("work"), work("taken")]
    }

    /// `None` for a key that is none of ours.
    pub(crate) fn read(&self, name: &[u8]) -> Option<Key> {
        let name = std::str::from_utf8(name).ok()?.strip_prefix(&self.prefix)?;
        if name == "ledger" {
            return Some(Key::Ledger);
        }
        let (kind, rest) = name.split_once('/')?;
        Some(match kind {
            "members" => Key::Member(rest.parse().ok()?),
            "waiting" => Key::Waiting(rest.parse().ok()?),
            "slots" => Key::Slot(rest.parse().ok()?),
            "work" | "taken" => {
                let (from, name) = rest.split_once('/')?;
                let (from, name) = (from.parse().ok()?, name.to_owned());
                match kind {
                    "work" => Key::Work(from, name),
                    _ => Key::Taken(from, name),
                }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let id: MemberId = "a.b:1".parse().expect("a name");
        let keys = Keys::new(&"shop".parse().expect("a name"));
        for key in [
            Key::Ledger,
            Key::Member(id.clone()),
            Key::Waiting(id.clone()),
            Key::Slot(id.clone()),
            Key::Work(id.clone(), "topic/7 ä".to_owned()),
            Key::Taken(id, "x/".to_owned()),
        ] {
            assert_eq!(keys.read(keys.name(&key).as_bytes()), Some(key));
        }
        for strange in [
            "/lameduck/groups/shop/other/a",
            "/lameduck/groups/shopping/ledger",
            "/lameduck/groups/shop/members/a b",
        ] {
            assert_eq!(keys.read(strange.as_bytes()), None, "{strange}");
        }
    }
}
