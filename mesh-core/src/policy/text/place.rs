use super::{Node, Pos, Value, yaml};

/// Where a field is in the first document of a YAML text: `load[1].rate`, `services.shop/web.latency`.
/// Of a field that is not there, where the innermost value around it is; `None` when the text is no
/// YAML. For the errors of whoever decodes a text on their own.
pub fn place(text: &str, path: &str) -> Option<Pos> {
    let (documents, _) = yaml::parse(text);
    let document = documents.first()?;
    Some(find(document, document.pos, path))
}

/// `at` is where the value, or the key that it belongs to, is.
fn find(node: &Node, at: Pos, path: &str) -> Pos {
    let found = match &node.value {
        Value::Seq(items) => path.strip_prefix('[').and_then(|rest| {
            let (index, rest) = rest.split_once(']')?;
            let item = items.get(index.parse::<usize>().ok()?)?;
            Some(find(item, item.pos, rest))
        }),
        Value::Map(entries) => entries.iter().find_map(|entry| {
            let path = path.strip_prefix('.').unwrap_or(path);
            let rest = path.strip_prefix(entry.key.as_str())?;
            let ends = rest.is_empty() || rest.starts_with(['.', '[']);
            ends.then(|| find(&entry.value, entry.value.pos, rest))
        }),
        _ => None,
    };
    found.unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_path_or_else_what_is_around_it() {
        let text = "name: x\nservices:\n  shop/web.a: { fail: { percent: 140 } }\nload:\n- to: b\n- rate: -1\n";
        let at = |path: &str| {
            let pos = place(text, path).unwrap();
            (pos.line, pos.column)
        };
        assert_eq!(at("services.shop/web.a.fail.percent"), (3, 34));
        assert_eq!(at("load[1].rate"), (6, 9));
        assert_eq!(at("load[1].callers"), (6, 3));
        assert_eq!(at("name"), (1, 7));
        assert!(place("a: [", "a").is_none());
    }
}
