//! The text of every code. `docs/errors/` is generated from it, and `meshctl explain` prints it.

mod call;
mod environment;
mod finding;
mod identity;
mod policy;

use std::sync::LazyLock;

use super::{Code, CodeInfo, ErrorKind};

/// The text of every code, in the order of the codes.
pub fn registry() -> &'static [CodeInfo] {
    static ALL: LazyLock<Vec<CodeInfo>> = LazyLock::new(|| {
        [
            environment::CODES,
            call::CODES,
            policy::CODES,
            identity::CODES,
            finding::CODES,
        ]
        .concat()
    });
    &ALL
}

/// A code of an error of calls.
const fn call(
    kind: ErrorKind,
    title: &'static str,
    what: &'static str,
    causes: &'static [&'static str],
    next: &'static [&'static str],
) -> CodeInfo {
    CodeInfo {
        code: kind.code(),
        title,
        kind: Some(kind),
        what,
        causes,
        next,
    }
}

/// A code that is no error of calls.
const fn other(
    code: Code,
    title: &'static str,
    what: &'static str,
    causes: &'static [&'static str],
    next: &'static [&'static str],
) -> CodeInfo {
    CodeInfo {
        code,
        title,
        kind: None,
        what,
        causes,
        next,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_text_and_the_table_is_in_order() {
        let codes: Vec<Code> = registry().iter().map(|info| info.code).collect();
        assert!(codes.is_sorted_by(|a, b| a < b));
        assert_eq!(codes, Code::ALL);
        for &code in Code::ALL {
            assert_eq!(code.info().map(|info| info.code), Some(code));
        }
        for kind in ErrorKind::ALL {
            assert_eq!(kind.code().info().and_then(|info| info.kind), Some(kind));
        }
    }

    #[test]
    fn every_text_says_what_why_and_what_next() {
        for info in registry() {
            let code = info.code;
            assert!(
                !info.title.is_empty() && !info.title.ends_with('.'),
                "{code}"
            );
            assert!(info.what.len() > 40 && info.what.ends_with('.'), "{code}");
            assert!(!info.causes.is_empty(), "{code}");
            assert!(!info.next.is_empty(), "{code}");
            for text in info.causes.iter().chain(info.next) {
                assert!(text.ends_with('.'), "{code}: {text}");
            }
            let commands = info.next.iter().any(|text| text.contains('`'));
            assert!(commands, "{code} names nothing to type or to write");
        }
    }
}
