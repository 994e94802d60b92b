use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below what Linux (32768) and others give to outgoing connections, above what services have.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// A loopback address for a program of its own to listen on, that nobody else has now.
///
/// It is none of those that the kernel gives to outgoing connections: one of them could take it before the
/// program does, or, while somebody asks again and again whether the program is there yet, connect to itself.
///
/// # Errors
///
/// When no port is free.
pub fn free_port() -> io::Result<SocketAddr> {
    let mut tries = 100;
    loop {
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, fastrand::u16(PORTS)));
        match TcpListener::bind(addr) {
            Ok(_) => return Ok(addr),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => tries -= 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_can_listen_there_and_no_connection_gets_it() {
        let first = free_port().unwrap();
        assert!(PORTS.contains(&first.port()));
        let _listener = TcpListener::bind(first).unwrap();
        let others = (0..1_000).map(|_| free_port().unwrap());
        assert!(others.into_iter().all(|other| other != first));
    }
}
