use http::{HeaderMap, HeaderName, HeaderValue};

/// Up to this many names a glance at all of them costs less than a look-up, which hashes the name.
const FEW: usize = 8;

/// The first value of a header that is not there as a rule.
pub(crate) fn find<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    if headers.keys_len() > FEW {
        return headers.get(name);
    }
    let mut all = headers.iter();
    all.find_map(|(one, value)| (one == name).then_some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_a_look_up_finds() {
        let wanted = HeaderName::from_static("x-wanted");
        for others in [0, 3, 20] {
            let mut headers = HeaderMap::new();
            for other in 0..others {
                let name: HeaderName = format!("x-{other}").parse().unwrap();
                headers.append(name, HeaderValue::from(other));
            }
            assert_eq!(find(&headers, &wanted), None);
            headers.append(&wanted, HeaderValue::from_static("1"));
            headers.append(&wanted, HeaderValue::from_static("2"));
            assert_eq!(find(&headers, &wanted), headers.get(&wanted));
        }
    }
}
