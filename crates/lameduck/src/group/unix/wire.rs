//! The lines between a member and its host: one JSON object each, told apart by `type`. Unknown fields are ignored, an unknown type is an error.

use serde::{Deserialize, Serialize};

use super::super::{CarrierError, Claim, Heard, Identity, MemberId, Whose, Word};

/// The version of this protocol, in the first line of each side.
pub(super) const VERSION: u32 = 1;

/// What a member writes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromMember {
    Join {
        v: u32,
        id: String,
        #[serde(default)]
        zone: String,
        #[serde(default)]
        claim: WireClaim,
    },
    Ask {
        wish: u64,
    },
    GiveBack,
    Alone,
    Publish {
        work: Vec<String>,
    },
    Withdraw,
    Take {
        from: String,
        work: String,
    },
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum WireClaim {
    #[default]
    Serving,
    Waiting {
        ticket: u64,
        wish: u64,
    },
    Holding,
    Alone,
}

/// What a host writes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromHost {
    Joined {
        v: u32,
        rules: String,
    },
    Refused {
        why: String,
    },
    Waiting {
        wish: u64,
        ticket: u64,
        ahead: usize,
    },
    Granted {
        wish: u64,
    },
    Offered {
        from: String,
        work: String,
    },
    Taken {
        work: String,
        by: String,
    },
    Withdrawn,
    Took {
        from: String,
        work: String,
        yours: bool,
    },
}

/// A line, with its end.
pub(super) fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("texts and numbers can be written");
    line.push(b'\n');
    line
}

impl FromMember {
    pub(super) fn join(who: &Identity, claim: Claim) -> Self {
        let claim = match claim {
            Claim::Serving => WireClaim::Serving,
            Claim::Waiting { ticket, wish } => WireClaim::Waiting { ticket, wish },
            Claim::Holding => WireClaim::Holding,
            Claim::Alone => WireClaim::Alone,
        };
        Self::Join {
            v: VERSION,
            id: who.id().to_string(),
            zone: who.zone().to_owned(),
            claim,
        }
    }
}

impl From<WireClaim> for Claim {
    fn from(claim: WireClaim) -> Self {
        match claim {
            WireClaim::Serving => Self::Serving,
            WireClaim::Waiting { ticket, wish } => Self::Waiting { ticket, wish },
            WireClaim::Holding => Self::Holding,
            WireClaim::Alone => Self::Alone,
        }
    }
}

impl From<Word> for FromMember {
    fn from(word: Word) -> Self {
        match word {
            Word::Ask { wish } => Self::Ask { wish },
            Word::GiveBack => Self::GiveBack,
            Word::Alone => Self::Alone,
            Word::Publish { work } => Self::Publish { work },
            Word::Withdraw => Self::Withdraw,
            Word::Take { from, work } => Self::Take {
                from: from.to_string(),
                work,
            },
        }
    }
}

impl TryFrom<FromMember> for Word {
    type Error = CarrierError;

    fn try_from(message: FromMember) -> Result<Self, CarrierError> {
        Ok(match message {
            FromMember::Join { .. } => return Err(CarrierError::new("it joined twice")),
            FromMember::Ask { wish } => Self::Ask { wish },
            FromMember::GiveBack => Self::GiveBack,
            FromMember::Alone => Self::Alone,
            FromMember::Publish { work } => Self::Publish { work },
            FromMember::Withdraw => Self::Withdraw,
            FromMember::Take { from, work } => Self::Take {
                from: member(&from)?,
                work,
            },
        })
    }
}

impl From<Heard> for FromHost {
    fn from(heard: Heard) -> Self {
        match heard {
            Heard::Waiting {
                wish,
                ticket,
                ahead,
            } => Self::Waiting {
                wish,
                ticket,
                ahead,
            },
            Heard::Granted { wish } => Self::Granted { wish },
            Heard::Offered { from, work } => Self::Offered {
                from: from.to_string(),
                work,
            },
            Heard::Taken { work, by } => Self::Taken {
                work,
                by: by.to_string(),
            },
            Heard::Withdrawn => Self::Withdrawn,
            Heard::Took { from, work, whose } => Self::Took {
                from: from.to_string(),
                work,
                yours: whose == Whose::Yours,
            },
        }
    }
}

impl TryFrom<FromHost> for Heard {
    type Error = CarrierError;

    fn try_from(message: FromHost) -> Result<Self, CarrierError> {
        Ok(match message {
            FromHost::Joined { .. } => return Err(CarrierError::new("the host greets twice")),
            FromHost::Refused { why } => {
                return Err(CarrierError::new(format!("the host refuses: {why}")));
            }
            FromHost::Waiting {
                wish,
                ticket,
                ahead,
            } => Self::Waiting {
                wish,
                ticket,
                ahead,
            },
            FromHost::Granted { wish } => Self::Granted { wish },
            FromHost::Offered { from, work } => Self::Offered {
                from: member(&from)?,
                work,
            },
            FromHost::Taken { work, by } => Self::Taken {
                work,
                by: member(&by)?,
            },
            FromHost::Withdrawn => Self::Withdrawn,
            FromHost::Took { from, work, yours } => Self::Took {
                from: member(&from)?,
                work,
                whose: if yours { Whose::Yours } else { Whose::Not },
            },
        })
    }
}

fn member(name: &str) -> Result<MemberId, CarrierError> {
    name.parse()
        .map_err(|error| CarrierError::new("a line names no member").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_as_documented() {
        let who = Identity::new("a")
            .expect("a name")
            .in_zone("x")
            .expect("a zone");
        let lines = [
            (
                line(&FromMember::join(
                    &who,
                    Claim::Waiting { ticket: 7, wish: 2 },
                )),
                r#"{"type":"join","v":1,"id":"a","zone":"x","claim":{"waiting":{"ticket":7,"wish":2}}}"#,
            ),
            (
                line(&FromMember::from(Word::Ask { wish: 3 })),
                r#"{"type":"ask","wish":3}"#,
            ),
            (
                line(&FromMember::from(Word::GiveBack)),
                r#"{"type":"give_back"}"#,
            ),
            (
                line(&FromHost::from(Heard::Granted { wish: 3 })),
                r#"{"type":"granted","wish":3}"#,
            ),
        ];
        for (line, text) in lines {
            assert_eq!(String::from_utf8(line).expect("text"), format!("{text}\n"));
        }
    }

    #[test]
    fn what_is_not_known_is_an_error_and_more_than_is_known_is_none() {
        let read = |text: &str| serde_json::from_str::<FromMember>(text);
        assert!(read(r#"{"type":"dance"}"#).is_err());
        assert!(read(r#"{"type":"join","v":1,"id":"a","colour":"red"}"#).is_ok());
        let strange = FromMember::Take {
            from: "a b".to_owned(),
            work: "p".to_owned(),
        };
        assert!(Word::try_from(strange).is_err());
    }
}
