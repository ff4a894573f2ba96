//! A4: connections whose final ACK is still under way when the listener closes.
//! Owns the scenario: clients made of segments in a network namespace of its own (Linux, with the right to make one).
//! Loopback cannot show this: there, the ACK is never late.

#[cfg(target_os = "linux")]
mod client;
#[cfg(target_os = "linux")]
mod device;
#[cfg(target_os = "linux")]
mod segment;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) use linux::run;

#[cfg(not(target_os = "linux"))]
pub(crate) fn run(
    bench: &super::bench::Bench<'_>,
) -> Result<crate::verdict::Finding, crate::target::VerifyError> {
    Ok(bench.lacking(
        "A4",
        "a late ACK needs a network namespace, which only Linux has",
    ))
}
