//! JSON's structure, without its meaning.
