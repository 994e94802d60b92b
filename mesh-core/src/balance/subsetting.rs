//! Random subsetting (gRFC A68): each client uses a few endpoints, chosen by rendezvous hash of the
//! client's seed and the endpoint. One endpoint that comes or goes changes at most one of them.

use super::EndpointInfo;
use super::hash::TextHash;

/// The `size` endpoints that the client with this seed uses, in the order in which they came. All
/// of them when there are no more, or when `size` is 0.
pub fn subset(infos: Vec<EndpointInfo>, size: u32, seed: u64) -> Vec<EndpointInfo> {
    let size = size as usize;
    if size == 0 || infos.len() <= size {
        return infos;
    }
    let mut ranked: Vec<(u64, usize)> = infos
        .iter()
        .map(|info| TextHash::of(seed, format_args!("{}", info.addr)))
        .zip(0..)
        .collect();
    ranked.sort_unstable();
    let mut taken: Vec<usize> = ranked.iter().take(size).map(|(_, at)| *at).collect();
    taken.sort_unstable();
    let mut taken = taken.into_iter().peekable();
    let mut at = 0;
    infos
        .into_iter()
        .filter(|_| {
            at += 1;
            taken.next_if_eq(&(at - 1)).is_some()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infos(ports: std::ops::Range<u16>) -> Vec<EndpointInfo> {
        ports
            .map(|port| EndpointInfo::new(([127, 0, 0, 1], port).into()))
            .collect()
    }

    fn ports(infos: Vec<EndpointInfo>, size: u32, seed: u64) -> Vec<u16> {
        subset(infos, size, seed)
            .iter()
            .map(|info| info.addr.port())
            .collect()
    }

    #[test]
    fn a68_takes_as_many_as_asked_or_all() {
        assert_eq!(ports(infos(441..446), 3, 1).len(), 3);
        assert_eq!(ports(infos(441..446), 42, 1).len(), 5);
        assert_eq!(ports(infos(441..446), 0, 1).len(), 5);
    }

    #[test]
    fn a68_an_endpoint_more_or_fewer_changes_at_most_one() {
        for seed in 0..200 {
            let before = ports(infos(441..461), 5, seed);
            for changed in [infos(441..462), infos(442..461)] {
                let after = ports(changed, 5, seed);
                let same = before.iter().filter(|port| after.contains(port)).count();
                assert!(same >= 4, "seed {seed}: {before:?} {after:?}");
            }
        }
    }

    #[test]
    fn a68_clients_spread_over_the_endpoints() {
        // 2,000 clients of 5 among 10: 1,000 each in the mean.
        let mut clients = [0_u32; 10];
        for seed in 0..2000 {
            for port in ports(infos(0..10), 5, seed) {
                clients[port as usize] += 1;
            }
        }
        assert!(
            clients.iter().all(|n| n.abs_diff(1000) < 100),
            "{clients:?}"
        );
    }
}
