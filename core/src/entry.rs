//! One record as it is shown: the fields of FEATURES section 1, as JSON.
