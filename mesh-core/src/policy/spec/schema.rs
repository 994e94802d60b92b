//! The macros by which each type of the schema is written once.
//!
//! From one definition come the struct, its serde form, its list of fields (for "allowed: ..." and
//! "did you mean"), its description (for editors and the reference page), decoding from a located tree that goes on after an error, and encoding to
//! a tree in the order of the definition.
//!
//! A field is `name: Type = "key"`; with `default` behind it the field may be left out, and is left
//! out when written if it has its default.

/// Defines a struct of the schema.
macro_rules! schema {
    (
        $(#[doc = $doc:literal])*
        $(#[derive($($derive:ident),+)])?
        pub struct $name:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $field:ident : $ty:ty = $key:literal $($default:ident)? ;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        $(#[derive($($derive),+)])?
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $(
                $(#[doc = $field_doc])*
                #[serde(rename = $key)]
                $(#[serde($default, skip_serializing_if = "crate::policy::spec::is_default")])?
                pub $field: $ty,
            )*
        }

        impl crate::policy::spec::Fields for $name {
            const FIELDS: &'static [&'static str] = &[$($key),*];
        }

        impl crate::policy::spec::Describe for $name {
            fn describe(types: &mut crate::policy::spec::Types) -> serde_json::Value {
                types.mapping(stringify!($name), &[$($doc),*], |_types| vec![
                    $( crate::policy::spec::Field {
                        key: $key,
                        docs: &[$($field_doc),*],
                        shape: <$ty as crate::policy::spec::Describe>::describe(_types),
                        optional: schema!(@optional $($default)?),
                    }, )*
                ])
            }
        }

        impl crate::policy::spec::Decode for $name {
            fn decode(
                node: &crate::policy::text::Node,
                cx: &mut crate::policy::text::Decoder,
            ) -> Option<Self> {
                #[allow(unused_variables)] // A type may have no fields.
                let map = cx.mapping(node, <Self as crate::policy::spec::Fields>::FIELDS)?;
                $( let $field: Option<$ty> = schema!(@read cx, node, map, $key, $($default)?); )*
                Some(Self { $($field: $field?,)* })
            }
        }

        impl crate::policy::spec::Encode for $name {
            // The first field may be one that is always written, or there may be none.
            #[allow(unused_mut, clippy::vec_init_then_push)]
            fn encode(&self) -> crate::policy::text::Tree {
                let mut fields = Vec::new();
                $( schema!(@write fields, self.$field, $key, $($default)?); )*
                crate::policy::text::Tree::Map(fields)
            }
        }
    };
    (@optional default) => { true };
    (@optional) => { false };
    (@read $cx:ident, $node:ident, $map:ident, $key:literal, default) => {
        $cx.optional($map, $key)
    };
    (@read $cx:ident, $node:ident, $map:ident, $key:literal,) => {
        $cx.required($node, $map, $key)
    };
    (@write $fields:ident, $value:expr, $key:literal, default) => {
        if !crate::policy::spec::is_default(&$value) {
            schema!(@write $fields, $value, $key,);
        }
    };
    (@write $fields:ident, $value:expr, $key:literal,) => {
        $fields.push(($key.to_owned(), crate::policy::spec::Encode::encode(&$value)))
    };
}

/// Defines an enum of the schema: unit variants, written as they are named.
macro_rules! choice {
    (
        $(#[doc = $doc:literal])*
        $(#[derive($($derive:ident),+)])?
        pub enum $name:ident {
            $( $(#[doc = $variant_doc:literal])* $variant:ident = $text:literal ),* $(,)?
        }
    ) => {
        $(#[doc = $doc])*
        $(#[derive($($derive),+)])?
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $( $(#[doc = $variant_doc])* #[serde(rename = $text)] $variant, )*
        }

        impl $name {
            /// The accepted spellings, in the order of the definition.
            pub const CHOICES: &'static [&'static str] = &[$($text),*];

            /// How the choice is written in a policy text.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl crate::policy::spec::Describe for $name {
            fn describe(types: &mut crate::policy::spec::Types) -> serde_json::Value {
                types.choice(
                    stringify!($name),
                    &[$($doc),*],
                    &[$( ($text, &[$($variant_doc),*]) ),*],
                )
            }
        }

        impl crate::policy::spec::Decode for $name {
            fn decode(
                node: &crate::policy::text::Node,
                cx: &mut crate::policy::text::Decoder,
            ) -> Option<Self> {
                match cx.choice(node, Self::CHOICES)? {
                    $( $text => Some(Self::$variant), )*
                    _ => None,
                }
            }
        }

        impl crate::policy::spec::Encode for $name {
            fn encode(&self) -> crate::policy::text::Tree {
                crate::policy::text::Tree::Str(self.as_str().to_owned())
            }
        }
    };
}

pub(crate) use choice;
pub(crate) use schema;
