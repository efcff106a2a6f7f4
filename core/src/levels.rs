//! Level rules: compiled from resources, matched to containers.
