//! What a file of settings looks like: flags by their names, each a scalar or a list.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// Settings of a file, with the place of each.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) entries: Vec<(Spanned<String>, Values)>,
}

/// A scalar, or several.
#[derive(Debug, Default)]
pub(super) struct Values(pub(super) Vec<String>);

struct FileVisitor;
struct ValuesVisitor;

impl<'de> Deserialize<'de> for File {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FileVisitor)
    }
}

impl<'de> Visitor<'de> for FileVisitor {
    type Value = File;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("settings, such as `workers: 2`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<File, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            entries.push((key, map.next_value()?));
        }
        Ok(File { entries })
    }
}

impl<'de> Deserialize<'de> for Values {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValuesVisitor)
    }
}

impl<'de> Visitor<'de> for ValuesVisitor {
    type Value = Values;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Values, E> {
        Ok(Values(vec![text.to_owned()]))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Values, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Values, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_bool<E: de::Error>(self, is: bool) -> Result<Values, E> {
        self.visit_str(if is { "true" } else { "false" })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Values, A::Error> {
        let mut all = Vec::new();
        while let Some(Values(some)) = items.next_element()? {
            all.extend(some);
        }
        Ok(Values(all))
    }
}
