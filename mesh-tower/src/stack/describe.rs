/// Names the layers of a service, outermost first.
///
/// Each layer pushes its own name and then asks what it wraps, so the result is what was built and
/// not what was meant to be built.
pub trait Describe {
    /// Appends this service's name and those of everything below it.
    fn describe(&self, into: &mut Vec<&'static str>);
}
