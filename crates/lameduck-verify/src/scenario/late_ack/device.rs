//! Owns a network of our own: a namespace for the calling thread (and what it starts), and a TUN device in it.
//! Not: what is sent through it (see `client`).

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

const NAME: &str = "lameduck0";

/// The device; whoever reads and writes it is the network.
#[derive(Debug)]
pub(super) struct Device {
    file: File,
}

/// Why there is no such network here, in words.
#[derive(Debug)]
pub(super) struct NoNetwork {
    pub(super) what: &'static str,
    pub(super) error: io::Error,
}

fn failing(what: &'static str) -> impl FnOnce(io::Error) -> NoNetwork {
    move |error| NoNetwork { what, error }
}

impl Device {
    /// Moves the calling thread into a network namespace of its own, with a loopback and a TUN device at `address`/24.
    ///
    /// There is no way back for the thread: it is to end soon after.
    pub(super) fn in_own_network(address: Ipv4Addr) -> Result<Self, NoNetwork> {
        // SAFETY: takes flags only; it concerns the calling thread alone.
        checked(unsafe { libc::unshare(libc::CLONE_NEWNET) })
            .map_err(failing("a network namespace cannot be made here"))?;
        let socket = control_socket().map_err(failing("no socket can be made"))?;
        raise(&socket, "lo").map_err(failing("the loopback device does not come up"))?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC)
            .open("/dev/net/tun")
            .map_err(failing("there is no /dev/net/tun"))?;
        make_tun(&file).map_err(failing("a TUN device cannot be made"))?;
        set_address(&socket, libc::SIOCSIFADDR as _, address)
            .and_then(|()| {
                set_address(
                    &socket,
                    libc::SIOCSIFNETMASK as _,
                    [255, 255, 255, 0].into(),
                )
            })
            .and_then(|()| raise(&socket, NAME))
            .map_err(failing("the TUN device cannot be configured"))?;
        // The target listens where it is told, which is most often 127.0.0.1: packets may come there from outside.
        std::fs::write(
            format!("/proc/thread-self/../../sys/net/ipv4/conf/{NAME}/route_localnet"),
            "1",
        )
        .or_else(|_| {
            std::fs::write(
                format!("/proc/sys/net/ipv4/conf/{NAME}/route_localnet"),
                "1",
            )
        })
        .map_err(failing(
            "packets cannot be let in to 127.0.0.1 (route_localnet)",
        ))?;
        Ok(Self { file })
    }

    pub(super) fn send(&self, packet: &[u8]) -> io::Result<()> {
        (&self.file).write_all(packet)
    }

    /// The next packet, if one waits.
    pub(super) fn receive(&self, into: &mut [u8]) -> Option<usize> {
        (&self.file).read(into).ok().filter(|count| *count > 0)
    }

    pub(super) fn fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn control_socket() -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    checked(fd)?;
    // SAFETY: the descriptor was just made, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A request about the device of that name.
fn request(name: &str) -> libc::ifreq {
    // SAFETY: all zeroes is a valid value of this plain struct.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    let name = CString::new(name).expect("names of devices are constants without NUL");
    for (into, byte) in request
        .ifr_name
        .iter_mut()
        .take(libc::IFNAMSIZ - 1)
        .zip(name.as_bytes())
    {
        *into = *byte as libc::c_char;
    }
    request
}

fn control(fd: RawFd, what: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: the descriptor is open, and each of the requests used here reads and writes one `ifreq`.
    checked(unsafe { libc::ioctl(fd, what as _, std::ptr::from_mut(request)) })
}

fn make_tun(file: &File) -> io::Result<()> {
    let mut request = request(NAME);
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    control(file.as_raw_fd(), libc::TUNSETIFF as _, &mut request)
}

fn set_address(socket: &OwnedFd, what: libc::c_ulong, address: Ipv4Addr) -> io::Result<()> {
    let mut request = request(NAME);
    let octets = address.octets();
    // SAFETY: writing plain bytes of the union's address variant.
    unsafe {
        request.ifr_ifru.ifru_addr.sa_family = libc::AF_INET as libc::sa_family_t;
        // sockaddr_in: two bytes of port, then the address.
        for (index, octet) in octets.into_iter().enumerate() {
            request.ifr_ifru.ifru_addr.sa_data[2 + index] = octet as libc::c_char;
        }
    }
    control(socket.as_raw_fd(), what, &mut request)
}

fn raise(socket: &OwnedFd, name: &str) -> io::Result<()> {
    let mut request = request(name);
    control(socket.as_raw_fd(), libc::SIOCGIFFLAGS as _, &mut request)?;
    // SAFETY: the request above has filled in the flags.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    control(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &mut request)
}
