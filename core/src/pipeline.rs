//! A line's way through the agent: the table of contents.
