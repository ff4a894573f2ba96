//! `lameduck slots`, as typed.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use lameduck::group::Share;

/// Lend slots to the processes of one machine that must not all leave at once
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  lameduck slots --socket /run/shop/slots.sock --max-unavailable 1\n  lameduck demo --slots /run/shop/slots.sock --member shop-1\n\nMembers find it at the socket, which only its own user can reach. It keeps nothing on disk: started again, it lends nothing until the members of\nthe last one had time to say what they hold. Told to stop, it goes; members go on trying, and leave alone when their time is over."
)]
pub(crate) struct SlotsArguments {
    /// Where members find it, in a directory that not everybody can write to
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: PathBuf,
    /// How many members may be unavailable at once: a number, or a percentage such as 25%, rounded down and one at least
    #[arg(long, value_name = "N|P%")]
    pub(crate) max_unavailable: Share,
    /// So many in each zone instead of the whole group
    #[arg(long)]
    pub(crate) per_zone: bool,
    /// How many members there should be (in each zone, with --per-zone); those that are missing are unavailable too
    #[arg(long, value_name = "N")]
    pub(crate) expected: Option<u32>,
    /// How long it lends nothing at first
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = super::duration)]
    pub(crate) settling: Duration,
}
