//! Retention as a pure function of policies, catalogue and clock.
