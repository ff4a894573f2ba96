//! Which checks are made, how often, and with which random choices.

use clap::Args;

#[derive(Debug, Args)]
#[command(next_help_heading = "The checks")]
pub(crate) struct ChoiceArguments {
    /// Run only these checks
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Leave these checks out
    #[arg(long, value_name = "ID", value_delimiter = ',')]
    pub(crate) skip: Vec<String>,
    /// Check these protocols: h1, h2, ws, tls, grpc [default: all that the service speaks]
    #[arg(long, value_name = "PROTOCOL", value_delimiter = ',')]
    pub(crate) protocol: Vec<lameduck_verify::Protocol>,
    /// Repeat the random choices of an earlier run (hexadecimal, as printed)
    #[arg(long, value_name = "SEED", value_parser = seed)]
    pub(crate) seed: Option<u64>,
    /// How many fresh processes the load check starts [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rounds: Option<u32>,
}

fn seed(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| {
        "not a seed: up to 16 hexadecimal digits, as printed by an earlier run".to_owned()
    })
}
