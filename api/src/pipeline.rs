//! From request bytes to a checked object: strict decoding, pruning, defaulting, validation.
