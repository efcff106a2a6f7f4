//! Applies one step of a retention plan.
