//! A service of the mesh until the demo says stop.
