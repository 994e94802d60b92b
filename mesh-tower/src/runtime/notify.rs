use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What the service manager is told (`sd_notify(3)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Start-up is over: what is ordered after this service may start.
    Ready,
    /// The drain has begun.
    Stopping,
    /// As [`Notice::Ready`], of a process that has taken over from the one that the manager knows
    /// (`NotifyAccess=all`).
    Successor,
}

/// Tells the service manager, if there is one: `NOTIFY_SOCKET` names its socket, which systemd sets
/// for units of `Type=notify`. A service whose manager does not listen says so in its log and goes on.
pub fn notify(notice: Notice) {
    let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
    let told = name.map_or(Ok(()), |name| send(name.as_bytes(), notice));
    if let Err(error) = told {
        tracing::warn!("the service manager was not told {notice:?}: {error}");
    }
}

fn send(name: &[u8], notice: Notice) -> io::Result<()> {
    let text = match notice {
        Notice::Ready => "READY=1".to_owned(),
        Notice::Stopping => "STOPPING=1".to_owned(),
        Notice::Successor => format!("MAINPID={}\nREADY=1", std::process::id()),
    };
    // `@name` is a socket without a file.
    let addr = match name.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    UnixDatagram::unbound()?
        .send_to_addr(text.as_bytes(), &addr)
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn the_manager_hears_it_on_a_path_and_on_an_abstract_name() {
        let unique = format!("mesh-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&unique);
        let socket = UnixDatagram::bind(&path).unwrap();
        send(path.as_os_str().as_bytes(), Notice::Ready).unwrap();
        assert_eq!(received(&socket), "READY=1");
        std::fs::remove_file(&path).unwrap();

        let addr = SocketAddr::from_abstract_name(&unique).unwrap();
        let socket = UnixDatagram::bind_addr(&addr).unwrap();
        send(format!("@{unique}").as_bytes(), Notice::Stopping).unwrap();
        assert_eq!(received(&socket), "STOPPING=1");
    }

    #[test]
    fn a_socket_that_is_gone_is_an_error_and_no_socket_is_none() {
        assert!(send(b"/nonexistent/notify", Notice::Ready).is_err());
    }
}
