//! `--app SERVICE=PORT,key=value...`: several applications of one machine, each a service of its own.

mod given;
mod said;
#[cfg(test)]
mod tests;

pub(crate) use self::given::Given;
pub(crate) use self::said::Said;
