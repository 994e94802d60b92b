/// Inside a `Body` around another, in this field: it ends with the other, and is as long.
macro_rules! forward_size {
    ($field:ident) => {
        fn is_end_stream(&self) -> bool {
            http_body::Body::is_end_stream(&self.$field)
        }

        fn size_hint(&self) -> http_body::SizeHint {
            http_body::Body::size_hint(&self.$field)
        }
    };
}

pub(crate) use forward_size;
